"""Checks that several operations share: names, tags, retries, sizes; AWS's texts where known.

Values arrive as AWS-shaped JSON whose types, required members and enumerations are right already:
what is checked here is what the wire's descriptors cannot say.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from longshore.domain.arn import NAME
from longshore.domain.errors import InvalidRequest, LimitExceeded, Unimplemented
from longshore.domain.limits import LONGSHORE, Limits

#: An AWS-shaped object as decoded JSON.
Json = dict[str, Any]

TAGS_MAX = 50
REASON_MAX = 1024
ATTEMPTS_MAX = 10
EXIT_RULES_MAX = 5
#: Most times the memory of an attempt that had too little.
OOM_FACTOR_MAX = 10
PATTERN_MAX = 512
PRIORITY_MAX = 9999
#: Bytes of a request of an operation that has no limit of its own.
REQUEST_BYTES_MAX = 30 * 1024
#: As many tags as there may be, of the longest characters.
_TAGS_BYTES_MAX = 80 * 1024
NAMES_MAX = 100
INT32_MAX = 2**31 - 1

_TAG_SIGNS = "_.:/=+-@"
_EXIT_CODE_PATTERN = re.compile(r"[0-9]*\*?")
_REASON_PATTERN = re.compile(r"[0-9A-Za-z.:\s]*\*?")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}")


def require(condition: object, message: str, member: str) -> None:
    """Refuses the request unless the condition holds."""
    if not condition:
        raise InvalidRequest(message, member=member)


def unsupported(member: str, why: str = "") -> Unimplemented:
    """The refusal of something that AWS Batch knows and longshore does not do."""
    return Unimplemented(f"{member} is not supported by longshore{why}.", member=member)


def check_name(name: str, member: str) -> None:
    """A name of a resource: up to 128 letters, digits, `-` and `_`."""
    require(
        NAME.fullmatch(name),
        f"{member} must have 1 to 128 letters, digits, - and _, and begin with a letter or digit.",
        member,
    )


def check_job_name(name: str) -> None:
    """A job's name, with AWS's text."""
    require(NAME.fullmatch(name), "Job name should match valid pattern", "jobName")


def check_not_empty(value: str, member: str) -> None:
    """A string that must not be empty."""
    require(value, f"'{member}' is a required field (cannot be an empty string)", member)


def check_reason(reason: str) -> None:
    """Why a job is cancelled or terminated."""
    check_not_empty(reason, "reason")
    require(len(reason) <= REASON_MAX, f"reason is longer than {REASON_MAX} characters.", "reason")


def check_size(size: int, operation: str, limits: Limits = LONGSHORE) -> None:
    """The size of a request of an operation on the wire, in bytes as serialized.

    Raises:
        LimitExceeded: it is too large.
    """
    most = {
        "SubmitJob": limits.submission_bytes_max,
        "RegisterJobDefinition": limits.definition_bytes_max,
        "TagResource": _TAGS_BYTES_MAX,
    }.get(operation, REQUEST_BYTES_MAX)
    if size > most:
        raise LimitExceeded(
            f"The {operation} request has {size} bytes; at most {most} are allowed."
        )


def check_count(values: Sequence[object], limit: int, member: str) -> None:
    """A list's length."""
    require(len(values) <= limit, f"{member} has more than {limit} entries.", member)


def check_tags(tags: Mapping[str, str], member: str = "tags") -> None:
    """Tags as AWS allows them."""
    require(len(tags) <= TAGS_MAX, f"{member} has more than {TAGS_MAX} tags.", member)
    for key, value in tags.items():
        for text in (key, value):
            strange = next((char for char in text if not _fits_tag(char)), None)
            require(
                strange is None,
                f"{member} has the character {strange!r}; keys and values may have letters, "
                f"digits, spaces and {_TAG_SIGNS}",
                member,
            )
        require(1 <= len(key) <= 128, f"{member} has a key that is not 1 to 128 long.", member)
        require(len(value) <= 256, f"{member} has a value longer than 256.", member)
        reserved = key.lower().startswith("aws:") or value.lower().startswith("aws:")
        require(not reserved, f"{member} uses the reserved prefix aws:.", member)


