"""Usage, options and exit codes, without a service."""

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer

from longshore.contract import PORT_OFFSETS
from longshore.v1 import job_pb2
from longshore_cli import exit_code, loading, settings
from longshore_cli.command import mounts, pairs
from longshore_cli.main import main
from longshore_cli.run import definition_name, outcome
from longshore_cli.submit import dependency
from longshore_client import Addresses, InvalidRequest, NotFound, Timeout, Unavailable


@pytest.fixture(autouse=True)
def _nothing_runs_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LONGSHORE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(settings.settings, "_addresses", None)
    monkeypatch.setattr(settings.settings, "patience", 0.1)


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["longshore", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


@pytest.mark.parametrize(
    "command",
    [
        (),
        *[
            (name,)
            for name in ("up", "status", "down", "run", "submit", "jobs", "describe", "logs")
        ],
        *[(name,) for name in ("wait", "cancel", "terminate", "explain", "agent", "version")],
        *[(name,) for name in ("capacity", "activities", "cost", "instances")],
        *[("instance", name) for name in ("describe", "interrupt")],
        ("update",),
        ("rerun",),
        *[("queue", name) for name in ("create", "list", "update", "delete")],
        *[("policy", name) for name in ("create", "list", "show", "update", "delete")],
        *[
            ("consumable", name)
            for name in ("create", "list", "describe", "update", "delete", "jobs")
        ],
        *[("schedule", name) for name in ("create", "list", "delete")],
        *[("rule", name) for name in ("list", "describe")],
        *[("env", name) for name in ("create", "list", "update", "delete")],
        *[("definition", name) for name in ("register", "list", "deregister")],
        *[("secret", name) for name in ("set", "list", "delete")],
        *[("dead-letter", name) for name in ("list", "resend")],
    ],
)
def test_every_command_explains_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: Sequence[str]
) -> None:
    assert _run(monkeypatch, *command, "--help") == 0
    assert "Usage" in capsys.readouterr().out


def test_the_list_of_commands_says_what_their_own_help_says() -> None:
    for name, entry in loading.ENTRIES.items():
        command = entry.load(name)
        told = " ".join(command.help.partition("\n\n")[0].split())
        assert told == entry.summary, name


