"""Policies in IAM's JSON: what is read, and what is decided, against a plain reference."""

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longshore.domain.access import managed, policy
from longshore.domain.access.condition import OPERATORS
from longshore.domain.access.deciding import decide, decide_any, denied, is_possible
from longshore.domain.access.pattern import Pattern, glob
from longshore.domain.errors import InvalidRequest

QUEUE = "arn:aws:batch:us-east-1:123456789012:job-queue/"
ANA = {"aws:username": ("ana",)}


def _policy(*statements: Any, version: str = policy.NEWEST) -> policy.Policy:
    return policy.read("p", json.dumps({"Version": version, "Statement": list(statements)}))


def _allow(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def _deny(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return _allow(action, resource, **more) | {"Effect": "Deny"}


def _allows(one: policy.Policy, action: str, resource: str = "*", **said: Any) -> bool:
    context = dict(ANA) | {key.lower(): value for key, value in said.pop("said", {}).items()}
    return decide([one], action, resource, context).allowed


# ---------------------------------------------------------------- against a plain reference

_ACTIONS = ["batch:SubmitJob", "batch:ListJobs", "logs:GetLogEvents"]
_PATTERNS = st.sampled_from(["*", "batch:*", "batch:Submit?ob", "BATCH:listjobs", *_ACTIONS])
_NAMES = ["a", "ab", "b*", "ana-1"]
_RESOURCES = st.sampled_from(
    ["*", QUEUE + "*", QUEUE + "a*", QUEUE + "?", QUEUE + "${aws:username}-*", "arn:aws:logs:*"]
)
_SHARES = st.sampled_from(["x", "xy", "ana"])
_STATEMENTS = st.fixed_dictionaries(
    {
        "effect": st.sampled_from(["Allow", "Deny"]),
        "actions": st.lists(_PATTERNS, min_size=1, max_size=2),
        "not_action": st.booleans(),
        "resources": st.lists(_RESOURCES, min_size=1, max_size=2),
        "not_resource": st.booleans(),
        "condition": st.none()
        | st.tuples(
            st.sampled_from(["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"]),
            st.sampled_from(["", "IfExists"]),
            st.lists(st.sampled_from(["x", "x*", "${aws:username}"]), min_size=1, max_size=2),
        ),
    }
)


def _document(given_ones: list[dict[str, Any]]) -> policy.Policy:
    statements = []
    for one in given_ones:
        made: dict[str, Any] = {
            "Effect": one["effect"],
            "NotAction" if one["not_action"] else "Action": one["actions"],
            "NotResource" if one["not_resource"] else "Resource": one["resources"],
        }
        if one["condition"]:
            operator, suffix, values = one["condition"]
            made["Condition"] = {operator + suffix: {"batch:ShareIdentifier": values}}
        statements.append(made)
    return _policy(*statements)


def _like(pattern: str, text: str, flags: int = 0) -> bool:
    """`*` and `?` by regular expressions; the user's name is filled in as it is."""
    parts = re.split(r"(\*|\?|\$\{aws:username\})", pattern)
    fill = {"*": ".*", "?": ".", "${aws:username}": "ana"}
    wanted = "".join(fill.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(wanted, text, flags | re.DOTALL) is not None


def _reference(given_ones: list[dict[str, Any]], action: str, arn: str, share: str | None) -> bool:
    """The rule as IAM's guide says it: an explicit deny, then an allow, then no."""
    effects = set()
    for one in given_ones:
        in_actions = any(_like(p, action, re.IGNORECASE) for p in one["actions"])
        in_resources = any(_like(p, arn) for p in one["resources"])
        if in_actions == one["not_action"] or in_resources == one["not_resource"]:
            continue
        if one["condition"]:
            operator, suffix, values = one["condition"]
            negated = "Not" in operator
            if share is None:
                holds = bool(suffix) or negated
            else:
                stars = "Like" in operator
                found = any(
                    _like(v, share) if stars else v.replace("${aws:username}", "ana") == share
                    for v in values
                )
                holds = found != negated
            if not holds:
                continue
        effects.add(one["effect"])
    return "Deny" not in effects and "Allow" in effects


@settings(max_examples=200)
@given(
    st.lists(_STATEMENTS, min_size=1, max_size=4),
    st.sampled_from(_ACTIONS),
    st.sampled_from(_NAMES),
    st.none() | _SHARES,
)
def test_it_is_decided_as_the_plain_rules_say(
    given_ones: list[dict[str, Any]], action: str, name: str, share: str | None
) -> None:
    said = {} if share is None else {"batch:shareidentifier": (share,)}
    decision = decide([_document(given_ones)], action, QUEUE + name, ANA | said)
    assert decision.allowed == _reference(given_ones, action, QUEUE + name, share)
    assert bool(decision.policy) or not decision.allowed


@settings(max_examples=100)
@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_wildcards_match_as_regular_expressions_would(pattern: str, text: str) -> None:
    assert glob(Pattern.of(pattern).tokens, text) == _like(pattern, text)


def test_many_stars_take_no_time() -> None:
    assert not glob(Pattern.of("*a" * 100).tokens, "a" * 90 + "b" * 10_000)


# ---------------------------------------------------------------- single rules


def test_region_and_account_of_an_arn_are_not_compared() -> None:
    """Callers name their region as they like; nobody comes around a deny by that."""
    one = _policy(_allow(), _deny("batch:SubmitJob", QUEUE + "prod"))
    for region in ("us-east-1", "eu-west-1"):
        arn = f"arn:aws:batch:{region}:000000000000:job-queue/prod"
        assert not _allows(one, "batch:SubmitJob", arn)


def test_a_star_in_what_a_call_says_is_a_star() -> None:
    one = _policy(_allow(resource=QUEUE + "${aws:username}"))
    context = {"aws:username": ("*",)}
    assert not decide([one], "batch:SubmitJob", QUEUE + "prod", context).allowed


def test_variables_are_texts_in_the_older_version_of_the_language() -> None:
    one = _policy(_allow(resource=QUEUE + "${aws:username}"), version="2008-10-17")
    assert not _allows(one, "batch:SubmitJob", QUEUE + "ana")


@pytest.mark.parametrize(
    ("operator", "key", "values", "said", "holds"),
    [
        ("NumericLessThan", "aws:EpochTime", "100", "99", True),
        ("NumericLessThanEquals", "aws:EpochTime", "100", "100.5", False),
        ("NumericNotEquals", "aws:EpochTime", "100", "1e2", False),
        ("NumericEquals", "aws:EpochTime", "100", "nan", False),
        (
            "DateGreaterThan",
            "aws:CurrentTime",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:01+00:00",
            1,
        ),
        ("DateLessThan", "aws:CurrentTime", "2026-01-01", "2025-12-31T23:59:59Z", True),
        ("Bool", "batch:Privileged", True, "true", True),
        ("Bool", "batch:Privileged", "false", "true", False),
        ("BoolIfExists", "batch:Privileged", "false", None, True),
        ("IpAddress", "aws:SourceIp", ["10.0.0.0/8", "::1"], "10.2.3.4", True),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", "10.2.3.4", False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", "nonsense", False),
        ("Null", "batch:User", "true", None, True),
        ("Null", "batch:User", "true", "root", False),
        ("StringEqualsIgnoreCase", "batch:User", "ROOT", "root", True),
        ("StringLike", "batch:Image", "registry/*:v?", "registry/a/b:v1", True),
        ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/a*", "arn:aws:iam::1:user/ana", True),
        ("StringNotEquals", "batch:User", "root", None, True),
        ("StringEquals", "batch:User", "root", None, False),
    ],
)
def test_conditions_hold_as_iams_do(
    operator: str, key: str, values: Any, said: str | None, holds: Any
) -> None:
    one = _policy(_allow(Condition={operator: {key: values}}))
    context = {} if said is None else {key: (said,)}
    assert _allows(one, "batch:SubmitJob", said=context) == bool(holds)


@pytest.mark.parametrize(
    ("operator", "tags", "holds"),
    [
        ("ForAllValues:StringEquals", ("a", "b"), True),
        ("ForAllValues:StringEquals", ("a", "c"), False),
        ("ForAllValues:StringEquals", (), True),
        ("ForAnyValue:StringEquals", ("a", "c"), True),
        ("ForAnyValue:StringEquals", ("c",), False),
        ("ForAnyValue:StringEquals", (), False),
        ("ForAnyValue:StringNotEquals", ("a", "c"), True),
        ("ForAnyValue:StringNotEquals", (), False),
        ("ForAllValues:StringNotEquals", ("c", "d"), True),
        ("ForAllValues:StringNotEquals", ("a", "d"), False),
    ],
)
def test_several_values_are_taken_as_is_said(
    operator: str, tags: tuple[str, ...], holds: bool
) -> None:
    one = _policy(_allow(Condition={operator: {"aws:TagKeys": ["a", "b"]}}))
    assert _allows(one, "batch:TagResource", said={"aws:TagKeys": tags}) == holds


def test_each_operator_takes_its_own_values_alone() -> None:
    good = {"Boo": "true", "Num": "1", "Dat": "2026-01-01", "IpA": "1.2.3.4", "Not": "::1"}
    for name in OPERATORS:
        value = good.get(name[:3], "arn:aws:batch:*")
        assert _policy(_allow(Condition={name: {"batch:User": value}}))
        if name[:3] in good:
            with pytest.raises(InvalidRequest, match="does not take"):
                _policy(_allow(Condition={name: {"batch:User": "x y"}}))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "not valid JSON"),
        ("[" * 20_000, "not valid JSON"),
        ("[]", "must be a JSON object"),
        ({"Statement": []}, "no Statement"),
        ({"Version": "2020", "Statement": _allow()}, "Version"),
        ({"Statement": _allow(), "Other": 1}, "'Other'"),
        ({"Statement": _allow(Principal="*")}, "'Principal'"),
        ({"Statement": {"Effect": "Allow", "Action": "*"}}, "either Resource or NotResource"),
        ({"Statement": _allow(NotAction="*")}, "either Action or NotAction"),
        ({"Statement": _allow() | {"Effect": "allow"}}, "Effect"),
        ({"Statement": _allow("SubmitJob")}, "must look like batch:SubmitJob"),
        ({"Statement": _allow(resource="queue")}, "must be an ARN"),
        ({"Statement": _allow([])}, "empty Action"),
        ({"Statement": _allow([["*"]])}, "something else than texts"),
        ({"Statement": _allow(Condition={"StringIs": {"batch:User": "x"}})}, "'StringIs'"),
        (
            {"Statement": _allow(Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}})},
            "'aws:MultiFactorAuthPresent', which calls do not tell",
        ),
        ({"Version": policy.NEWEST, "Statement": _allow(resource="arn:${aws:no}")}, "'aws:no'"),
        ({"Statement": [_allow(Sid="a"), _allow(Sid="a")]}, "one Sid"),
        ({"Statement": _allow(resource="arn:" + "a" * 7000)}, "6144 characters"),
    ],
)
def test_what_is_no_policy_is_refused_by_name(document: Any, words: str) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(InvalidRequest, match=words):
        policy.read("p", text)


