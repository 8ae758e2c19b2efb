"""Patterns of events: what they match, and what is no pattern."""

import json
from typing import Any

import pytest

from longshore.domain.errors import InvalidRequest
from longshore.domain.events.pattern import compile_pattern


def fits(pattern: Any, event: Any) -> bool:
    return compile_pattern(json.dumps(pattern)).matches(event)


@pytest.mark.parametrize(
    ("tests", "values", "others"),
    [
        (["a", 300, None, True], ["a", 300.0, 3e2, None, True], ["A", "300", 1, False, ""]),
        ([1], [1.0], [True, "1"]),
        ([""], [""], [None]),
        ([{"prefix": "ab"}], ["ab", "abc"], ["Ab", "xab", 1, None]),
        ([{"prefix": {"equals-ignore-case": "ab"}}], ["AB", "abc"], ["a"]),
        ([{"prefix": ""}], ["", "x"], [1]),
        ([{"suffix": "ab"}], ["ab", "xab"], ["abx", "AB"]),
        ([{"suffix": {"equals-ignore-case": "ab"}}], ["xAB"], ["b"]),
        ([{"equals-ignore-case": "ab"}], ["AB"], ["abc", 1]),
        ([{"wildcard": "a*c"}], ["ac", "abc", "a*c"], ["a", "c", "acd", 1]),
        ([{"wildcard": "*a*b"}], ["ab", "xaxb", "aab"], ["ba", "axbx"]),
        ([{"wildcard": "aa*aa"}], ["aaaa", "aaxaa"], ["aaa", "aa"]),
        ([{"wildcard": "a\\*\\\\b"}], ["a*\\b"], ["axb"]),
        ([{"wildcard": "*"}], ["", "x"], [None]),
        ([{"anything-but": "a"}], ["b", 1, None, True], ["a"]),
        ([{"anything-but": [1, 2]}], ["1", 3], [1, 2.0]),
        ([{"anything-but": {"prefix": ["a", "b"]}}], ["c", 1, None], ["ax", "b"]),
        ([{"anything-but": {"suffix": "a"}}], ["ab"], ["ba"]),
        ([{"anything-but": {"equals-ignore-case": ["a"]}}], ["b"], ["A"]),
        ([{"anything-but": {"wildcard": "a*"}}], ["b"], ["ab"]),
        ([{"numeric": [">", 0, "<=", 5]}], [0.5, 5], [0, 5.1, "3", None, True]),
        ([{"numeric": ["=", 3]}], [3, 3.0], [4]),
        ([{"exists": True}], ["", None, 0, [1]], [{"x": 1}, [], [{}]]),
        ([{"cidr": "10.0.0.0/24"}], ["10.0.0.255"], ["10.0.1.0", "x", 1, "::1"]),
        ([{"cidr": "2001:db8::/32"}], ["2001:db8:1::"], ["2001:db9::", "10.0.0.1"]),
        ([{"exists": False}], [{"x": 1}, [], [{}]], ["", None, [1]]),
        (["a"], [["b", "a"], [["a"]]], [["b"], [], {"a": "a"}]),
    ],
)
def test_a_field(tests: Any, values: list[Any], others: list[Any]) -> None:
    for value in values:
        assert fits({"f": tests}, {"f": value}), value
    for value in others:
        assert not fits({"f": tests}, {"f": value}), value


def test_of_a_field_that_is_not_there_only_absence_holds() -> None:
    assert not fits({"f": [{"anything-but": "a"}]}, {})
    assert not fits({"f": [{"exists": True}]}, {})
    assert fits({"f": [{"exists": False}]}, {})
    assert fits({"f": {"g": [{"exists": False}]}}, {})
    assert fits({"f": {"g": [{"exists": False}]}}, {"f": 1})
    assert fits({"f": ["a", {"exists": False}]}, {"f": "a"})
    assert fits({"f": ["a", {"exists": False}]}, {})
    assert not fits({"f": ["a", {"exists": False}]}, {"f": "b"})