def test_help_loads_neither_commands_nor_grpc() -> None:
    script = (
        "import sys; from longshore_cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = done.stderr.split()
    assert "Usage" in done.stdout
    assert "longshore_cli.loading" in loaded
    for module in ("grpc", "google.protobuf", "rich", "asyncio", "longshore_cli.stack"):
        assert module not in loaded


def test_a_mistyped_command_is_answered_with_what_is_near(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "job") == exit_code.USAGE
    assert "Did you mean 'jobs'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("run",),
        ("run", "--array", "0", "busybox"),
        ("run", "--volume", "nowhere", "busybox"),
        ("run", "-e", "novalue", "busybox"),
        ("jobs", "--status", "SLEEPING"),
        ("submit", "name"),
        ("submit", "name", "-d", "d", "--depends-on", "jobId="),
        ("env", "create", "e", "--type", "UNMANAGED", "--instance-type", "local"),
        ("env", "create", "e", "--type", "UNMANAGED", "--max-vcpus", "4"),
        ("env", "create", "e", "--type", "EC2", "--unmanaged-vcpus", "4"),
        ("env", "create", "e", "--type", "FARGATE", "--instance-type", "local"),
        ("env", "create", "e", "--type", "FARGATE_SPOT", "--min-vcpus", "1"),
        ("env", "create", "e", "--type", "SPOT", "--bid-percentage", "0"),
        ("env", "update", "e", "--type", "UNMANAGED"),
        ("policy", "create", "p", "--weight", "a=heavy"),
        ("consumable", "create", "c", "--total", "-1"),
        ("consumable", "update", "c", "many"),
        ("consumable", "update", "c", "1", "--operation", "TAKE"),
        ("submit", "n", "-d", "d", "--consumable", "a"),
        ("submit", "n", "-d", "d", "--consumable", "a=many"),
        ("policy", "create", "p", "--weight", "a"),
        ("policy", "create", "p", "--reservation", "100"),
        ("submit", "n", "-d", "d", "--priority", "10000"),
        ("env", "update", "e", "--job-timeout-minutes", "0"),
        ("instance", "interrupt", "i", "--notice", "601"),
        ("activities", "--limit", "0"),
        ("definition", "register", "d", "--file", "d.json", "--vcpus", "2"),
        ("definition", "register", "--image", "busybox"),
        ("jobs", "--array", "a", "--name", "n"),
        ("jobs", "--nodes", "a", "--name", "n"),
        ("jobs", "--nodes", "a", "--array", "a"),
        ("--server", "nonsense", "jobs"),
        ("agent", "--join", "nonsense"),
    ],
)
def test_wrong_usage_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> None:
    assert _run(monkeypatch, *arguments) == exit_code.USAGE
    printed = capsys.readouterr()
    assert printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(
    "arguments",
    [
        *[("submit", "n", "-d", "d", name) for name in ("--vcpus", "--memory", "--timeout")],
        *[("run", "busybox", name) for name in ("--vcpus", "--memory", "--timeout")],
        *[("update", "j", name) for name in ("--vcpus", "--memory", "--gpus", "--timeout")],
        *[
            ("definition", "register", "d", "--image", "i", name)
            for name in ("--vcpus", "--memory")
        ],
        ("queue", "create", "q", "--env", "e", "--priority"),
        ("queue", "update", "q", "--priority"),
        *[
            ("env", command, "e", name)
            for command in ("create", "update")
            for name in (
                *("--min-vcpus", "--max-vcpus", "--desired-vcpus", "--unmanaged-vcpus"),
                *("--bid-percentage", "--scale-down-delay"),
            )
        ],
        ("logs", "j", "--tail"),
        ("logs", "j", "--attempt"),
        ("wait", "j", "--timeout"),
        ("up", "--port-base"),
        ("instance", "interrupt", "i", "--notice"),
    ],
)
@pytest.mark.parametrize("number", ["99999999999", "9" * 5000, "-1", "nan", "inf"])
def test_numbers_that_no_message_holds_are_refused_by_their_option(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    number: str,
) -> None:
    assert _run(monkeypatch, *arguments, number) == exit_code.USAGE
    assert arguments[-1] in capsys.readouterr().err


def test_paths_that_cannot_be_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    nested = tmp_path / "nested.json"
    nested.write_text("[" * 100_000)
    no_object = tmp_path / "list.json"
    no_object.write_text("[1]")
    agent = ("agent", "--join", "localhost:7070")
    register = ("definition", "register", "d", "--file")
    for arguments, code in (
        *[((name, "--data-dir", str(file)), exit_code.USAGE) for name in ("up", "status", "down")],
        (("up", "--data-dir", str(file / "inside")), exit_code.NEGATIVE),
        (("up", "--data-dir", str(tmp_path / ("x" * 300))), exit_code.NEGATIVE),
        (("down", "--data-dir", "~nobody-of-this-name/x"), exit_code.USAGE),
        ((*agent, "--data-dir", str(file)), exit_code.USAGE),
        (("run", "busybox", "--volume", "~nobody-of-this-name/x:/x"), exit_code.USAGE),
        *[
            ((*register, str(path)), exit_code.USAGE)
            for path in (file, tmp_path, nested, no_object, tmp_path / "none", "/dev/zero")
        ],
    ):
        assert _run(monkeypatch, *arguments) == code, arguments
        told = capsys.readouterr().err
        assert told.startswith("longshore: "), arguments
        assert told.count("\n") == 1, arguments


def test_a_foreign_record_in_the_data_directory_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for content in ("[]", "{}", '{"status": "ready"}', "[" * 100_000, '{"addresses": 1}'):
        (tmp_path / "longshore.json").write_text(content)
        assert _run(monkeypatch, "down") == exit_code.OK


@pytest.mark.parametrize("target", ["localhost:²", "a b:7070", ":7070", "localhost:" + "7" * 5000])
def test_addresses_that_cannot_be_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    assert _run(monkeypatch, "--server", target, "jobs") == exit_code.USAGE
    agent = ("agent", "--join", target)
    assert _run(monkeypatch, *agent) == exit_code.USAGE
    assert "Traceback" not in capsys.readouterr().err


