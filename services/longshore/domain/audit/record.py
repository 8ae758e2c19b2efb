"""One record: what is kept of a call, and what it is found by.

Who called is who was found to call; where a call was refused because nobody knew, the type of the
identity is `Unknown`, and the access key is the one that the request names.
"""

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from longshore.domain.checks import Json

#: Of `requestParameters` and of `responseElements` each, in bytes of JSON.
PARAMETERS_BYTES = 8 * 1024
#: Bytes of a list that is kept where the whole is too large.
_LIST_BYTES = 2 * 1024
#: Longest texts that come with a call: of an agent, an address, a name, a message.
_AGENT_CHARACTERS = 512
_TEXT_CHARACTERS = 256
_MESSAGE_CHARACTERS = 1024
#: Resources that one record is found by.
_RESOURCES = 20
#: Of ids that tell their time (RFC 9562).
_VERSION = 7
#: What stands for a value that may be a secret.
HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
#: Names of variables whose values are the service's own, and not hidden.
OWN_VARIABLES = "AWS_BATCH_"

_READS = re.compile(
    r"(?:Describe|List|Get|Lookup|Filter|Test|Explain|Watch|Tail|Read|StartLiveTail|StartQuery)"
)
#: Calls that carry data rather than change what there is: recorded as reads are.
_DATA = frozenset({"PutLogEvents", "PutEvents", "AppendLogs"})

_BATCH = "AWS::Batch"
#: By the member that names one: the type of the resource.
_TYPES = {
    "jobQueue": f"{_BATCH}::JobQueue",
    "jobQueueName": f"{_BATCH}::JobQueue",
    "jobDefinition": f"{_BATCH}::JobDefinition",
    "jobDefinitionName": f"{_BATCH}::JobDefinition",
    "computeEnvironment": f"{_BATCH}::ComputeEnvironment",
    "computeEnvironmentName": f"{_BATCH}::ComputeEnvironment",
    "consumableResource": f"{_BATCH}::ConsumableResource",
    "consumableResourceName": f"{_BATCH}::ConsumableResource",
    "schedulingPolicyArn": f"{_BATCH}::SchedulingPolicy",
    "jobId": f"{_BATCH}::Job",
    "jobs": f"{_BATCH}::Job",
    "logGroupName": "AWS::Logs::LogGroup",
    "logGroupIdentifier": "AWS::Logs::LogGroup",
    "EventBusName": "AWS::Events::EventBus",
    "Rule": "AWS::Events::Rule",
    "ArchiveName": "AWS::Events::Archive",
    "ReplayName": "AWS::Events::Replay",
    "ConnectionName": "AWS::Events::Connection",
    "ApiDestinationName": "AWS::Events::ApiDestination",
}
#: By the kind in an ARN: the type of what a tag, for instance, is put on.
_KINDS = {
    "job-queue": f"{_BATCH}::JobQueue",
    "job-definition": f"{_BATCH}::JobDefinition",
    "compute-environment": f"{_BATCH}::ComputeEnvironment",
    "consumable-resource": f"{_BATCH}::ConsumableResource",
    "scheduling-policy": f"{_BATCH}::SchedulingPolicy",
    "job": f"{_BATCH}::Job",
    "rule": "AWS::Events::Rule",
    "event-bus": "AWS::Events::EventBus",
    "log-group": "AWS::Logs::LogGroup",
}
#: Members that hold an ARN of any kind.
_ARNS = ("resourceArn", "ResourceARN", "arn")
_ARN = re.compile(r"arn:[^:]*:[^:]*:[^:]*:[^:]*:(?P<kind>[a-z-]+)[/:](?P<rest>.+)", re.DOTALL)
#: Where calls name what they are about `Name`: its type, by the end of the call's own name.
_NAMED = {
    "Rule": "AWS::Events::Rule",
    "EventBus": "AWS::Events::EventBus",
    "Connection": "AWS::Events::Connection",
    "ApiDestination": "AWS::Events::ApiDestination",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedCaller:
    """Where a call comes from, as far as it is known."""

    address: str
    user_agent: str
    #: Without a user it is what the request claims; None where it names none.
    access_key_id: str | None
    request_id: str
    #: Of the installation, and the region that the caller wants its ARNs in.
    account: str
    region: str
    #: The user who was found to call; None where nobody was.
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a call failed: AWS's name of the error, and what was said."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record, and what it is looked up by."""

    event_id: uuid.UUID
    at: datetime
    event_source: str
    event_name: str
    is_read: bool
    access_key_id: str | None
    #: Who was found to call.
    user_name: str | None
    #: (type, name) of what the call is about.
    resources: tuple[tuple[str, str], ...]
    #: The record in CloudTrail's form.
    text: str

    @property
    def day(self) -> date:
        """The UTC day that it belongs to."""
        return self.at.astimezone(UTC).date()


def is_read(name: str) -> bool:
    """Whether a call of this name changes nothing."""
    return _READS.match(name) is not None


def is_recorded(name: str, *, is_refused: bool, with_reads: bool) -> bool:
    """Whether a call is to be recorded: each that changes something, and each refused one."""
    return is_refused or with_reads or not (is_read(name) or name in _DATA)


def event_id_at(at: datetime, randomness: int) -> uuid.UUID:
    """An id for a record of this time, which tells the time's millisecond (RFC 9562, version 7).

    Args:
        at: the time.
        randomness: 74 bits that tell it from others.
    """
    high, low = randomness >> 62, randomness & (1 << 62) - 1
    return uuid.UUID(
        int=_milliseconds(at) << 80 | _VERSION << 76 | (high & 0xFFF) << 64 | 0b10 << 62 | low
    )


def time_of(event_id: uuid.UUID) -> datetime | None:
    """The time that an id of `event_id_at` tells; None if it is none of those."""
    if event_id.version != _VERSION:
        return None
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=event_id.int >> 80)
    except OverflowError:
        return None


