"""What a job definition says of its container, seen from within: one job for each feature.

All jobs are submitted at once, then each test looks at its own.
"""

from pathlib import Path
from typing import Any

import pytest
from acceptance.aws import Aws, Json
from acceptance.stand import RUNTIME

MIB = 1024 * 1024
needs_containers = pytest.mark.skipif(RUNTIME != "docker", reason="processes have no image")

_CGROUP = """
if [ -e /sys/fs/cgroup/memory.max ]; then cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.weight
else cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.shares; fi
"""
_ANONYMOUS = [{"name": "scratch"}]
_SHARED = {
    "volumes": [{"name": "shared"}],
    "mountPoints": [
        {"sourceVolume": "shared", "containerPath": "/one"},
        {"sourceVolume": "shared", "containerPath": "/two", "readOnly": True},
    ],
}
#: What only a container can have: script and members of the container.
CONTAINER_ONLY: dict[str, tuple[str, Json]] = {
    "image-command": ("", {}),
    "memory-and-cpu": (_CGROUP, {"needs": (2, 48)}),
    "deprecated-pair": (_CGROUP, {"vcpus": 1, "memory": 32, "resourceRequirements": []}),
    "out-of-memory": ("tail /dev/zero", {"needs": (1, 16)}),
    "ulimits": (
        "ulimit -Sn; ulimit -Hn",
        {"ulimits": [{"name": "nofile", "softLimit": 123, "hardLimit": 456}]},
    ),
    "tmpfs": (
        "grep ' /scratch ' /proc/mounts; echo x > /scratch/x && cat /scratch/x",
        {
            "linuxParameters": {
                "tmpfs": [{"containerPath": "/scratch", "size": 5, "mountOptions": ["noatime"]}]
            }
        },
    ),
    "shared-memory": (
        "grep ' /dev/shm ' /proc/mounts",
        {"linuxParameters": {"sharedMemorySize": 7}},
    ),
    "read-only-root": ("touch /file", {"readonlyRootFilesystem": True}),
    "user": ("id -u; id -g", {"user": "nobody:1234"}),
    "init": ("cat /proc/1/comm; true", {"linuxParameters": {"initProcessEnabled": True}}),
    "no-init": ("cat /proc/1/comm; true", {}),
    "devices": (
        "head -c 3 /dev/nought | od -An -tx1",
        {
            "linuxParameters": {
                "devices": [
                    {
                        "hostPath": "/dev/zero",
                        "containerPath": "/dev/nought",
                        "permissions": ["READ"],
                    }
                ]
            }
        },
    ),
    "anonymous-volume": (
        "grep -c ' /scratch ' /proc/mounts; touch /scratch/x && ls /scratch",
        {
            "volumes": _ANONYMOUS,
            "mountPoints": [{"sourceVolume": "scratch", "containerPath": "/scratch"}],
        },
    ),
    "volume-twice": ("echo both > /one/x; cat /two/x; touch /two/y", _SHARED),
    "no-such-image": ("true", {"image": "longshore.invalid/nothing:1"}),
}
_EVERYWHERE = {
    "command": ("echo 'a  b'; echo $0", {}),
    "environment": (
        "env",
        {
            "environment": [
                {"name": "FROM_DEFINITION", "value": "definition"},
                {"name": "BOTH", "value": "definition"},
                {"name": "EMPTY", "value": ""},
                {"name": "TEXT", "value": "a=b 'c' $d"},
            ]
        },
    ),
    "success": ("exit 0", {}),
    "exit-code": ("exit 42", {}),
}


@pytest.fixture(scope="module")
def ids(aws: Aws, host_directory: Path) -> dict[str, str]:
    """Ids of the jobs by feature."""
    wanted = _EVERYWHERE | (CONTAINER_ONLY if RUNTIME == "docker" else {})
    wanted["host-volume"] = (
        f"cat {host_directory}/in; echo back > {host_directory}/out",
        _host_volume(host_directory, str(host_directory)),
    )
    if RUNTIME == "docker":
        made = host_directory / "made" / "by-engine"
        wanted["read-only-volume"] = (
            "ls /data; touch /data/x",
            _host_volume(host_directory, "/data", readOnly=True),
        )
        wanted["missing-host-path"] = ("touch /data/x", _host_volume(made, "/data"))
    submitted = {}
    for name, (script, members) in wanted.items():
        submitted[name] = _submit(aws, f"feature-{name}", script, members)
    return submitted