def _process(redirection: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own: its streams are what is tried."""
    command = [sys.executable, "-c", "from longshore_cli.main import main; main()", *arguments]
    script = f'"$@" {redirection}'
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", *command], capture_output=True, check=False
    )


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("jobs", "--help")])
def test_a_full_device_is_told_in_a_sentence(arguments: Sequence[str]) -> None:
    done = _process(">/dev/full", *arguments)
    assert done.returncode == exit_code.NEGATIVE
    assert done.stderr == (
        b"longshore: Standard output cannot be written: No space left on device.\n"
    )
    both = _process(">/dev/full 2>&1", *arguments)
    assert both.returncode == exit_code.NEGATIVE


def test_a_simulation_that_cannot_be_told_is_a_sentence_too() -> None:
    done = _process(">/dev/full", "simulate", "examples/rolling_order/workload.yaml")
    assert done.returncode == exit_code.NEGATIVE
    assert done.stderr.startswith(b"longshore: Standard output cannot be written: ")


def test_remarks_that_nobody_can_read_end_nothing() -> None:
    assert _process("2>/dev/full", "down").returncode == exit_code.OK
    assert _process(">&- 2>&-", "version").returncode == exit_code.OK


def test_a_character_that_the_terminal_lacks_is_shown_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = _process("", "status", "--data-dir", "/nowhere/\u65e5")
    assert done.returncode == exit_code.NEGATIVE
    assert rb"/nowhere/\u65e5" in done.stdout


def test_bytes_that_are_no_text_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "jobs", "--queue", "\udcff") == exit_code.USAGE
    assert "UTF-8" in capsys.readouterr().err


def test_unreachable_service_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{probe.getsockname()[1]}"
        assert _run(monkeypatch, "--server", target, "jobs") == exit_code.UNREACHABLE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert target in printed.err
    assert "longshore up" in printed.err


def test_a_name_that_nobody_has_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = "nowhere.invalid:7070"
    assert _run(monkeypatch, "--server", target, "jobs") == exit_code.UNREACHABLE
    assert capsys.readouterr().err.startswith(f"longshore: No longshore answers at {target};")


def test_status_and_down_without_a_stack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, "status") == exit_code.NEGATIVE
    assert _run(monkeypatch, "status", "--json") == exit_code.NEGATIVE
    assert _run(monkeypatch, "down") == exit_code.OK
    assert "longshore up" in capsys.readouterr().out


def test_exit_codes_of_errors() -> None:
    assert exit_code.of(InvalidRequest("x")) == 2
    assert exit_code.of(Unavailable("x")) == 3
    assert exit_code.of(NotFound("x")) == 4
    assert exit_code.of(Timeout("x")) == 5


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (job_pb2.JobDetail(status="SUCCEEDED"), 0),
        (job_pb2.JobDetail(status="FAILED"), 1),
        (
            job_pb2.JobDetail(status="FAILED", container=job_pb2.ContainerDetail(exit_code=7)),
            7,
        ),
        (
            job_pb2.JobDetail(
                status="FAILED",
                container=job_pb2.ContainerDetail(exit_code=137, reason="OutOfMemoryError: killed"),
            ),
            137,
        ),
        (
            job_pb2.JobDetail(
                status="FAILED",
                status_reason="Job attempt duration exceeded timeout",
                container=job_pb2.ContainerDetail(exit_code=0),
            ),
            1,
        ),
    ],
)
def test_run_leaves_with_the_jobs_exit_code(
    job: job_pb2.JobDetail, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(job) == code
    told = capsys.readouterr().err
    assert job.container.reason in told
    assert code in (0, 7) or "FAILED" in told


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("busybox:latest", "busybox-latest"),
        ("registry.example.org:5000/team/tool:1.2", "tool-1-2"),
        ("tool@sha256:" + "0" * 200, ("tool-sha256-" + "0" * 200)[:128]),
        ("...", "run"),
    ],
)
def test_definition_is_named_from_the_image(image: str, name: str) -> None:
    assert definition_name(image) == name


@pytest.mark.parametrize(
    "arguments",
    [
        ("definition", "register", "--image", "busybox"),
        ("submit", "-d", "d"),
        ("run", "--vcpus", "1"),
    ],
)
def test_a_container_s_command_is_not_taken_for_what_stands_before_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> None:
    assert _run(monkeypatch, *arguments, "--", "echo", "hi") == exit_code.USAGE
    assert "stands before --" in capsys.readouterr().err
    assert _run(monkeypatch, *arguments, "first", "--", "echo", "hi") == exit_code.UNREACHABLE


def test_name_value_pairs() -> None:
    assert pairs(["A=1", "B=x=y", "C="], "--env") == {"A": "1", "B": "x=y", "C": ""}
    assert pairs(None, "--env") == {}


def test_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert mounts(["/a:/b", "c:/d:ro"]) == [("/a", "/b", False), (f"{tmp_path}/c", "/d", True)]
    for wrong in ("/a", "/a:b", "/a:/b:rx", ":/b", "/a:/b:ro:x"):
        with pytest.raises(typer.BadParameter):
            mounts([wrong])


def test_dependencies() -> None:
    assert dependency("x") == job_pb2.JobDependency(job_id="x")
    assert dependency("x,N_TO_N") == job_pb2.JobDependency(job_id="x", type="N_TO_N")
    assert dependency("SEQUENTIAL") == job_pb2.JobDependency(type="SEQUENTIAL")
    assert dependency("jobId=x,type=N_TO_N") == dependency("x,N_TO_N")
    after_any = job_pb2.JobDependency(job_id="x", type="N_TO_N", condition="COMPLETE")
    assert dependency("x,N_TO_N,COMPLETE") == after_any
    assert dependency("condition=COMPLETE,type=N_TO_N,jobId=x") == after_any
    assert dependency("SEQUENTIAL,COMPLETE").condition == "COMPLETE"
    for wrong in ("", "x,y", "type=SOMETIMES", "name=x", "x,COMPLETE,FAILURE", "type=COMPLETE,x"):
        with pytest.raises(typer.BadParameter):
            dependency(wrong)


def test_addresses_come_from_option_then_environment_then_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LONGSHORE_PORT_BASE", raising=False)
    assert settings.CommandSettings().addresses == Addresses.from_submission("127.0.0.1:7070")
    (tmp_path / "longshore.json").write_text(
        json.dumps(
            {
                "status": "ready",
                "addresses": {
                    name: f"127.0.0.1:{9000 + offset}" for name, offset in PORT_OFFSETS.items()
                },
            }
        )
    )
    assert settings.CommandSettings().addresses == Addresses.from_submission("127.0.0.1:9000")
    monkeypatch.setenv("LONGSHORE_PORT_BASE", "8000")
    assert settings.CommandSettings().addresses == Addresses.from_submission("127.0.0.1:8000")
    chosen = settings.CommandSettings(server="other:1000")
    assert chosen.addresses == Addresses.from_submission("other:1000")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("j", "--to", "d"),
        ("j", "--status", "FAILED"),
        ("--array", "j"),
        ("j", "--array", "j", "--to", "d"),
        ("--array", "j", "--to", "d", "--follow"),
        ("--array", "j", "--to", "d", "--status", "LOST"),
    ],
)
def test_logs_are_of_one_job_or_of_an_array_into_a_folder(
    monkeypatch: pytest.MonkeyPatch, arguments: Sequence[str]
) -> None:
    assert _run(monkeypatch, "logs", *arguments) == exit_code.USAGE


@pytest.mark.parametrize("command", ["cancel", "terminate"])
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--yes",),
        ("j", "--queue", "q"),
        ("j", "--yes"),
        ("--submitted-after", "yesterday"),
        ("--tag", "x"),
    ],
)
def test_jobs_to_stop_are_named_by_ids_or_by_what_they_have_in_common(
    monkeypatch: pytest.MonkeyPatch, command: str, arguments: Sequence[str]
) -> None:
    assert _run(monkeypatch, command, *arguments) == exit_code.USAGE