def record_of(
    *,
    at: datetime,
    event_id: uuid.UUID,
    source: str,
    name: str,
    caller: AuditedCaller,
    parameters: Json | None,
    response: Json | None = None,
    refusal: Refusal | None = None,
) -> AuditRecord:
    """The record of a call.

    Args:
        at: when it was made; kept to the millisecond.
        event_id: names the record.
        source: the service, as in `batch.amazonaws.com`.
        name: the operation.
        caller: who called, from where.
        parameters: the request's members, without what may be secret; None if it could not be read.
        response: members of the answer; left out of reads and of refused calls.
        refusal: how it failed; None for success.
    """
    reads = is_read(name)
    record: Json = {
        "eventVersion": "1.11",
        "userIdentity": _identity(caller),
        "eventTime": shown_time(at),
        "eventSource": source,
        "eventName": name,
        "awsRegion": _plain(caller.region, _TEXT_CHARACTERS),
        "sourceIPAddress": _plain(caller.address, _TEXT_CHARACTERS),
        "userAgent": _plain(caller.user_agent, _AGENT_CHARACTERS),
        "requestParameters": parameters,
        "responseElements": None if reads or refusal else response,
        "requestID": _plain(caller.request_id, _TEXT_CHARACTERS),
        "eventID": str(event_id),
        "readOnly": reads,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": caller.account,
        "eventCategory": "Management",
    }
    if caller.access_key_id:
        record["userIdentity"]["accessKeyId"] = _plain(caller.access_key_id, _TEXT_CHARACTERS)
    if refusal is not None:
        record["errorCode"] = _plain(refusal.code, _TEXT_CHARACTERS)
        record["errorMessage"] = _plain(refusal.message, _MESSAGE_CHARACTERS)
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    found = found_by(record, at)
    if len(found.text) <= PARAMETERS_BYTES:
        return found
    for part in ("requestParameters", "responseElements"):
        if record[part]:
            record[part] = bounded(record[part])
    return found_by(record, at)


def _identity(caller: AuditedCaller) -> Json:
    if caller.user is None:
        return {"type": "Unknown"}
    name = _plain(caller.user, _TEXT_CHARACTERS)
    return {
        "type": "IAMUser",
        "principalId": name,
        "arn": f"arn:aws:iam::{caller.account}:user/{name}",
        "accountId": caller.account,
        "userName": name,
    }


