"""What is read as JSON is JSON again when it is written."""

import json
from datetime import UTC, datetime

import pytest

from longshore.domain import strict_json
from longshore.domain.errors import InvalidRequest
from longshore.domain.events.pattern import compile_pattern
from longshore.domain.events.putting import Entry, Refused, entries_of
from longshore.domain.events.transform import transform_of

BEYOND = ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", "9" * 400 + ".5"]


@pytest.mark.parametrize("text", BEYOND)
def test_a_number_that_would_be_written_as_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        strict_json.decode(f'{{"a":[{text}]}}')


def test_all_others_are_as_they_were() -> None:
    text = '{"a":[1,1.5,-0.0,1e308,5e-324,1e-400,null,true,"1e400"]}'
    assert strict_json.decode(text) == json.loads(text)


@pytest.mark.parametrize("text", BEYOND)
def test_nor_do_events_patterns_and_inputs_have_one(text: str) -> None:
    entry = {"Source": "s", "DetailType": "t", "Detail": f'{{"a":{text}}}'}
    good = {**entry, "Detail": '{"a":1e5}'}
    refused, taken = entries_of([entry, good], datetime.now(UTC))
    assert isinstance(refused, Refused)
    assert isinstance(taken, Entry)
    with pytest.raises(InvalidRequest):
        compile_pattern(f'{{"a":[{text}]}}')
    with pytest.raises(InvalidRequest):
        transform_of({"Id": "t", "Input": f"[{text}]"}, "Targets[0]")
