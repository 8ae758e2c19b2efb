import uuid

import pytest

from longshore.domain.arn import Arns, parse_definition, parse_name
from longshore.domain.errors import InvalidRequest

ARNS = Arns("123456789012", "eu-west-1")
BATCH = "arn:aws:batch:eu-west-1:123456789012"


def test_arns_have_aws_form() -> None:
    assert ARNS.job_queue("q") == f"{BATCH}:job-queue/q"
    assert ARNS.compute_environment("c") == f"{BATCH}:compute-environment/c"
    assert ARNS.job_definition("d", 3) == f"{BATCH}:job-definition/d:3"
    assert ARNS.job("x:1") == f"{BATCH}:job/x:1"
    identity = uuid.UUID(int=7)
    assert ARNS.cluster("c", identity).endswith(f":cluster/c_Batch_{identity}")
    instance = ARNS.container_instance("c", identity, "i-1")
    assert instance == ARNS.container_instance("c", identity, "i-1")
    assert len(instance.rpartition("/")[2]) == 32


def test_the_partition_follows_from_the_region() -> None:
    assert Arns("1" * 12, "cn-north-1").job_queue("q").startswith("arn:aws-cn:batch:")
    assert Arns("1" * 12, "us-gov-west-1").job_queue("q").startswith("arn:aws-us-gov:batch:")


@pytest.mark.parametrize("text", ["q", "a" * 128, "0-_", ARNS.job_queue("q")])
def test_a_queue_is_named_by_name_or_arn(text: str) -> None:
    assert parse_name("job-queue", text, member="m") == text.rpartition("/")[2]


@pytest.mark.parametrize(
    "text", ["", "-q", "a" * 129, "a b", "a\n", ARNS.compute_environment("q"), "arn:aws:x", BATCH]
)
def test_anything_else_names_no_queue(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_name("job-queue", text, member="m")
    assert caught.value.member == "m"


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("d", "d", None),
        ("d:12", "d", 12),
        (f"{BATCH}:job-definition/d", "d", None),
        (f"{BATCH}:job-definition/d:1", "d", 1),
    ],
)
def test_definitions_are_named_with_or_without_revision(
    text: str, name: str, revision: int | None
) -> None:
    parsed = parse_definition(text, member="m")
    assert (parsed.name, parsed.revision) == (name, revision)
    assert parsed.is_arn is text.startswith("arn:")


@pytest.mark.parametrize("text", ["", "d:", "d:0", "d:x", "d:1:2", "d:9999999999", ARNS.job("d")])
def test_anything_else_names_no_definition(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_definition(text, member="m")