@pytest.fixture(scope="module")
def host_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this machine with a file in it."""
    directory = tmp_path_factory.mktemp("host")
    (directory / "in").write_text("from outside\n")
    return directory


def _host_volume(directory: Path, container_path: str, **mount: Any) -> Json:
    return {
        "volumes": [{"name": "data", "host": {"sourcePath": str(directory)}}],
        "mountPoints": [{"sourceVolume": "data", "containerPath": container_path, **mount}],
    }


def _submit(aws: Aws, name: str, script: str, members: Json) -> str:
    if name != "feature-environment":
        return aws.run(name, script, **members)
    overrides = [
        {"name": "BOTH", "value": "submission"},
        {"name": "FROM_SUBMISSION", "value": "submission"},
        {"name": "AWS_BATCH_JOB_ID", "value": "forged"},
    ]
    definition = aws.register(name, "sh", "-c", script, **members)
    return aws.submit(name, definition, containerOverrides={"environment": overrides})


def _succeeded(aws: Aws, job_id: str) -> str:
    """Output of a job that must succeed."""
    job = aws.end(job_id)
    assert job["status"] == "SUCCEEDED", job
    return aws.output(job_id)


def test_command_runs_as_given(aws: Aws, ids: dict[str, str]) -> None:
    assert _succeeded(aws, ids["command"]) == "a  b\nsh\n"


@needs_containers
def test_without_a_command_the_image_command_runs(aws: Aws, ids: dict[str, str]) -> None:
    """Busybox's is a shell, which ends at once as it has nothing to read."""
    assert _succeeded(aws, ids["image-command"]) == ""
    assert aws.job(ids["image-command"])["container"]["command"] == []


def test_environment_is_merged_by_name(aws: Aws, ids: dict[str, str]) -> None:
    """Submission over definition over image; variables of longshore's own over all."""
    variables = dict(
        line.split("=", 1) for line in _succeeded(aws, ids["environment"]).splitlines()
    )
    expected = {
        "FROM_DEFINITION": "definition",
        "BOTH": "submission",
        "FROM_SUBMISSION": "submission",
        "TEXT": "a=b 'c' $d",
        "AWS_BATCH_JOB_ID": ids["environment"],
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_JQ_NAME": "default",
        "AWS_BATCH_CE_NAME": "default",
    }
    assert variables.items() >= expected.items()
    assert "EMPTY" not in variables, "a variable without a value is dropped at registration"
    assert "AWS_BATCH_JOB_ARRAY_INDEX" not in variables
    described = aws.job(ids["environment"])["container"]["environment"]
    assert {"name": "BOTH", "value": "submission"} in described


@needs_containers
def test_memory_is_a_hard_limit_and_vcpus_are_shares(aws: Aws, ids: dict[str, str]) -> None:
    memory, shares = map(int, _succeeded(aws, ids["memory-and-cpu"]).split())
    assert memory == 48 * MIB
    # The second version of control groups has weights: 1 to 10000 for 2 to 262144 shares.
    weight = 1 + (2048 - 2) * 9999 // 262142
    assert shares in (2048, weight)


@needs_containers
def test_deprecated_pair_is_honoured(aws: Aws, ids: dict[str, str]) -> None:
    memory, _ = map(int, _succeeded(aws, ids["deprecated-pair"]).split())
    assert memory == 32 * MIB


@needs_containers
def test_out_of_memory_has_a_reason(aws: Aws, ids: dict[str, str]) -> None:
    job = aws.end(ids["out-of-memory"])
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Essential container in task exited"
    container = job["container"]
    assert container["exitCode"] == 137
    assert container["reason"] == "OutOfMemoryError: Container killed due to memory usage"


@needs_containers
def test_ulimits(aws: Aws, ids: dict[str, str]) -> None:
    assert _succeeded(aws, ids["ulimits"]) == "123\n456\n"


@needs_containers
def test_tmpfs(aws: Aws, ids: dict[str, str]) -> None:
    mount, content = _succeeded(aws, ids["tmpfs"]).splitlines()
    assert mount.startswith("tmpfs /scratch tmpfs")
    assert "size=5120k" in mount
    assert "noatime" in mount
    assert content == "x"


@needs_containers
def test_shared_memory(aws: Aws, ids: dict[str, str]) -> None:
    assert "size=7168k" in _succeeded(aws, ids["shared-memory"])


@needs_containers
def test_read_only_root(aws: Aws, ids: dict[str, str]) -> None:
    job = aws.end(ids["read-only-root"])
    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 1)
    assert "Read-only file system" in aws.output(ids["read-only-root"])


@needs_containers
def test_user(aws: Aws, ids: dict[str, str]) -> None:
    assert _succeeded(aws, ids["user"]) == "65534\n1234\n"


