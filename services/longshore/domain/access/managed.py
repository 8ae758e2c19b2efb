"""Policies that are there from the start."""

import functools
import json
from collections.abc import Sequence

from longshore.domain.access import policy
from longshore.domain.access.policy import NEWEST, Policy
from longshore.domain.checks import Json

ADMIN = "admin"
SUBMITTER = "submitter"
_READS = [
    *("batch:Describe*", "batch:List*", "batch:Get*"),
    *("logs:Describe*", "logs:Get*", "logs:Filter*", "logs:List*", "logs:StartLiveTail"),
    *("events:Describe*", "events:List*", "events:TestEventPattern", "ecs:Describe*", "ecs:List*"),
    *("longshore:Describe*", "longshore:List*", "longshore:Explain*", "longshore:Watch*"),
    "longshore:Tail*",
]
_OWN = {"StringEquals": {"longshore:SubmittedBy": "${aws:username}"}}


def _allow(sid: str, actions: Sequence[str] | str, **more: object) -> Json:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": "*", **more}


_STATEMENTS: dict[str, list[Json]] = {
    ADMIN: [_allow("Everything", "*")],
    "operator": [
        _allow("Everything", "*"),
        {"Sid": "NoUsers", "Effect": "Deny", "Action": "iam:*", "Resource": "*"},
    ],
    SUBMITTER: [
        _allow(
            "Look",
            [
                *("batch:DescribeJobQueues", "batch:DescribeJobDefinitions"),
                *("batch:DescribeComputeEnvironments", "longshore:DescribeCapacity"),
            ],
        ),
        {
            "Sid": "Submit",
            "Effect": "Allow",
            "Action": "batch:SubmitJob",
            "Resource": ["arn:aws:batch:*:*:job-queue/*", "arn:aws:batch:*:*:job-definition/*"],
        },
        _allow(
            "OwnJobs",
            [
                *("batch:DescribeJobs", "batch:CancelJob", "batch:TerminateJob", "batch:ListJobs"),
                *("logs:GetLogEvents", "longshore:TailLogs", "longshore:ExplainJob"),
                *("longshore:StopJobs", "longshore:RerunJob", "longshore:UpdateJob"),
            ],
            Condition=_OWN,
        ),
    ],
    "reader": [_allow("Read", _READS)],
}
NAMES = tuple(sorted(_STATEMENTS))


def document(name: str, queues: Sequence[str] = ()) -> str | None:
    """A managed policy's document; None if there is none of this name.

    Args:
        name: of the policy.
        queues: names of those that `submitter` is about; none: all.
    """
    statements = _STATEMENTS.get(name)
    if statements is None:
        return None
    if name == SUBMITTER and queues:
        on = [
            *(f"arn:aws:batch:*:*:job-queue/{queue}" for queue in queues),
            "arn:aws:batch:*:*:job-definition/*",
        ]
        statements = [
            one | {"Resource": on} if one["Sid"] == "Submit" else one for one in statements
        ]
    return json.dumps({"Version": NEWEST, "Statement": statements}, indent=2)


@functools.lru_cache(maxsize=1024)
def read(name: str, queues: tuple[str, ...]) -> Policy | None:
    """A managed policy; None if there is none of this name."""
    found = document(name, queues)
    return None if found is None else policy.read(name, found)