def test_names_with_dots_are_nesting_both_ways() -> None:
    for pattern in ({"a.b": [1]}, {"a": {"b": [1]}}):
        for event in ({"a.b": 1}, {"a": {"b": 1}}, {"a.c": 2, "a": {"b": 1}}):
            assert fits(pattern, event), (pattern, event)


def test_what_is_found_in_different_elements_of_a_list_does_not_combine() -> None:
    pattern = {"a": {"b": [1], "c": {"d": [2]}}}
    assert fits(pattern, {"a": [{"b": 1, "c": [{"d": 3}, {"d": 2}]}]})
    assert not fits(pattern, {"a": [{"b": 1}, {"c": {"d": 2}}]})
    assert fits({"a": [1], "a.b": [2]}, {"a": [1, {"b": 2}]})
    assert not fits({"a": {"b": [1]}}, {"a": 1})
    # Absence holds where the others were found, or everywhere.
    assert fits({"a": {"b": [1], "c": [{"exists": False}]}}, {"a": [{"b": 1}, {"c": 1}]})
    assert not fits({"a": {"c": [{"exists": False}]}}, {"a": [{"b": 1}, {"c": 1}]})


def test_or_joins_patterns_and_is_joined_with_its_neighbours() -> None:
    pattern = {"s": ["x"], "$or": [{"a": [1]}, {"b": {"$or": [{"c": [2]}, {"d": [3]}]}}]}
    assert fits(pattern, {"s": "x", "a": 1})
    assert fits(pattern, {"s": "x", "b": {"d": 3}})
    assert not fits(pattern, {"s": "y", "a": 1})
    assert not fits(pattern, {"s": "x", "a": 2})
    assert fits({"$or": ["x", "y"]}, {"$or": "y"})
    assert fits({"$or": [{"prefix": "x"}, {"suffix": "y"}]}, {"$or": "xz"})