@needs_containers
def test_init_process(aws: Aws, ids: dict[str, str]) -> None:
    assert "init" in _succeeded(aws, ids["init"])
    assert _succeeded(aws, ids["no-init"]) == "sh\n"


@needs_containers
def test_devices(aws: Aws, ids: dict[str, str]) -> None:
    assert _succeeded(aws, ids["devices"]).split() == ["00", "00", "00"]


def test_host_volume(aws: Aws, ids: dict[str, str], host_directory: Path) -> None:
    assert _succeeded(aws, ids["host-volume"]) == "from outside\n"
    assert (host_directory / "out").read_text() == "back\n"


@needs_containers
def test_read_only_host_volume(aws: Aws, ids: dict[str, str], host_directory: Path) -> None:
    assert aws.end(ids["read-only-volume"])["status"] == "FAILED"
    printed = aws.output(ids["read-only-volume"])
    assert "in" in printed.splitlines()
    assert "Read-only file system" in printed
    assert not (host_directory / "x").exists()


@needs_containers
def test_missing_host_path_is_made(aws: Aws, ids: dict[str, str], host_directory: Path) -> None:
    _succeeded(aws, ids["missing-host-path"])
    assert (host_directory / "made" / "by-engine" / "x").exists()


@needs_containers
def test_anonymous_volume(aws: Aws, ids: dict[str, str]) -> None:
    assert _succeeded(aws, ids["anonymous-volume"]) == "1\nx\n"


@needs_containers
def test_anonymous_volume_at_two_places(aws: Aws, ids: dict[str, str]) -> None:
    assert aws.end(ids["volume-twice"])["container"]["exitCode"] == 1
    printed = aws.output(ids["volume-twice"])
    assert "both" in printed.splitlines()
    assert "Read-only file system" in printed


def test_exit_code_decides(aws: Aws, ids: dict[str, str]) -> None:
    success, failure = aws.end(ids["success"]), aws.end(ids["exit-code"])
    assert (success["status"], success["container"]["exitCode"]) == ("SUCCEEDED", 0)
    assert (failure["status"], failure["container"]["exitCode"]) == ("FAILED", 42)
    for job in (success, failure):
        assert job["statusReason"] == "Essential container in task exited"
        assert "reason" not in job["container"]
        assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]


@needs_containers
def test_missing_image_has_a_reason(aws: Aws, ids: dict[str, str]) -> None:
    job = aws.end(ids["no-such-image"])
    assert job["status"] == "FAILED"
    assert job["statusReason"] == "Task failed to start"
    assert job["container"]["reason"].startswith("CannotPullContainerError: ")
    assert "exitCode" not in job["container"]
    assert "startedAt" not in job


def test_parameters_fill_the_command(aws: Aws) -> None:
    definition = aws.register(
        "feature-parameters",
        "echo",
        "Ref::greeting",
        "Ref::who",
        "with Ref::who inside",
        parameters={"greeting": "hello", "who": "you"},
    )
    ids = [
        aws.submit("defaults", definition),
        aws.submit("replaced", definition, parameters={"who": "me"}),
        aws.submit("other-command", definition, "echo", "Ref::who", parameters={"who": "them"}),
    ]
    assert [_succeeded(aws, job_id) for job_id in ids] == [
        "hello you with you inside\n",
        "hello me with me inside\n",
        "them\n",
    ]
    assert aws.job(ids[1])["parameters"] == {"greeting": "hello", "who": "me"}
    assert aws.job(ids[2])["container"]["command"] == ["echo", "them"]


@needs_containers
def test_resources_are_overridden_by_type(aws: Aws) -> None:
    definition = aws.register("feature-resources", "sh", "-c", _CGROUP, needs=(1, 64))
    memory = [{"type": "MEMORY", "value": "40"}]
    job_id = aws.submit(
        "resources", definition, containerOverrides={"resourceRequirements": memory, "memory": 99}
    )
    assert _succeeded(aws, job_id).split()[0] == str(40 * MIB)
    requirements = aws.job(job_id)["container"]["resourceRequirements"]
    assert {r["type"]: r["value"] for r in requirements} == {"VCPU": "1", "MEMORY": "40"}


@pytest.mark.skipif(RUNTIME != "process", reason="containers can do it")
def test_a_process_refuses_what_it_cannot_do(aws: Aws) -> None:
    job = aws.end(aws.run("refused", "true", user="nobody"))
    assert job["status"] == "FAILED"
    assert job["container"]["reason"].startswith("CannotCreateContainerError: user: ")
