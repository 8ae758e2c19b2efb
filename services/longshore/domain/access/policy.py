"""Policies: what may be done, in IAM's JSON.

Source: IAM User Guide, "IAM JSON policy elements reference", for policies of users and groups.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from longshore.domain.access.condition import KEYS, Condition
from longshore.domain.access.pattern import Context, Pattern
from longshore.domain.errors import InvalidRequest

#: Of a document without white space, as IAM counts it.
DOCUMENT_CHARACTERS = 6_144
#: Versions of the language; variables are known to the newer alone.
NEWEST = "2012-10-17"
VERSIONS = ("2008-10-17", NEWEST)
ALLOW, DENY = "Allow", "Deny"
_MEMBERS = frozenset({"Sid", "Effect", "Condition"})
_PAIRS = (("Action", "NotAction"), ("Resource", "NotResource"))
_ACTION = re.compile(r"\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+", re.ASCII)
_RESOURCE = re.compile(r"\*|arn:.+", re.DOTALL)
_SID = re.compile(r"[A-Za-z0-9 _.-]{0,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is allowed, or denied."""

    #: Its Sid, or its place in the document, from 1 on.
    name: str
    is_allow: bool
    actions: tuple[Pattern, ...]
    #: Whether it is about all actions but these.
    is_not_action: bool
    resources: tuple[Pattern, ...]
    is_not_resource: bool
    conditions: tuple[Condition, ...]

    def applies(self, action: str, resource: str, context: Context) -> bool:
        """Whether it says anything of a call."""
        lower = action.lower()
        if any(one.matches(lower, context) for one in self.actions) == self.is_not_action:
            return False
        if any(one.matches_arn(resource, context) for one in self.resources) == (
            self.is_not_resource
        ):
            return False
        return all(condition.holds(context) for condition in self.conditions)

    def is_about(self, action: str) -> bool:
        """Whether it says anything of an action, on some resource, in some case."""
        lower = action.lower()
        return any(one.matches(lower, {}) for one in self.actions) != self.is_not_action


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy by its name."""

    name: str
    statements: tuple[Statement, ...]

    def asks_for(self, key: str) -> bool:
        """Whether what it says depends on what calls say under a key."""
        return any(condition.key == key for one in self.statements for condition in one.conditions)


def read(name: str, document: str) -> Policy:
    """Reads a policy's document.

    Raises:
        InvalidRequest: it is none; the message names what is wrong.
    """
    if len(document) > 4 * DOCUMENT_CHARACTERS:
        raise _wrong(f"has more than {DOCUMENT_CHARACTERS} characters")
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise _wrong("is not valid JSON") from None
    if not isinstance(found, dict):
        raise _wrong("must be a JSON object")
    if len(json.dumps(found, separators=(",", ":"), ensure_ascii=False)) > DOCUMENT_CHARACTERS:
        raise _wrong(f"has more than {DOCUMENT_CHARACTERS} characters without white space")
    if unknown := sorted(set(found) - {"Version", "Id", "Statement"}):
        raise _wrong(f"has a member {unknown[0][:64]!r}, which is not known")
    version = found.get("Version", VERSIONS[0])
    if version not in VERSIONS:
        raise _wrong(f"has a Version that is none of {', '.join(VERSIONS)}")
    statements = found.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise _wrong("has no Statement")
    has_variables = version == NEWEST
    read_ones = tuple(
        _statement(one, place, has_variables=has_variables)
        for place, one in enumerate(statements, 1)
    )
    sids = [one["Sid"] for one in statements if one.get("Sid")]
    if len(set(sids)) < len(sids):
        raise _wrong("has two statements of one Sid")
    return Policy(name, read_ones)


def _statement(given: Any, place: int, *, has_variables: bool) -> Statement:
    where = f"Statement[{place - 1}]"
    if not isinstance(given, dict):
        raise _wrong(f"has in {where} no JSON object")
    known = _MEMBERS.union(*_PAIRS)
    if unknown := sorted(set(given) - known):
        raise _wrong(f"has in {where} a member {unknown[0][:64]!r}, which is not known here")
    sid = given.get("Sid", "")
    if not isinstance(sid, str) or _SID.fullmatch(sid) is None:
        raise _wrong(f"has in {where} a Sid that is no short text of letters and digits")
    if given.get("Effect") not in (ALLOW, DENY):
        raise _wrong(f"has in {where} an Effect that is neither Allow nor Deny")
    actions, is_not_action = _one_of(given, where, *_PAIRS[0])
    resources, is_not_resource = _one_of(given, where, *_PAIRS[1])
    for text in actions:
        if _ACTION.fullmatch(text) is None:
            raise _wrong(
                f"has in {where} an action {text[:64]!r}; it must look like batch:SubmitJob"
            )
    for text in resources:
        if _RESOURCE.fullmatch(text) is None:
            raise _wrong(f"has in {where} a resource {text[:64]!r}; it must be an ARN, or *")
    found = tuple(Pattern.of(text, has_variables=has_variables) for text in resources)
    for pattern in found:
        _check_variables(pattern, where)
    return Statement(
        name=sid or str(place),
        is_allow=given["Effect"] == ALLOW,
        actions=tuple(Pattern.of(text.lower(), has_variables=False) for text in actions),
        is_not_action=is_not_action,
        resources=found,
        is_not_resource=is_not_resource,
        conditions=_conditions(given.get("Condition", {}), where, has_variables=has_variables),
    )


def _conditions(given: Any, where: str, *, has_variables: bool) -> tuple[Condition, ...]:
    if not isinstance(given, dict):
        raise _wrong(f"has in {where} a Condition that is no JSON object")
    found = []
    for operator, keys in given.items():
        if not isinstance(keys, dict):
            raise _wrong(f"has in {where}.Condition.{operator[:64]} no JSON object")
        for key, value in keys.items():
            member = f"{where}.Condition.{operator[:64]}"
            values = _texts(value, f"{member}.{key[:64]}")
            condition = Condition.of(operator, key, values, member, has_variables=has_variables)
            for pattern in condition.values:
                _check_variables(pattern, where)
            found.append(condition)
    return tuple(found)


def _check_variables(pattern: Pattern, where: str) -> None:
    for key in pattern.variables:
        if key not in KEYS and not (key.partition("/")[0] + "/" in KEYS and not key.endswith("/")):
            raise _wrong(f"has in {where} a variable {key[:64]!r}, which calls do not tell here")


def _one_of(given: Any, where: str, positive: str, negative: str) -> tuple[list[str], bool]:
    """The values of one of two members, and whether it is the negative one."""
    if (positive in given) == (negative in given):
        raise _wrong(f"needs in {where} either {positive} or {negative}")
    member = positive if positive in given else negative
    values = _texts(given[member], f"{where}.{member}")
    if not values:
        raise _wrong(f"has in {where} an empty {member}")
    return values, member == negative


def _texts(value: Any, where: str) -> list[str]:
    values: Sequence[Any] = value if isinstance(value, list) else [value]
    texts = [
        str(one).lower() if isinstance(one, bool) else str(one) if isinstance(one, int) else one
        for one in values
    ]
    if not all(isinstance(one, str) for one in texts):
        raise _wrong(f"has in {where} something else than texts")
    return texts


def _wrong(what: str) -> InvalidRequest:
    return InvalidRequest(
        f"The policy document {what}.", member="document", code="MalformedPolicyDocument"
    )