@settings(max_examples=50)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["Statement", "Effect", "Action", "Sid",
                                                       "Resource", "Condition", "Bool"]),
                                      inner, max_size=4)))  # fmt: skip
def test_no_json_breaks_the_reading(document: Any) -> None:
    with contextlib.suppress(InvalidRequest):
        policy.read("p", json.dumps(document))


def test_a_refusal_says_what_clients_parse() -> None:
    decision = decide([], "batch:SubmitJob", QUEUE + "q", ANA)
    arn = "arn:aws:iam::123456789012:user/ana"
    assert denied(arn, "batch:SubmitJob", QUEUE + "q", decision).message == (
        f"User: {arn} is not authorized to perform: batch:SubmitJob on resource: {QUEUE}q because "
        "no identity-based policy allows the batch:SubmitJob action"
    )


def test_of_several_names_none_may_be_denied() -> None:
    one = _policy(_allow(resource=QUEUE + "a"), _deny(resource=QUEUE + "b"))
    assert decide_any([one], "batch:CancelJob", [QUEUE + "x", QUEUE + "a"], ANA).allowed
    assert not decide_any([one], "batch:CancelJob", [QUEUE + "a", QUEUE + "b"], ANA).allowed


# ---------------------------------------------------------------- those there from the start


def _managed(name: str, *queues: str) -> policy.Policy:
    found = managed.read(name, queues)
    assert found is not None
    return found


