import pytest

from longshore.domain.errors import InvalidRequest
from longshore.domain.request.reference import has_references, substitute


def test_placeholders_are_replaced_wherever_they_stand() -> None:
    command = ["cp", "Ref::from", "--to=Ref::to/Ref::from", "Ref:x", "Ref::"]
    replaced = substitute(command, {"from": "a", "to": "b"})
    assert replaced == ["cp", "a", "--to=b/a", "Ref:x", "Ref::"]


def test_values_are_not_looked_at_again() -> None:
    assert substitute(["Ref::a"], {"a": "Ref::b"}) == ["Ref::b"]


def test_a_placeholder_without_a_parameter_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest) as caught:
        substitute(["Ref::in-file_1.txt"], {"in": "x"})
    assert caught.value.message == (
        "Unable to substitute value. No parameter found for reference in-file_1"
    )


def test_commands_without_placeholders_are_told_apart() -> None:
    assert has_references(["a", "xRef::b"])
    assert not has_references(["a", "Ref:b"])
