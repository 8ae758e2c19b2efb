from typing import Any

import pytest

from longshore.domain.checks import check_retry, check_size, check_tags, check_timeout
from longshore.domain.errors import InvalidRequest, LimitExceeded, LongshoreError, Unimplemented
from longshore.domain.limits import AWS, LONGSHORE, Limits
from longshore.domain.request.container import check_container, needs_of
from longshore.domain.request.definition import new_definition

CONTAINER = {
    "image": "busybox",
    "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "4"}],
}


def refused(
    members: dict[str, Any], text: str, kind: type[LongshoreError] = InvalidRequest
) -> None:
    with pytest.raises(kind) as caught:
        check_container(CONTAINER | members)
    assert text in caught.value.message


def test_tags_at_their_limits() -> None:
    check_tags({f"{n}".ljust(128, "k"): "v" * 256 for n in range(50)})
    check_tags({"Cost Centre_.:/=+-@": "Zürich 東京 \u0663", "k": ""})
    for tags in (
        {f"k{n}": "" for n in range(51)},
        {"": "v"},
        {"k" * 129: "v"},
        {"k": "v" * 257},
        {"AWS:k": "v"},
        {"k": "aws:v"},
        {"k": "a\nb"},
        {"k": "100%"},
        {"k!": "v"},
        {"k": "\U0001f600"},
    ):
        with pytest.raises(InvalidRequest):
            check_tags(tags)


def test_retries_at_their_limits() -> None:
    rule = {"action": "RETRY", "onReason": "x" * 512, "onExitCode": "1*", "onStatusReason": "H E*"}
    check_retry({"attempts": 1})
    check_retry({"attempts": 10, "evaluateOnExit": [rule] * 5})
    for retry in (
        {"attempts": 0},
        {"attempts": 11},
        {"attempts": 1, "evaluateOnExit": [rule] * 6},
        {"attempts": 1, "evaluateOnExit": [rule | {"onReason": "x" * 513}]},
        {"attempts": 1, "evaluateOnExit": [rule | {"onReason": ""}]},
        {"attempts": 1, "evaluateOnExit": [rule | {"onReason": "a*b"}]},
        {"attempts": 1, "evaluateOnExit": [rule | {"onStatusReason": "Host (i)"}]},
        {"attempts": 1, "evaluateOnExit": [rule | {"onExitCode": "x"}]},
    ):
        with pytest.raises(InvalidRequest):
            check_retry(retry)
    with pytest.raises(InvalidRequest) as caught:
        check_retry({"evaluateOnExit": [rule]})
    assert caught.value.message == "RetryAttempts must be provided with retry strategy"


@pytest.mark.parametrize("limits", [LONGSHORE, AWS])
def test_timeouts_have_a_least(limits: Limits) -> None:
    least = limits.timeout_min_seconds
    check_timeout({"attemptDurationSeconds": least}, limits)
    for timeout in ({"attemptDurationSeconds": least - 1}, {}):
        with pytest.raises(InvalidRequest, match=f"must be at least {least}"):
            check_timeout(timeout, limits)


@pytest.mark.parametrize(
    ("operation", "limits", "most"),
    [
        ("SubmitJob", LONGSHORE, 256 * 1024),
        ("SubmitJob", AWS, 30 * 1024),
        ("RegisterJobDefinition", AWS, 24 * 1024),
        ("CreateJobQueue", LONGSHORE, 30 * 1024),
    ],
)
def test_sizes_at_their_limits(operation: str, limits: Limits, most: int) -> None:
    check_size(most, operation, limits)
    with pytest.raises(LimitExceeded, match=f"at most {most} are allowed"):
        check_size(most + 1, operation, limits)


def test_the_smallest_container_passes_and_needs_its_resources() -> None:
    check_container(CONTAINER)
    needs = needs_of(CONTAINER)
    assert (needs.vcpu_milli, needs.memory_mib, needs.gpus) == (1000, 4, 0)