def test_an_operator_may_everything_but_users() -> None:
    operator = _managed("operator")
    assert _allows(operator, "batch:DeleteJobQueue", QUEUE + "q")
    assert not _allows(operator, "iam:CreateUser")
    assert _allows(_managed("admin"), "iam:CreateUser")


def test_a_submitter_has_its_queues_and_its_own_jobs() -> None:
    submitter = _managed("submitter", "a")
    assert _allows(submitter, "batch:SubmitJob", QUEUE + "a")
    assert not _allows(submitter, "batch:SubmitJob", QUEUE + "b")
    job = "arn:aws:batch:us-east-1:123456789012:job/x"
    for whose, may in (("ana", True), ("bob", False), (None, False)):
        said = {} if whose is None else {"longshore:SubmittedBy": (whose,)}
        assert _allows(submitter, "batch:TerminateJob", job, said=said) == may
    assert is_possible([submitter], "batch:TerminateJob")
    assert not is_possible([submitter], "batch:CreateJobQueue")


def test_a_reader_changes_nothing() -> None:
    reader = _managed("reader")
    assert _allows(reader, "batch:DescribeJobs")
    for action in ("batch:SubmitJob", "batch:TagResource", "iam:ListUsers", "events:PutRule"):
        assert not is_possible([reader], action)
