"""Containers for Fargate: its sizes, what it lacks, what it has alone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.arn import DefinitionName
from longshore.domain.catalogue import FARGATE_SIZES
from longshore.domain.errors import InvalidRequest, LongshoreError
from longshore.domain.request.container import check_container, needs_of
from longshore.domain.request.definition import new_definition
from longshore.domain.request.fargate import check_fargate_size
from longshore.domain.request.merge import Overrides
from longshore.domain.request.submission import Definition, Submission, resolve
from longshore.domain.resources import Resources

CONTAINER: dict[str, Any] = {
    "image": "busybox",
    "resourceRequirements": [
        {"type": "VCPU", "value": "0.25"},
        {"type": "MEMORY", "value": "512"},
    ],
    "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
}


def refused(
    members: dict[str, Any], text: str, kind: type[LongshoreError] = InvalidRequest
) -> None:
    with pytest.raises(kind) as caught:
        check_container(CONTAINER | members, platform="FARGATE")
    assert text in caught.value.message


def sized(vcpus: str, memory_mib: int) -> list[dict[str, str]]:
    return [
        {"type": "VCPU", "value": vcpus},
        {"type": "MEMORY", "value": str(memory_mib)},
    ]


def test_every_size_that_fargate_has_passes() -> None:
    for vcpu_milli, sizes in FARGATE_SIZES.items():
        for memory_mib in sizes:
            container = CONTAINER | {
                "resourceRequirements": sized(f"{vcpu_milli / 1000:g}", memory_mib)
            }
            check_container(container, platform="FARGATE")
            assert needs_of(container) == Resources(vcpu_milli, memory_mib)


@given(st.sampled_from(sorted(FARGATE_SIZES)), st.integers(4, 300_000))
def test_no_other_size_passes(vcpu_milli: int, memory_mib: int) -> None:
    needs = Resources(vcpu_milli, memory_mib)
    if memory_mib in FARGATE_SIZES[vcpu_milli]:
        check_fargate_size(needs, "x")
    else:
        with pytest.raises(InvalidRequest, match="Fargate resource requirements"):
            check_fargate_size(needs, "x")


def test_wrong_sizes_are_named_in_awss_words() -> None:
    refused(
        {"resourceRequirements": sized("1", 4000)},
        "Fargate resource requirements (1.00 vCPU, 4000 MiB) not valid.",
    )
    refused({"resourceRequirements": sized("3", 8192)}, "(3.00 vCPU, 8192 MiB) not valid.")
    for text, shown in (("0.75", "0.75"), ("0.3", "0.30"), (".1", "0.10")):
        refused(
            {"resourceRequirements": sized(text, 2048)},
            f"Fargate resource requirements ({shown} vCPU, 2048 MiB) not valid.",
        )
    refused({"resourceRequirements": sized("0.2501", 512)}, "must be a whole number")
    refused(
        {"resourceRequirements": [*sized("0.25", 512), {"type": "GPU", "value": "1"}]},
        "GPU is not applicable for Fargate.",
    )
    refused({"vcpus": 1}, "vcpus is not applicable for Fargate. Use resource requirements instead.")
    refused({"memory": 512}, "memory is not applicable for Fargate.")
    refused({"resourceRequirements": []}, "vCPU is not provided.")


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"privileged": True}, "privileged"),
        ({"volumes": [{"name": "v", "host": {"sourcePath": "/data"}}]}, "host"),
        ({"ulimits": [{"name": "core", "softLimit": 1, "hardLimit": 1}]}, "core"),
        ({"linuxParameters": {"sharedMemorySize": 64}}, "sharedMemorySize"),
        ({"linuxParameters": {"devices": [{"hostPath": "/dev/x"}]}}, "devices"),
        ({"linuxParameters": {"maxSwap": 0}}, "maxSwap"),
        ({"logConfiguration": {"logDriver": "json-file"}}, "json-file"),
    ],
)
def test_what_slots_do_not_have_is_refused(members: dict[str, Any], name: str) -> None:
    refused(members, f"{name} is not applicable for Fargate.")


def test_what_fargate_has_is_checked_for_form() -> None:
    fine = {
        "networkConfiguration": {"assignPublicIp": "ENABLED"},
        "fargatePlatformConfiguration": {"platformVersion": "1.4.0"},
        "ephemeralStorage": {"sizeInGiB": 200},
        "runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"},
        "linuxParameters": {"initProcessEnabled": True},
        "ulimits": [{"name": "nofile", "softLimit": 1, "hardLimit": 2}],
        "volumes": [{"name": "scratch"}],
        "logConfiguration": {"logDriver": "awslogs"},
        "privileged": False,
    }
    check_container(CONTAINER | fine, platform="FARGATE")
    refused({"executionRoleArn": ""}, "executionRoleArn is required for Fargate.")
    refused({"networkConfiguration": {"assignPublicIp": "YES"}}, "assignPublicIp must be")
    refused({"fargatePlatformConfiguration": {"platformVersion": "new"}}, "platformVersion must")
    for size in (20, 201):
        refused({"ephemeralStorage": {"sizeInGiB": size}}, "must be from 21 to 200")


def test_volumes_of_the_network_need_a_platform_version_that_has_them() -> None:
    volumes = [{"name": "v", "efsVolumeConfiguration": {"fileSystemId": "fs-1234abcd"}}]
    for version in ("LATEST", "1.4.0", "1.10.0"):
        fine = {"volumes": volumes, "fargatePlatformConfiguration": {"platformVersion": version}}
        check_container(CONTAINER | fine, platform="FARGATE")
    refused(
        {"volumes": volumes, "fargatePlatformConfiguration": {"platformVersion": "1.3.0"}},
        "EFS is supported for Fargate platform version 1.4.0",
    )


def test_a_definition_says_which_platform_version_holds() -> None:
    request = {
        "jobDefinitionName": "d",
        "type": "container",
        "platformCapabilities": ["FARGATE"],
        "containerProperties": CONTAINER,
    }
    stored = new_definition(request)["containerProperties"]
    assert stored["fargatePlatformConfiguration"] == {"platformVersion": "LATEST"}
    given = CONTAINER | {"fargatePlatformConfiguration": {"platformVersion": "1.4.0"}}
    stored = new_definition(request | {"containerProperties": given})["containerProperties"]
    assert stored["fargatePlatformConfiguration"] == {"platformVersion": "1.4.0"}


def test_overrides_make_another_size() -> None:
    definition = Definition(
        "d", 1, {"platformCapabilities": ["FARGATE"], "containerProperties": CONTAINER}
    )

    def submitted(**overrides: Any) -> Submission:
        return Submission(
            job_name="j",
            job_queue="q",
            definition=DefinitionName("d", 1, "d:1"),
            overrides=Overrides(**overrides),
        )

    larger = resolve(definition, submitted(resource_requirements=tuple(sized("0.5", 1024))))
    assert larger.needs == Resources(500, 1024)
    for overrides, text in (
        ({"resource_requirements": tuple(sized("0.5", 512))}, "Fargate resource requirements"),
        ({"vcpus": 1}, "vcpus is not applicable for Fargate."),
        ({"memory": 512}, "memory is not applicable for Fargate."),
    ):
        with pytest.raises(InvalidRequest, match=text):
            resolve(definition, submitted(**overrides))