def test_requirements_win_over_the_deprecated_pair() -> None:
    mixed = {
        "vcpus": 4,
        "memory": 8,
        "resourceRequirements": [{"type": "VCPU", "value": "2"}, {"type": "GPU", "value": "1"}],
    }
    needs = needs_of(mixed)
    assert (needs.vcpu_milli, needs.memory_mib, needs.gpus) == (2000, 8, 1)


def test_parts_of_a_vcpu_are_eighths_or_with_the_limits_of_aws_none() -> None:
    for value, milli in (("0.125", 125), (".5", 500), ("2.375", 2375), ("1.0", 1000)):
        some = CONTAINER | {
            "resourceRequirements": [
                {"type": "VCPU", "value": value},
                {"type": "MEMORY", "value": "4"},
            ]
        }
        check_container(some)
        assert needs_of(some).vcpu_milli == milli
        with pytest.raises(InvalidRequest, match=r"must be a whole number from 1 to 2147483647\."):
            check_container(some, limits=AWS)
    refused(
        {"resourceRequirements": [{"type": "VCPU", "value": "1" * 17}]},
        "a whole number from 1 to 2147483647, or below 10000 a multiple of 0.125",
    )


def test_resources_must_be_there_and_whole() -> None:
    refused({"resourceRequirements": []}, "vCPU is not provided.")
    refused({"resourceRequirements": [], "vcpus": 1}, "Memory is not provided.")
    refused({"resourceRequirements": [], "vcpus": 0, "memory": 4}, "at least 1")
    refused({"resourceRequirements": [], "vcpus": 1, "memory": 3}, "at least 4")
    for kind, value in (
        ("VCPU", "0"),
        ("VCPU", "0.1"),
        ("VCPU", "0.0"),
        ("VCPU", "1.01"),
        ("VCPU", "."),
        ("VCPU", "-1"),
        ("VCPU", "1" * 17),
        ("VCPU", "1" * 11),
        ("VCPU", "\N{ARABIC-INDIC DIGIT ONE}"),
        ("MEMORY", "3"),
        ("GPU", "0"),
        ("GPU", ""),
    ):
        refused(
            {"resourceRequirements": [{"type": kind, "value": value}]}, "must be a whole number"
        )
    twice = [{"type": "VCPU", "value": "1"}] * 2
    refused({"resourceRequirements": twice}, "more than one entry of type VCPU")


def test_images_and_users_have_a_form() -> None:
    for image in ("a" * 255, "r.io:5000/a/b-c_d:1.0", "a@sha256:0f", "x#y"):
        check_container(CONTAINER | {"image": image})
    for image in ("a" * 256, "a b", "a;b"):
        refused({"image": image}, "containerProperties.image must have")
    refused({"image": ""}, "containerProperties.image is required")
    for user in ("root", "1000", "app:app", "1000:0", ""):
        check_container(CONTAINER | {"user": user})
    refused({"user": "a b"}, "User 'a b' does not match regex")


def test_mount_points_need_their_volumes() -> None:
    volume = {"name": "v", "host": {"sourcePath": "/x"}}
    mount = {"sourceVolume": "v", "containerPath": "/y"}
    check_container(CONTAINER | {"volumes": [volume], "mountPoints": [mount]})
    refused({"mountPoints": [mount]}, "which is not the name of a volume")
    refused({"volumes": [volume, volume]}, "names 'v' twice")
    refused({"volumes": [{"name": "a b"}]}, "volumes[0].name")
    refused({"volumes": [volume | {"host": {"sourcePath": "x"}}]}, "must be an absolute path")
    both = {"volumes": [volume], "mountPoints": [mount, mount]}
    refused(both, "where something is mounted")
    relative = {"volumes": [volume], "mountPoints": [mount | {"containerPath": "y"}]}
    refused(relative, "containerPath must be an absolute path")


