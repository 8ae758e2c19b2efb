"""Matching an event with a rule's pattern, against reading the event from its JSON, in turns.

The event is a Batch job's change of state with a container, an environment and an attempt; each
pattern is compiled once. How long a match takes by processor time, and how many matches there are
for one reading of the event by the standard library: whoever gets an event as text does that first.
"""

import json
import time
from collections.abc import Callable
from typing import Any

from harness import summary

from longshore.domain.events.pattern import compile_pattern

ROUNDS = 20
CALLS = 2_000
_BATCH = "arn:aws:batch:us-east-1:123456789012"
EVENT: dict[str, Any] = {
    "version": "0",
    "id": "c8f9c4b5-76e5-d76a-f980-7011e206042b",
    "detail-type": "Batch Job State Change",
    "source": "aws.batch",
    "account": "123456789012",
    "time": "2026-11-28T18:01:03Z",
    "region": "us-east-1",
    "resources": [f"{_BATCH}:job/4c7599ae-0a82-49aa-ba5a-4727fcce14a8"],
    "detail": {
        "jobArn": f"{_BATCH}:job/4c7599ae-0a82-49aa-ba5a-4727fcce14a8",
        "jobName": "square",
        "jobId": "4c7599ae-0a82-49aa-ba5a-4727fcce14a8",
        "jobQueue": f"{_BATCH}:job-queue/default",
        "status": "FAILED",
        "statusReason": "Essential container in task exited",
        "attempts": [
            {
                "container": {
                    "taskArn": "arn:aws:ecs:us-east-1:123456789012:task/ce/1",
                    "exitCode": 1,
                    "logStreamName": "square/default/b2c1",
                    "networkInterfaces": [],
                },
                "startedAt": 1795888861200,
                "stoppedAt": 1795888862900,
                "statusReason": "Essential container in task exited",
            }
        ],
        "createdAt": 1795888860100,
        "startedAt": 1795888861200,
        "stoppedAt": 1795888862900,
        "retryStrategy": {"attempts": 1, "evaluateOnExit": []},
        "dependsOn": [],
        "jobDefinition": f"{_BATCH}:job-definition/square:1",
        "parameters": {},
        "container": {
            "image": "busybox:latest",
            "command": ["true"],
            "environment": [{"name": f"V{number}", "value": "x"} for number in range(10)],
            "exitCode": 1,
            "logStreamName": "square/default/b2c1",
            "resourceRequirements": [
                {"value": "1", "type": "VCPU"},
                {"value": "64", "type": "MEMORY"},
            ],
        },
        "tags": {"team": "a"},
        "platformCapabilities": ["EC2"],
    },
}
PATTERNS: dict[str, dict[str, Any]] = {
    "source and kind": {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"]},
    "failed in a queue": {
        "source": ["aws.batch"],
        "detail-type": ["Batch Job State Change"],
        "detail": {
            "status": ["FAILED"],
            "jobQueue": [{"suffix": ":job-queue/default"}],
            "container": {"exitCode": [{"numeric": [">", 0, "<=", 255]}]},
        },
    },
    "lists, $or and wildcards": {
        "source": [{"prefix": "aws."}],
        "detail": {
            "container": {"environment": {"name": ["V9"], "value": [{"anything-but": "y"}]}},
            "jobName": [{"wildcard": "s*e"}],
            "$or": [{"status": ["SUCCEEDED"]}, {"attempts": {"container": {"exitCode": [1]}}}],
        },
    },
    "another source": {"source": ["aws.ec2"], "detail": {"state": ["running"]}},
}


def seconds(call: Callable[[], object]) -> float:
    """Processor time of a call."""
    begin = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - begin) / CALLS


def main() -> None:
    """Measures each pattern."""
    text = json.dumps(EVENT)
    for name, given in PATTERNS.items():
        pattern = compile_pattern(json.dumps(given))
        matches, readings = [], []
        for _ in range(ROUNDS):
            matches.append(seconds(lambda pattern=pattern: pattern.matches(EVENT)) * 1e6)
            readings.append(seconds(lambda: json.loads(text)) * 1e6)
        ratio = sorted(reading / match for match, reading in zip(matches, readings, strict=True))
        print(
            f"{name}: match {summary(matches, 'us')}; "
            f"{ratio[len(ratio) // 2]:.1f} matches to one reading of {len(text)} bytes"
        )


if __name__ == "__main__":
    main()