def test_what_the_consumers_of_batch_ask_for() -> None:
    event = {
        "source": "aws.ecs",
        "detail-type": "AWS API Call via CloudTrail",
        "detail": {"eventName": "RunTask", "eventSource": "ecs.amazonaws.com"},
    }
    call = {"detail-type": ["AWS API Call via CloudTrail"], "source": ["aws.ecs"]}
    name, source = {"eventName": ["RunTask"]}, {"eventSource": ["ecs.amazonaws.com"]}
    assert fits({**call, "detail": {**name, **source}}, event)
    assert not fits({**call, "detail": name, **source}, event)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("[]", "Filter is not an object"),
        ("{", "it is not valid JSON"),
        ("NaN", "it is not valid JSON"),
        ("{}", "Empty objects are not allowed"),
        ('{"a": {}}', "Empty objects are not allowed"),
        ('{"a": []}', "Empty arrays are not allowed"),
        ('{"a": "b"}', '"a" must be an object or an array'),
        ('{"a": [[1]]}', "Match value must be String, number, true, false, or null"),
        ('{"a": [{}]}', "Match expression name not found"),
        ('{"a": [{"prefix": "a", "suffix": "b"}]}', "Only one key allowed in match expression"),
        ('{"a": [{"regex": "a"}]}', "Unrecognized match type regex"),
        ('{"$or": [{"a": [1]}]}', "Unrecognized match type a"),
        ('{"a": [{"prefix": ["a"]}]}', "prefix match pattern must be a string"),
        ('{"a": [{"suffix": 1}]}', "suffix match pattern must be a string"),
        ('{"a": [{"equals-ignore-case": ["a"]}]}', "equals-ignore-case match pattern must be a"),
        ('{"a": [{"exists": "x"}]}', "exists match pattern must be either true or false."),
        ('{"a": [{"anything-but": {"numeric": 1}}]}', "Unsupported anything-but pattern: numeric"),
        ('{"a": [{"anything-but": {"prefix": ""}}]}', "Null prefix/suffix not allowed"),
        ('{"a": [{"anything-but": null}]}', "Value of anything-but must be an array or single"),
        ('{"a": [{"anything-but": ["a", 1]}]}', "Inside anything but list, either all values are"),
        ('{"a": [{"anything-but": []}]}', "Inside anything but list, either all values are"),
        ('{"a": [{"numeric": 1}]}', "Value of numeric must be an array."),
        ('{"a": [{"numeric": []}]}', "Invalid member in numeric match: ]"),
        ('{"a": [{"numeric": [1]}]}', "Invalid member in numeric match: 1"),
        ('{"a": [{"numeric": ["!=", 1]}]}', "Unrecognized numeric range operator: !="),
        ('{"a": [{"numeric": ["<", "x"]}]}', "Value of < must be numeric"),
        ('{"a": [{"numeric": ["<"]}]}', "Value of < must be numeric"),
        ('{"a": [{"numeric": ["=", 1, 2]}]}', "Too many elements in numeric expression"),
        ('{"a": [{"numeric": [">", 1, "<", 2, 3]}]}', "Too many elements in numeric expression"),
        ('{"a": [{"numeric": [">", 2, "<", 1]}]}', "Bottom must be less than top"),
        ('{"a": [{"cidr": "10.0.0.0"}]}', "Malformed CIDR, one '/' required"),
        ('{"a": [{"wildcard": "a**"}]}', "Consecutive wildcard characters at pos 1"),
        ('{"a": [{"wildcard": "a\\\\x"}]}', "Invalid escape character at pos 1"),
        ('{"a": [{"wildcard": "*:*:*:*:*:event-bus/*"}]}', "Rule is too complex"),
        ('{"a":' * 101 + "[1]" + "}" * 101, "it nests deeper than 100"),
        ('{"a": ' * 600 + "[1]" + "}" * 600, "it nests deeper than 100"),
        (json.dumps({"a" + ".a" * 100: [1]}), "it nests deeper than 100"),
        (
            json.dumps(
                {
                    "a": {f"f{n}": [1] for n in range(20)},
                    "$or": [
                        {"a": {p: {"$or": [{f"x{n}": [1]} for n in range(10)]} for p in "bcd"}},
                        {"a": [1]},
                    ],
                }
            ),
            "Rule is too complex - $or and its neighbours make too many combinations",
        ),
    ],
)
def test_no_pattern(pattern: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        compile_pattern(pattern)
    assert f"Event pattern is not valid. Reason: {reason}" in raised.value.message
    assert raised.value.fields["code"] == "InvalidEventPatternException"


def test_choices_that_do_not_touch_are_not_multiplied_out() -> None:
    """A thousand combinations of hundreds of fields took seconds, at each event."""
    choices = {name: {"$or": [{f"x{n}": [n]} for n in range(10)]} for name in "abcdef"}
    pattern = compile_pattern(json.dumps({**choices, **{f"f{n}": [1] for n in range(200)}}))
    event: dict[str, Any] = {f"f{n}": 1 for n in range(200)} | {name: {"x9": 9} for name in "abcde"}
    assert pattern.matches({**event, "f": {"x3": 3}})
    assert not pattern.matches({**event, "f": {"x3": 4}})


def test_neither_long_values_nor_many_wildcards_take_long() -> None:
    """Each would take minutes by backtracking, or by reading a megabyte as an address."""
    long = "a" * 1_000_000
    wildcards = {"f": [{"wildcard": "*".join("abcdefghij" * 4) + "*x"}]}
    assert not fits(wildcards, {"f": long})
    assert not fits({"f": [{"cidr": "10.0.0.0/8"}] * 50}, {"f": "." * 1_000_000})
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    assert fits({"f": [1]}, {"f": deep})
    assert not fits({"f": {"g": [1]}}, {"f": deep})
