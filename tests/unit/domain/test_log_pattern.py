"""CloudWatch's filter patterns: what they match, and what is none."""

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.errors import InvalidRequest, Unimplemented
from longshore.domain.log_pattern import DEPTH_MAX, Matcher, parse_pattern


def compiled(text: str) -> Matcher:
    """For these tests Python's own expressions are quick enough."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(text) from error
    return lambda message: pattern.search(message) is not None


def matches(pattern: str, message: str) -> bool:
    return parse_pattern(pattern, compiled)(message)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("", ["", "anything"], []),
        ("  ", ["anything"], []),
        ("ERROR", ["an ERROR", "xERRORx"], ["error", ""]),
        ("ERROR Exception", ["Exception: ERROR"], ["ERROR", "Exception"]),
        ('"two words"', ["or two words here"], ["two  words", "words two"]),
        ('"a-b"', ["a-b"], ["a b"]),
        (r'"say \"hi\""', ['say "hi"'], ["say hi"]),
        ("ERROR -DEBUG", ["ERROR"], ["ERROR DEBUG", "DEBUG"]),
        ("-DEBUG", ["", "x"], ["DEBUG"]),
        ('-"a b"', ["ab"], ["a b"]),
        ("?ERROR ?WARN", ["ERROR", "WARN", "WARN ERROR"], ["INFO"]),
        ("?ERROR ?WARN -not", ["ERROR"], ["ERROR not", "INFO"]),
        ("?ERROR INFO", ["INFO", "INFO ERROR"], ["ERROR"]),
        ("%[0-9]{3}%", ["a 404"], ["a 40"]),
        ("%^start% %end$%", ["start end"], ["start end."]),
        ("-%a+b%", ["ab" * 0], ["aab"]),
        ("größe", ["größe"], ["grosse"]),
        ("{ $.a = 1 }", ['{"a": 1}', ' {"a":1.0}', '{"a":"1"}'], ['{"a": 2}', "{}", "a = 1", "1"]),
        ("{$.a!=1}", ['{"a": 2}', "{}", '{"a": null}'], ['{"a": 1}', "text"]),
        ('{ $.a = "b c" }', ['{"a": "b c"}'], ['{"a": "b"}']),
        ('{ $.a = "*Denied" }', ['{"a":"AccessDenied"}', '{"a":"Denied"}'], ['{"a":"Denied."}']),
        ("{ $.a = x*y*z }", ['{"a":"x1y2z"}', '{"a":"xyz"}'], ['{"a":"xz"}', '{"a":"zyx"}']),
        ("{ $.a = ab*ba }", ['{"a":"abba"}'], ['{"a":"aba"}']),
        ("{ $.ip = 10.0.* }", ['{"ip":"10.0.7.1"}'], ['{"ip":"10.1.0.0"}']),
        ("{ $.code = 5* }", ['{"code":503}', '{"code":"5"}'], ['{"code":404}']),
        ("{ $.n > 3 }", ['{"n":4}', '{"n":3.5}'], ['{"n":3}', '{"n":"4"}', '{"n":true}', "{}"]),
        ("{ $.n <= -1.5e1 }", ['{"n":-15}'], ['{"n":-14}']),
        ("{ $.a IS TRUE }", ['{"a":true}'], ['{"a":1}', '{"a":"true"}', "{}"]),
        ("{ $.a is null }", ['{"a":null}'], ["{}", '{"a":0}']),
        ("{ $.a NOT EXISTS }", ["{}", "[]"], ['{"a":null}']),
        ("{ $.a.b[1].c = 2 }", ['{"a":{"b":[0,{"c":2}]}}'], ['{"a":{"b":[{"c":2}]}}', "{}"]),
        ("{ $[0] = 2 }", ["[2]"], ["[]", '{"0":2}']),
        ("{ $.a = 1 || $.b = 1 && $.c = 1 }", ['{"a":1}', '{"b":1,"c":1}'], ['{"b":1}']),
        ("{ ($.a = 1 || $.b = 1) && $.c = 1 }", ['{"a":1,"c":1}'], ['{"a":1}']),
        ("{ $.a = %^x[0-9]+$% }", ['{"a":"x12"}'], ['{"a":"x"}', '{"a":null}']),
    ],
)
def test_what_patterns_match(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [message for message in yes if not matches(pattern, message)] == []
    assert [message for message in no if matches(pattern, message)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "a-b",
        "a.b",
        '"open',
        '"a"b',
        "-",
        "?",
        "--a",
        "%%",
        "%a",
        "%(a)%",
        "%[%",
        "%a% %b% %c%",
        "{",
        "{}",
        "{ }",
        "{ $.a }",
        "{ $.a = }",
        "{ a = 1 }",
        "{ $ = 1 }",
        "{ $.a == 1 }",
        "{ $.a > b }",
        '{ $.a > "1" }',
        "{ $.a = 1",
        "{ $.a = 1 && }",
        "{ $.a = 1 $.b = 2 }",
        "{ ($.a = 1 }",
        "{ $.a = 1) }",
        "{ $.a IS MAYBE }",
        "{ $.a[x] = 1 }",
        "{ $.a[9999999] = 1 }",
        "{ " + "(" * (DEPTH_MAX + 1) + "$.a = 1" + ")" * (DEPTH_MAX + 1) + " }",
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match="Invalid filter pattern"):
        parse_pattern(pattern, compiled)


def test_fields_that_spaces_delimit_are_refused_by_name() -> None:
    with pytest.raises(Unimplemented, match="spaces delimit"):
        parse_pattern("[ip, user, code = 5*, ...]", compiled)


def test_patterns_have_a_length() -> None:
    assert matches("x" * 1024, "x" * 1024)
    with pytest.raises(InvalidRequest, match="1025"):
        parse_pattern("x" * 1025, compiled)


@pytest.mark.parametrize("message", ["[" * 100_000, "{" * 10, '{"a": 1' + "0" * 10_000 + "}"])
def test_messages_that_only_look_like_json(message: str) -> None:
    assert not matches("{ $.a = 1 }", message)


@given(st.text(max_size=40))
def test_any_text_is_a_pattern_or_is_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequest, Unimplemented):
        parse_pattern(text, compiled)("message")


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5), st.text(max_size=30))
def test_quoted_terms_are_what_occurs(terms: list[str], message: str) -> None:
    quoted = [term.replace("\\", "\\\\").replace('"', '\\"') for term in terms]
    every = " ".join(f'"{term}"' for term in quoted)
    some = " ".join(f'?"{term}"' for term in quoted)
    none = " ".join(f'-"{term}"' for term in quoted)
    assert matches(every, message) == all(term in message for term in terms)
    assert matches(some, message) == any(term in message for term in terms)
    assert matches(none, message) == (not any(term in message for term in terms))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON, st.integers(-5, 5))
def test_conditions_on_any_json(value: Any, number: int) -> None:
    """Whatever is there, `=` and `!=` are opposites, and so are the orders of numbers."""
    message = json.dumps({"a": value})
    is_equal = matches(f"{{ $.a = {number} }}", message)
    assert matches(f"{{ $.a != {number} }}", message) != is_equal
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number:
        assert is_equal == (value == number)
    assert matches(f"{{ $.a < {number} }}", message) == (is_number and value < number)
    assert matches(f"{{ $.a >= {number} }}", message) == (is_number and value >= number)
    assert not matches("{ $.a NOT EXISTS }", message)