def test_limits_of_linux_members() -> None:
    good = {"name": "nofile", "softLimit": 1, "hardLimit": 1}
    check_container(CONTAINER | {"ulimits": [good]})
    refused({"ulimits": [good | {"softLimit": 2}]}, "softLimit at most hardLimit")
    refused({"ulimits": [good | {"name": "odd"}]}, "is no ulimit")
    refused({"ulimits": [good, good]}, "nofile twice")
    for linux, text in (
        ({"maxSwap": -1}, "maxSwap"),
        ({"swappiness": 101}, "swappiness"),
        ({"sharedMemorySize": 0}, "sharedMemorySize"),
        ({"devices": [{"hostPath": "x"}]}, "hostPath must be an absolute path without a colon"),
        ({"tmpfs": [{"containerPath": "t", "size": 1}]}, "must be an absolute path"),
        ({"tmpfs": [{"containerPath": "/t:x", "size": 1}]}, "path without a colon"),
        ({"tmpfs": [{"containerPath": "/t", "size": 0}]}, "at least 1 MiB"),
        (
            {"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["odd"]}]},
            "unknown option",
        ),
    ):
        refused({"linuxParameters": linux}, text)
    fine = {"tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["ro", "mode=700"]}]}
    check_container(CONTAINER | {"linuxParameters": fine})


@pytest.mark.parametrize("option", ["mode=700,size=9g", "ro,exec", "ro=1", "size=9g"])
def test_a_mount_option_brings_no_other_one_with_it(option: str) -> None:
    tmpfs = {"containerPath": "/t", "size": 5, "mountOptions": [option]}
    refused({"linuxParameters": {"tmpfs": [tmpfs]}}, "mountOptions has")


@pytest.mark.parametrize("place", ["/a", "/a/", "//a", "/b/../a"])
def test_each_place_has_one_thing_mounted(place: str) -> None:
    """The engine refuses some of these when the job starts, and lets the last one win in others."""
    volumes = {"volumes": [{"name": "v"}, {"name": "w"}]}
    first = {"sourceVolume": "v", "containerPath": "/a"}
    tmpfs = {"containerPath": place, "size": 1}
    second = {"sourceVolume": "w", "containerPath": place}
    refused(volumes | {"mountPoints": [first, second]}, "where something is mounted")
    mounted = volumes | {"mountPoints": [first]}
    refused(mounted | {"linuxParameters": {"tmpfs": [tmpfs]}}, "where something is mounted")
    refused({"linuxParameters": {"tmpfs": [tmpfs, tmpfs]}}, "where something is mounted")


def test_nothing_is_mounted_on_the_root() -> None:
    volumes = {"volumes": [{"name": "v"}]}
    mount = {"sourceVolume": "v", "containerPath": "/a/.."}
    refused(volumes | {"mountPoints": [mount]}, "must not be the container's root")


def test_what_is_for_fargate_or_nodes_is_refused() -> None:
    refused({"networkConfiguration": {}}, "networkConfiguration not applicable for EC2.")
    refused({"ephemeralStorage": {"sizeInGiB": 21}}, "ephemeralStorage not applicable for EC2.")
    refused({"instanceType": "m6i"}, "multi-node jobs alone")
    refused({"jobRoleArn": "me"}, "jobRoleArn is not the ARN of a role")


def efs(**members: Any) -> dict[str, Any]:
    """A container with a volume on a file system of the network."""
    volume = {"fileSystemId": "fs-1234abcd"} | members
    return {"volumes": [{"name": "shared", "efsVolumeConfiguration": volume}]}


def test_volumes_of_the_network_are_checked_for_form() -> None:
    check_container(CONTAINER | efs(rootDirectory="/a", transitEncryption="DISABLED"))
    refused(efs(fileSystemId="fs-1,addr=evil"), "fileSystemId is 'fs-1,addr=evil'")
    refused(efs(rootDirectory="a"), "rootDirectory must be an absolute path")
    refused(efs(rootDirectory="/" + "x" * 4096), "rootDirectory must be an absolute path")
    both = efs()
    both["volumes"][0]["host"] = {}
    refused(both, "has both host and efsVolumeConfiguration")


def a_log(driver: str, secret: str = "", **options: str) -> dict[str, Any]:
    """A container whose output goes to a log driver."""
    named = {name.replace("_", "-"): value for name, value in options.items()}
    log: dict[str, Any] = {"logDriver": driver, "options": named}
    if secret:
        log["secretOptions"] = [{"name": secret, "valueFrom": "longshore:secret:a"}]
    return {"logConfiguration": log}


def test_log_drivers_know_their_options() -> None:
    for fine in (
        a_log("json-file", max_size="1m", tag="x"),
        a_log("syslog", syslog_address="udp://h:514", mode="non-blocking"),
        a_log("journald", labels="a"),
        a_log("gelf", gelf_address="udp://h:12201"),
        a_log("fluentd", fluentd_address="h:24224", cache_max_size="1m"),
        a_log("splunk", "splunk-token", splunk_url="https://h:8088"),
        a_log("awslogs", awslogs_group="g", awslogs_region="r"),
    ):
        check_container(CONTAINER | fine)
    refused(a_log("json-file", gelf_address="x"), "json-file has no option 'gelf-address'; it has")
    refused(a_log("journald", "splunk-token"), "journald has no option 'splunk-token'")
    refused(a_log("gelf"), "options.gelf-address is required by the log driver gelf")
    refused(a_log("splunk", splunk_url="h"), "options.splunk-token is required")


def test_the_prefix_of_a_logs_name_is_one_that_a_log_may_have() -> None:
    def logging(prefix: str) -> dict[str, Any]:
        options = {"awslogs-stream-prefix": prefix}
        return {"logConfiguration": {"logDriver": "awslogs", "options": options}}

    for prefix in ("", "a:b", "a*", "a\n", "\x1b[31m", "x" * 472):
        refused(logging(prefix), "options.awslogs-stream-prefix must have 1 to 471 characters")
    check_container(CONTAINER | logging("team/" + "x" * 466))


def test_the_group_of_a_log_is_one_that_there_may_be() -> None:
    def logging(group: str) -> dict[str, Any]:
        return {"logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": group}}}

    for group in ("", "a b", "a:b", "aws/batch", "é", "x" * 513):
        refused(logging(group), "options.awslogs-group must have 1 to 512 letters")
    check_container(CONTAINER | logging("/team/Jobs_1.#-"))


