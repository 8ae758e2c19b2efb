"""Conditions of a policy's statement: operators, keys and values.

Source: IAM User Guide, "IAM JSON policy elements: Condition operators" and "Conditions with
multiple context keys or values". All keys of a condition must hold; of one key's values any.
"""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from longshore.domain.access.pattern import Context, Pattern
from longshore.domain.errors import InvalidRequest

_ANY, _ALL = "ForAnyValue:", "ForAllValues:"
_IF_EXISTS = "IfExists"
_NULL = "Null"

#: Who has submitted the job that a call is about.
SUBMITTED_BY = "longshore:submittedby"

#: Keys that calls say something of; those that end with / with anything behind it.
KEYS = frozenset(
    {
        "aws:currenttime",
        "aws:epochtime",
        "aws:principalarn",
        "aws:requesttag/",
        "aws:resourcetag/",
        "aws:sourceip",
        "aws:tagkeys",
        "aws:userid",
        "aws:username",
        "batch:awslogscreategroup",
        "batch:awslogsgroup",
        "batch:awslogsregion",
        "batch:awslogsstreamprefix",
        "batch:image",
        "batch:logdriver",
        "batch:privileged",
        "batch:shareidentifier",
        "batch:user",
        SUBMITTED_BY,
    }
)

#: Whether a value of a call is what a value of the policy says; the policy's may have variables.
_Compare = Callable[[str, Pattern, Context], bool]


def _text(pattern: Pattern, context: Context) -> str | None:
    filled = pattern.filled(context)
    return None if filled is None else "".join(str(token) for token in filled)


def _equal(value: str, pattern: Pattern, context: Context) -> bool:
    return value == _text(pattern, context)


def _equal_in_any_case(value: str, pattern: Pattern, context: Context) -> bool:
    text = _text(pattern, context)
    return text is not None and value.casefold() == text.casefold()


def _like(value: str, pattern: Pattern, context: Context) -> bool:
    return pattern.matches(value, context)


def _arn_like(value: str, pattern: Pattern, context: Context) -> bool:
    return pattern.matches_arn(value, context)


def _in_network(value: str, pattern: Pattern, _context: Context) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(pattern.text, strict=False)
    except ValueError:
        return False


def _same_truth(value: str, pattern: Pattern, context: Context) -> bool:
    return _equal_in_any_case(value, pattern, context)


def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _date(text: str) -> Decimal | None:
    """Seconds since 1970 of a date as ISO 8601 has it, or of those seconds."""
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        found = datetime.fromisoformat(text)
        at = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        return Decimal(str(at.timestamp()))
    except (ValueError, OverflowError):
        return None


def _ordered(
    read: Callable[[str], Decimal | None], holds: Callable[[Decimal, Decimal], bool]
) -> _Compare:
    def compare(value: str, pattern: Pattern, context: Context) -> bool:
        text = _text(pattern, context)
        left, right = read(value), None if text is None else read(text)
        return left is not None and right is not None and holds(left, right)

    return compare


@dataclass(frozen=True, slots=True)
class Operator:
    """One way to compare."""

    compare: _Compare
    #: Whether it holds where nothing compares.
    is_negated: bool = False
    has_wildcards: bool = False
    #: Whether a text of the policy is one that can be compared with.
    takes: Callable[[str], object] = bool


_ORDERS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "Equals": lambda left, right: left == right,
    "LessThan": lambda left, right: left < right,
    "LessThanEquals": lambda left, right: left <= right,
    "GreaterThan": lambda left, right: left > right,
    "GreaterThanEquals": lambda left, right: left >= right,
}


def _anything(_text: str) -> bool:
    return True


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _is_truth(text: str) -> bool:
    return text.lower() in ("true", "false")


def _is_number(text: str) -> bool:
    return _number(text) is not None


def _is_date(text: str) -> bool:
    return _date(text) is not None


