"""Who gets the events of a rule: its targets, as they are asked for and as they are kept."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from longshore.domain.arn import JOB_QUEUE, parse_definition, parse_name
from longshore.domain.checks import Json, check_job_name, unsupported
from longshore.domain.events import members
from longshore.domain.events.members import NAME, constraint, invalid
from longshore.domain.events.reference import parse_arn
from longshore.domain.events.transform import transform_of
from longshore.domain.events.webhook import check_header

JOB_QUEUE_KIND = "job-queue"
SQS = "sqs"
SNS = "sns"
LOG_GROUP = "log-group"
API_DESTINATION = "api-destination"
EVENT_BUS = "event-bus"

#: In one request, and of one rule.
REQUEST_MAX = 10
RULE_MAX = 5
TRIES_DEFAULT = 185
AGE_DEFAULT_SECONDS = 86_400
_AGE_MIN_SECONDS = 60
_ARRAY_MAX = 10_000
_ATTEMPTS_MAX = 10
_GROUP_MAX = 100
_PARAMETERS_MAX = 100
_VALUE_MAX = 512

_REGION = r"arn:aws[a-z-]*:{}:[a-z0-9-]{{1,64}}:[0-9]{{12}}:"
_QUEUE = re.compile(_REGION.format("sqs") + r"[A-Za-z0-9_-]{1,80}(\.fifo)?")
_TOPIC = re.compile(_REGION.format("sns") + r"[A-Za-z0-9_-]{1,256}(\.fifo)?")
_GROUP = re.compile(_REGION.format("logs") + r"log-group:[.\-_/#A-Za-z0-9]{1,512}(:\*)?")
_BATCH = re.compile(_REGION.format("batch") + r"job-queue/.+")
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-zA-Z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7E]+")
_QUERY = re.compile(r"[^\x00-\x1F\x7F]+")

#: Which parameters go with which kind of target.
_PARAMETERS = {
    "BatchParameters": JOB_QUEUE_KIND,
    "SqsParameters": SQS,
    "HttpParameters": API_DESTINATION,
}


@dataclass(frozen=True, slots=True)
class Target:
    """A target of a rule."""

    target_id: str
    kind: str
    arn: str
    #: As it was given, AWS-shaped.
    given: Json

    @classmethod
    def of(cls, given: Json) -> Self:
        """A target whose members are right."""
        return cls(given["Id"], kind_of(given["Arn"]), given["Arn"], given)

    @property
    def tries(self) -> int:
        """How often delivery is tried after the first time."""
        return int(self.given.get("RetryPolicy", {}).get("MaximumRetryAttempts", TRIES_DEFAULT))

    @property
    def age_seconds(self) -> int:
        """For how long it is tried."""
        policy = self.given.get("RetryPolicy", {})
        return int(policy.get("MaximumEventAgeInSeconds", AGE_DEFAULT_SECONDS))

    @property
    def dead_letter_arn(self) -> str | None:
        """ARN of the queue for what cannot be delivered."""
        arn: str | None = self.given.get("DeadLetterConfig", {}).get("Arn")
        return arn


def kind_of(arn: str) -> str:
    """What kind of target an ARN names; '' for none that there can be."""
    events = parse_arn(arn)
    if events is not None:
        return events[0] if events[0] in (API_DESTINATION, EVENT_BUS) else ""
    forms = ((_BATCH, JOB_QUEUE_KIND), (_QUEUE, SQS), (_TOPIC, SNS), (_GROUP, LOG_GROUP))
    return next((kind for form, kind in forms if form.fullmatch(arn)), "")


def targets_of(given: Sequence[Json]) -> list[Target]:
    """The targets that PutTargets asks for.

    Raises:
        InvalidRequest: a member of one is wrong.
        Unimplemented: there can be no such target.
    """
    members.count(given, "Targets", 1, REQUEST_MAX)
    found: dict[str, Target] = {}
    for index, entry in enumerate(given):
        target = _target(entry, f"Targets[{index}]")
        if target.target_id in found:
            raise invalid(f"Targets has the id {target.target_id} twice.", f"Targets[{index}].Id")
        found[target.target_id] = target
    return list(found.values())


def _target(given: Json, path: str) -> Target:
    for name in ("Id", "Arn"):
        if given.get(name) is None:
            raise constraint(None, f"{path}.{name}", "not be null")
    members.text(given["Id"], f"{path}.Id", members.NAME_MAX, NAME)
    members.text(given["Arn"], f"{path}.Arn", members.ARN_MAX)
    members.text(given.get("RoleArn"), f"{path}.RoleArn", members.ARN_MAX)
    kind = kind_of(given["Arn"])
    if not kind:
        raise unsupported(
            f"{path}.Arn",
            f": {given['Arn'][:128]!r} is not the ARN of a job queue, an SQS queue, an SNS topic, "
            "a log group, an API destination or an event bus",
        )
    for name, belongs in _PARAMETERS.items():
        if given.get(name) is not None and kind != belongs:
            raise invalid(
                f"{path}.{name} goes with a target of kind {belongs}; this is one of kind {kind}.",
                f"{path}.{name}",
            )
    _check_input(given, path)
    _check_delivery(given, path)
    check = _CHECKS.get(kind)
    if check is not None:
        check(given, path)
    return Target.of(given)


def _check_input(given: Json, path: str) -> None:
    members.text(given.get("Input"), f"{path}.Input", 8192, least=0)
    members.text(given.get("InputPath"), f"{path}.InputPath", 256, least=0)
    transformer = given.get("InputTransformer")
    if transformer is not None:
        where = f"{path}.InputTransformer"
        if transformer.get("InputTemplate") is None:
            raise constraint(None, f"{where}.InputTemplate", "not be null")
        members.text(transformer["InputTemplate"], f"{where}.InputTemplate", 8192)
        paths = transformer.get("InputPathsMap", {})
        members.count(list(paths), f"{where}.InputPathsMap", 0, 100)
        for name, text in paths.items():
            members.text(text, f"{where}.InputPathsMap.{name}", 256)
    transform_of(given, path)


def _check_delivery(given: Json, path: str) -> None:
    policy, where = given.get("RetryPolicy", {}), f"{path}.RetryPolicy"
    members.number(
        policy.get("MaximumRetryAttempts"), f"{where}.MaximumRetryAttempts", 0, TRIES_DEFAULT
    )
    members.number(
        policy.get("MaximumEventAgeInSeconds"),
        f"{where}.MaximumEventAgeInSeconds",
        _AGE_MIN_SECONDS,
        AGE_DEFAULT_SECONDS,
    )
    check_dead_letter(given.get("DeadLetterConfig"), f"{path}.DeadLetterConfig")


def check_dead_letter(config: Json | None, member: str) -> None:
    """The queue for what cannot be delivered: an SQS queue that is not FIFO.

    Raises:
        InvalidRequest: it is something else.
    """
    arn: str | None = (config or {}).get("Arn")
    if arn is None:
        return
    match = _QUEUE.fullmatch(arn)
    if match is None or match[1]:
        raise invalid(
            f"{member}.Arn must be the ARN of an SQS queue that is not FIFO; it is {arn[:128]!r}.",
            f"{member}.Arn",
        )


def _check_batch(given: Json, path: str) -> None:
    parse_name(JOB_QUEUE, given["Arn"], member=f"{path}.Arn")
    where = f"{path}.BatchParameters"
    parameters = given.get("BatchParameters")
    if parameters is None:
        raise invalid(f"BatchParameters is required for target {given['Id']}.", where)
    for name in ("JobDefinition", "JobName"):
        if not parameters.get(name):
            raise constraint(parameters.get(name), f"{where}.{name}", "not be null")
    parse_definition(parameters["JobDefinition"], member=f"{where}.JobDefinition")
    check_job_name(parameters["JobName"])
    size = parameters.get("ArrayProperties", {}).get("Size")
    members.number(size, f"{where}.ArrayProperties.Size", 2, _ARRAY_MAX)
    attempts = parameters.get("RetryStrategy", {}).get("Attempts")
    members.number(attempts, f"{where}.RetryStrategy.Attempts", 1, _ATTEMPTS_MAX)


def _check_sqs(given: Json, path: str) -> None:
    where = f"{path}.SqsParameters.MessageGroupId"
    group = given.get("SqsParameters", {}).get("MessageGroupId")
    is_fifo = given["Arn"].endswith(".fifo")
    members.text(group, where, _GROUP_MAX)
    if is_fifo and not group:
        raise invalid(
            f"Parameter MessageGroupId must be specified for target {given['Id']}.", where
        )
    if group and not is_fifo:
        raise invalid(f"{where} is for FIFO queues alone.", where)


def _check_http(given: Json, path: str) -> None:
    parameters, where = given.get("HttpParameters", {}), f"{path}.HttpParameters"
    members.count(
        parameters.get("PathParameterValues", ()),
        f"{where}.PathParameterValues",
        0,
        _PARAMETERS_MAX,
    )
    for index, value in enumerate(parameters.get("PathParameterValues", ())):
        if not value.strip():
            raise invalid(
                f"{where}.PathParameterValues[{index}] must not be empty.",
                f"{where}.PathParameterValues[{index}]",
            )
    forms = {
        "HeaderParameters": (_HEADER, _HEADER_VALUE),
        "QueryStringParameters": (_QUERY, _QUERY),
    }
    for name, (key_form, value_form) in forms.items():
        entries = parameters.get(name, {})
        members.count(list(entries), f"{where}.{name}", 0, _PARAMETERS_MAX)
        for key, value in entries.items():
            members.text(key, f"{where}.{name}", _VALUE_MAX, key_form)
            members.text(value, f"{where}.{name}.{key}", _VALUE_MAX, value_form)
            if name == "HeaderParameters":
                check_header(key, f"{where}.{name}")


_CHECKS: dict[str, Callable[[Json, str], None]] = {
    JOB_QUEUE_KIND: _check_batch,
    SQS: _check_sqs,
    API_DESTINATION: _check_http,
}
