"""docs/compatibility.md, which is made from the protos and AWS's service model."""

import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, StructureShape
from support.contract import ROOT, load_script, structures

_GENERATED = "longshore/v1"


@pytest.fixture(scope="session")
def compatibility() -> ModuleType:
    """`scripts/compatibility` as a module."""
    return load_script("compatibility")


@pytest.fixture(scope="session")
def whole() -> ServiceModel:
    """AWS's own model, nothing left out."""
    return ServiceModel(Loader().load_service_model("batch", "service-2"), "batch")


def test_the_page_is_current(compatibility: ModuleType) -> None:
    current = (ROOT / "docs" / "compatibility.md").read_text()
    assert compatibility.page() == current, "run make compatibility"


def test_every_operation_is_there_once(compatibility: ModuleType, whole: ServiceModel) -> None:
    section = compatibility.page().split("## Operations")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \| (?:full|in part|refused) \|", section, re.MULTILINE)
    assert sorted(named) == sorted(whole.operation_names)


def test_every_member_is_there_once(compatibility: ModuleType, whole: ServiceModel) -> None:
    section = compatibility.page().split("## Every member")[1]
    named = Counter(
        f"{shape}.{member}"
        for shape, members in re.findall(r"^(?:\| |- )(\w+)(?: \||:) (.*)$", section, re.MULTILINE)
        for member in re.findall(r"`(\w+)`", members)
    )
    reached = {
        f"{shape.name}.{member}"
        for name in whole.operation_names
        for top in (
            whole.operation_model(name).input_shape,
            whole.operation_model(name).output_shape,
        )
        if top is not None
        for shape in structures(top)
        for member in shape.members
    }
    assert reached <= set(named)
    assert not [member for member, times in named.items() if times > 1]


def test_what_is_done_is_held_against_the_model_by_types_and_values(
    compatibility: ModuleType, whole: ServiceModel, aws_structures: dict[str, StructureShape]
) -> None:
    """`test_aws_shapes` compares names, types and values of all members of `aws_structures`."""
    for name, members in compatibility.walk(whole).members.items():
        for member in members:
            if member.status in (compatibility.FULL, compatibility.PARTIAL):
                assert member.name in aws_structures[name].members, f"{name}.{member.name}"


def test_what_is_claimed_in_full_is_known_to_the_code(
    compatibility: ModuleType, whole: ServiceModel
) -> None:
    """A member that no line of ours names has no effect, and is never filled."""
    services = ROOT / "services"
    files: list[Path] = [*services.rglob("*.py"), *services.rglob("*.sql")]
    code = "\n".join(path.read_text() for path in files if _GENERATED not in path.as_posix())
    known = set(re.findall(r"\w+", code))
    unknown = [
        f"{name}.{member.name}: give it its effect, or the option `unsupported` or `partial`"
        for name, members in compatibility.walk(whole).members.items()
        for member in members
        if member.status == compatibility.FULL and not {member.name, _snake(member.name)} & known
    ]
    assert not unknown


def _snake(member: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in member)


def test_a_member_that_the_protos_lack_is_an_error(
    compatibility: ModuleType, whole: ServiceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = whole.shape_for("SubmitJobRequest")
    monkeypatch.setattr(shape, "members", {**shape.members, "newMember": shape})
    message = compatibility.SERVICE.methods_by_name["SubmitJob"].input_type
    with pytest.raises(SystemExit, match="SubmitJobRequest has no newMember, which AWS has"):
        compatibility.members_of(shape, message, in_requests=True)