OPERATORS: dict[str, Operator] = {
    "StringEquals": Operator(_equal, takes=_anything),
    "StringNotEquals": Operator(_equal, is_negated=True, takes=_anything),
    "StringEqualsIgnoreCase": Operator(_equal_in_any_case, takes=_anything),
    "StringNotEqualsIgnoreCase": Operator(_equal_in_any_case, is_negated=True, takes=_anything),
    "StringLike": Operator(_like, has_wildcards=True, takes=_anything),
    "StringNotLike": Operator(_like, is_negated=True, has_wildcards=True, takes=_anything),
    "ArnEquals": Operator(_arn_like, has_wildcards=True),
    "ArnLike": Operator(_arn_like, has_wildcards=True),
    "ArnNotEquals": Operator(_arn_like, is_negated=True, has_wildcards=True),
    "ArnNotLike": Operator(_arn_like, is_negated=True, has_wildcards=True),
    "IpAddress": Operator(_in_network, takes=_is_network),
    "NotIpAddress": Operator(_in_network, is_negated=True, takes=_is_network),
    "Bool": Operator(_same_truth, takes=_is_truth),
    **{
        f"{kind}{name}": Operator(_ordered(read, holds), takes=takes)
        for kind, read, takes in (("Numeric", _number, _is_number), ("Date", _date, _is_date))
        for name, holds in _ORDERS.items()
    },
    "NumericNotEquals": Operator(
        _ordered(_number, _ORDERS["Equals"]), is_negated=True, takes=_is_number
    ),
    "DateNotEquals": Operator(_ordered(_date, _ORDERS["Equals"]), is_negated=True, takes=_is_date),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key."""

    key: str
    operator: Operator | None
    values: tuple[Pattern, ...]
    #: "", or how several values of a call are taken.
    quantifier: str = ""
    if_exists: bool = False

    @classmethod
    def of(
        cls, name: str, key: str, values: Sequence[str], member: str, *, has_variables: bool = True
    ) -> "Condition":
        """Reads one.

        Raises:
            InvalidRequest: an operator, a key or a value is not known.
        """
        lower = key.lower()
        is_known = lower in KEYS or lower.partition("/")[0] + "/" in KEYS
        if not is_known or lower.endswith("/"):
            raise InvalidRequest(
                f"{member} asks for {key[:64]!r}, which calls do not tell here; docs/"
                "users-and-policies.md lists the keys.",
                member=member,
            )
        plain = name
        quantifier = next((q for q in (_ANY, _ALL) if name.startswith(q)), "")
        plain = plain.removeprefix(quantifier)
        if plain == _NULL and not quantifier:
            if not values or not all(_is_truth(value) for value in values):
                raise InvalidRequest(f"{member}: Null takes true or false.", member=member)
            return cls(lower, None, tuple(Pattern.of(value.lower()) for value in values))
        if_exists = plain.endswith(_IF_EXISTS)
        operator = OPERATORS.get(plain.removesuffix(_IF_EXISTS))
        if operator is None:
            raise InvalidRequest(f"{member} has no operator {name[:64]!r}.", member=member)
        patterns = tuple(
            Pattern.of(value, has_variables=has_variables, has_wildcards=operator.has_wildcards)
            for value in values
        )
        for value, pattern in zip(values, patterns, strict=True):
            if not pattern.variables and not operator.takes(value):
                raise InvalidRequest(
                    f"{member}: {name} does not take {value[:64]!r}.", member=member
                )
        return cls(lower, operator, patterns, quantifier, if_exists)

    def holds(self, context: Context) -> bool:
        """Whether a call is as it says."""
        said = context.get(self.key, ())
        if self.operator is None:
            is_missing = "false" if said else "true"
            return any(value.text == is_missing for value in self.values)
        if not said:
            return (
                self.if_exists
                or self.quantifier == _ALL
                or (self.operator.is_negated and self.quantifier != _ANY)
            )
        results = (self._compares(value, context) for value in said)
        if self.quantifier:
            return any(results) if self.quantifier == _ANY else all(results)
        # Without a quantifier of several values any is enough, but none may be what must not be.
        return all(results) if self.operator.is_negated else any(results)

    def _compares(self, value: str, context: Context) -> bool:
        assert self.operator is not None  # noqa: S101 - seen by the caller
        found = any(self.operator.compare(value, pattern, context) for pattern in self.values)
        return found != self.operator.is_negated