def _fits_tag(char: str) -> bool:
    """Whether AWS takes a character in tags: letters, numbers and separators, and some signs."""
    return char in _TAG_SIGNS or unicodedata.category(char)[0] in "LNZ"


def check_role(arn: str | None, member: str) -> None:
    """The form of a role's ARN; whether it can be assumed shows when a job starts."""
    if arn:
        require(_ROLE.fullmatch(arn), f"{member} is not the ARN of a role.", member)


def check_priority(priority: int | None, member: str) -> None:
    """A job's scheduling priority."""
    require(
        priority is None or 0 <= priority <= PRIORITY_MAX,
        f"{member} must be from 0 to {PRIORITY_MAX}.",
        member,
    )


def check_retry(retry: Json | None) -> None:
    """A retry strategy."""
    if retry is None:
        return
    attempts = retry.get("attempts")
    require(
        attempts is not None,
        "RetryAttempts must be provided with retry strategy",
        "retryStrategy.attempts",
    )
    require(
        isinstance(attempts, int) and 1 <= attempts <= ATTEMPTS_MAX,
        f"retryStrategy.attempts must be from 1 to {ATTEMPTS_MAX}.",
        "retryStrategy.attempts",
    )
    _check_growth(retry.get("oomMemoryFactor"), retry.get("oomMemoryMaxMib"))
    rules = retry.get("evaluateOnExit", [])
    check_count(rules, EXIT_RULES_MAX, "retryStrategy.evaluateOnExit")
    for index, rule in enumerate(rules):
        for name in ("onExitCode", "onReason", "onStatusReason"):
            _check_pattern(rule.get(name), name, f"retryStrategy.evaluateOnExit[{index}].{name}")


def _check_growth(factor: object, max_mib: object) -> None:
    """More memory after an attempt that had too little; a double that is no number is a text."""
    require(
        factor is None or (isinstance(factor, int | float) and 1 < factor <= OOM_FACTOR_MAX),
        f"retryStrategy.oomMemoryFactor must be above 1 and at most {OOM_FACTOR_MAX}.",
        "retryStrategy.oomMemoryFactor",
    )
    require(
        (factor is None) == (max_mib is None),
        "retryStrategy.oomMemoryFactor and retryStrategy.oomMemoryMaxMib go together.",
        "retryStrategy.oomMemoryMaxMib",
    )
    require(
        max_mib is None or (isinstance(max_mib, int) and max_mib > 0),
        "retryStrategy.oomMemoryMaxMib must be above 0.",
        "retryStrategy.oomMemoryMaxMib",
    )


def _check_pattern(pattern: str | None, name: str, member: str) -> None:
    if pattern is None:
        return
    require(1 <= len(pattern) <= PATTERN_MAX, f"{member} must be 1 to {PATTERN_MAX} long.", member)
    if name == "onExitCode":
        require(
            _EXIT_CODE_PATTERN.fullmatch(pattern),
            f"{member} may have digits and one * at its end.",
            member,
        )
    else:
        require(
            _REASON_PATTERN.fullmatch(pattern),
            f"{member} may have letters, digits, . and : and white space, and one * at its end.",
            member,
        )


def check_timeout(timeout: Json | None, limits: Limits = LONGSHORE) -> None:
    """A timeout of attempts."""
    if timeout is None:
        return
    seconds = timeout.get("attemptDurationSeconds")
    require(
        seconds is not None and seconds >= limits.timeout_min_seconds,
        f"timeout.attemptDurationSeconds must be at least {limits.timeout_min_seconds}.",
        "timeout.attemptDurationSeconds",
    )


def parse_integer(text: str) -> int | None:
    """A plain decimal number, None if it is none or larger than an integer member may be."""
    if re.fullmatch(r"[0-9]{1,10}", text) is None:
        return None
    value = int(text)
    return value if value <= INT32_MAX else None