def found_by(record: Json, at: datetime) -> AuditRecord:
    """A record with what it is looked up by, all of which follows from it.

    Of what comes from elsewhere it raises ValueError, KeyError, TypeError or AttributeError, as
    whatever is wrong with it has it.
    """
    key = record["userIdentity"].get("accessKeyId")
    user = record["userIdentity"].get("userName")
    return AuditRecord(
        event_id=uuid.UUID(record["eventID"]),
        at=at,
        event_source=_plain(record["eventSource"], _TEXT_CHARACTERS),
        event_name=_plain(record["eventName"], _TEXT_CHARACTERS),
        is_read=record["readOnly"] is True,
        access_key_id=None if key is None else _plain(key, _TEXT_CHARACTERS),
        user_name=None if user is None else _plain(user, _TEXT_CHARACTERS),
        resources=tuple(_resources(record)),
        text=json.dumps(record, separators=(",", ":")),
    )


def is_sound(found: AuditRecord) -> bool:
    """Whether what a record is looked up by is what its text says."""
    try:
        record = json.loads(found.text)
        return found_by(record, found.at) == found and record["eventTime"] == shown_time(found.at)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def shown_time(at: datetime) -> str:
    """A time as records have it, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---------------------------------------------------------------- what is kept of a call


def bounded(members: Json, limit: int = PARAMETERS_BYTES) -> Json:
    """Members of a request or answer that take at most so many bytes of JSON.

    The largest give way first. Of a list its beginning stays, and `<member>Omitted` says how many
    entries do not; anything else becomes an object that says how large it was.
    """
    kept = dict(members)
    sizes = {name: _size(value) for name, value in members.items()}
    total = _size(kept)
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= limit:
            break
        value = kept[name]
        if isinstance(value, list):
            kept[name] = _beginning(value)
            kept[f"{name}Omitted"] = len(value) - len(kept[name])
        else:
            kept[name] = {"omitted": True, "originalSize": sizes[name]}
        total = _size(kept)
    return kept


def _beginning(values: list[Any]) -> list[Any]:
    room = _LIST_BYTES
    for number, value in enumerate(values):
        room -= _size(value) + 1
        if room < 0:
            return values[:number]
    return values


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))


def _plain(text: str, characters: int) -> str:
    """A text that every column takes: clipped, without NUL and halves of surrogate pairs."""
    clipped = text if len(text) <= characters else text[: characters - 1] + "…"
    return clipped.replace("\0", "\ufffd").encode(errors="replace").decode()


def _resources(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a call is about, by the members that name it; each once, in order."""
    found: dict[tuple[str, str], None] = {}
    for part in ("requestParameters", "responseElements"):
        members = record.get(part)
        if isinstance(members, dict):
            found |= dict.fromkeys(_named_in(record["eventName"], members))
    return list(found)[:_RESOURCES]


def _named_in(operation: str, members: Json) -> Iterator[tuple[str, str]]:
    for member, value in members.items():
        names = value if isinstance(value, list) else [value]
        for name in names[:_RESOURCES]:
            if not isinstance(name, str) or not name:
                continue
            kind, rest = _parts(name)
            if member in _ARNS:
                if kind in _KINDS:
                    yield _KINDS[kind], _plain(rest, _TEXT_CHARACTERS)
            elif type_ := _TYPES.get(member) or (_type_of_name(operation, member)):
                yield type_, _plain(rest, _TEXT_CHARACTERS)


def _type_of_name(operation: str, member: str) -> str | None:
    if member != "Name":
        return None
    return next((type_ for end, type_ in _NAMED.items() if operation.endswith(end)), None)


def resource_name(text: str) -> str:
    """The name by which records know a resource that is named by it or by an ARN."""
    return _parts(text)[1]


def _parts(text: str) -> tuple[str, str]:
    """The kind and the name of an ARN; of anything else no kind, and the whole."""
    match = _ARN.fullmatch(text)
    return (match["kind"], match["rest"]) if match else ("", text)


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)