def test_secrets_need_names_of_their_own_and_a_place() -> None:
    secret = {"name": "n", "valueFrom": "v"}
    driver = {"logDriver": "splunk", "options": {"splunk-url": "https://s"}}
    check_container(
        CONTAINER
        | {
            "secrets": [secret, {"name": "m", "valueFrom": "longshore:secret:a/b:key"}],
            "logConfiguration": driver | {"secretOptions": [secret | {"name": "splunk-token"}]},
            "repositoryCredentials": {"credentialsParameter": "registry"},
        }
    )
    for members, text in (
        ({"secrets": [secret, secret]}, "must be unique"),
        ({"secrets": [secret], "environment": [{"name": "n", "value": ""}]}, "must be unique"),
        ({"secrets": [{"name": "a=b", "valueFrom": "v"}]}, "secrets[0] needs a name"),
        ({"secrets": [{"name": "n", "valueFrom": "no such thing"}]}, "secrets[0].valueFrom is"),
        ({"secrets": [{"name": "n", "valueFrom": ""}]}, "secrets[0].valueFrom is"),
        (
            {
                "logConfiguration": driver
                | {"secretOptions": [{"name": "splunk-url", "valueFrom": "v"}]}
            },
            "must be unique",
        ),
        (
            {"repositoryCredentials": {"credentialsParameter": "a b"}},
            "repositoryCredentials.credentialsParameter is 'a b'",
        ),
    ):
        refused(members, text)


def test_variables_need_names() -> None:
    for variable in ({"value": "x"}, {"name": "a=b"}, {"name": "a", "value": "\0"}):
        refused({"environment": [variable]}, "needs a name")


def test_a_definition_is_for_one_platform() -> None:
    request = {"jobDefinitionName": "d", "type": "container", "containerProperties": CONTAINER}
    assert new_definition(request)["containerProperties"] == CONTAINER
    with pytest.raises(Unimplemented, match="platformCapabilities"):
        new_definition(request | {"platformCapabilities": ["EC2", "FARGATE"]})
