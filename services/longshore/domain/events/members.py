"""Members of EventBridge's requests: lengths, forms and values, refused in AWS's words."""

import re
from collections.abc import Collection, Sequence

from longshore.domain.checks import Json, check_tags
from longshore.domain.errors import InvalidRequest

#: Names of rules, targets, connections and API destinations.
NAME = re.compile(r"[.\-_A-Za-z0-9]+")
BUS_NAME = re.compile(r"[/.\-_A-Za-z0-9]+")
NAME_MAX = 64
BUS_NAME_MAX = 256
DESCRIPTION_MAX = 512
ARN_MAX = 1600
TOKEN_MAX = 2048
LIMIT_MAX = 100
_QUOTED = 256


def invalid(message: str, member: str) -> InvalidRequest:
    """The refusal of a member's value, in words of our own."""
    return InvalidRequest(message, member=member, code="ValidationException")


def constraint(value: object, member: str, what: str) -> InvalidRequest:
    """The refusal of a member's value, in AWS's form.

    Args:
        value: what was given; None for nothing.
        member: its path, as in `Targets[0].Id`.
        what: what must be so, as in `have length less than or equal to 64`.
    """
    path = ".".join(part[:1].lower() + part[1:] for part in member.split("."))
    shown = "null" if value is None else f"'{str(value)[:_QUOTED]}'"
    return InvalidRequest(
        f"1 validation error detected: Value {shown} at '{path}' failed to satisfy constraint: "
        f"Member must {what}",
        member=member,
        code="ValidationException",
    )


def text(
    value: str | None,
    member: str,
    most: int,
    form: re.Pattern[str] | None = None,
    *,
    least: int = 1,
) -> None:
    """A text's length and form; one that is not there is right."""
    if value is None:
        return
    if len(value) < least:
        raise constraint(value, member, f"have length greater than or equal to {least}")
    if len(value) > most:
        raise constraint(value, member, f"have length less than or equal to {most}")
    if form is not None and form.fullmatch(value) is None:
        raise constraint(value, member, f"satisfy regular expression pattern: {form.pattern}")


def choice(value: str | None, member: str, values: Collection[str]) -> None:
    """One of a few values; one that is not there is right."""
    if value is not None and value not in values:
        listed = ", ".join(values)
        raise constraint(value, member, f"satisfy enum value set: [{listed}]")


def number(value: int | None, member: str, least: int, most: int | None = None) -> None:
    """A number's range; one that is not there is right."""
    if value is not None and value < least:
        raise constraint(value, member, f"have value greater than or equal to {least}")
    if value is not None and most is not None and value > most:
        raise constraint(value, member, f"have value less than or equal to {most}")


def count(values: Sequence[object], member: str, least: int, most: int) -> None:
    """A list's length."""
    if len(values) < least:
        raise constraint(values, member, f"have length greater than or equal to {least}")
    if len(values) > most:
        raise constraint(
            f"{len(values)} entries", member, f"have length less than or equal to {most}"
        )


def name(request: Json, member: str = "Name", most: int = NAME_MAX) -> str:
    """A name that must be there."""
    value: str | None = request.get(member)
    if value is None:
        raise constraint(None, member, "not be null")
    text(value, member, most, NAME)
    return value


def page(request: Json) -> tuple[int, str | None]:
    """How many entries a page has, and the token where it begins."""
    limit: int | None = request.get("Limit")
    number(limit, "Limit", 1, LIMIT_MAX)
    token: str | None = request.get("NextToken")
    text(token, "NextToken", TOKEN_MAX)
    return LIMIT_MAX if limit is None else limit, token


def prefix(request: Json, most: int = NAME_MAX, form: re.Pattern[str] = NAME) -> str:
    """With what names begin; empty for any."""
    given: str | None = request.get("NamePrefix")
    text(given, "NamePrefix", most, form)
    return given or ""


def tags(request: Json, member: str = "Tags") -> dict[str, str]:
    """Tags as a mapping."""
    given: Sequence[Json] = request.get(member, ())
    found: dict[str, str] = {}
    for index, tag in enumerate(given):
        path = f"{member}[{index}]"
        key, value = tag.get("Key"), tag.get("Value")
        for part, entry in (("Key", key), ("Value", value)):
            if entry is None:
                raise constraint(None, f"{path}.{part}", "not be null")
        assert key is not None  # noqa: S101 - just looked at
        assert value is not None  # noqa: S101 - just looked at
        if key in found:
            raise invalid(f"{path}.Key is there twice: {key[:_QUOTED]!r}.", f"{path}.Key")
        found[key] = value
    check_tags(found, member)
    return found
