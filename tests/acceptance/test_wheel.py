"""What `make dist` builds, installed where there is nothing else."""

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from acceptance.stand import Stack
from support.scratch import scratch_directory

ROOT = Path(__file__).parents[2]
#: Building fetches the build backend, where it is not in uv's cache.
BUILD_SECONDS = 100

#: Built once, by the worker whose stack one of them looks at.
pytestmark = pytest.mark.xdist_group("lasting_stack")


def _uv(*arguments: str | Path, **environ: str) -> None:
    done = subprocess.run(
        [ROOT / "scripts/setup", "--uv", *arguments],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def dist() -> Iterator[Path]:
    """The source archive, and the wheel that is built from it."""
    with scratch_directory() as made:
        _uv("build", "--quiet", "--out-dir", made)
        yield made


def _installed(dist: Path, place: Path, extra: str) -> str:
    """The command in an environment of its own, with the locked versions of what it needs."""
    (wheel,) = dist.glob("*.whl")
    _uv("venv", "--quiet", "--python", ROOT / ".venv/bin/python", place)
    _uv(
        *("pip", "install", "--quiet", "--constraint", "requirements.lock"),
        f"longshore{extra} @ {wheel.as_uri()}",
        VIRTUAL_ENV=str(place),
    )
    return str(place / "bin/longshore")


def test_the_archive_holds_the_sources_and_nothing_that_lies_about(dist: Path) -> None:
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = [name.partition("/")[2] for name in opened.getnames()]
    tops = {name.partition("/")[0] for name in names}
    assert {"services", "clients", "protos", "tests", "requirements.lock", "LICENSE"} <= tops
    assert not [name for name in names if "/." in f"/{name}" and name != ".gitignore"]


def test_the_wheel_brings_up_a_stack_and_runs_a_job(dist: Path, place: Path) -> None:
    command = _installed(dist, place / "server", "[server]")
    stack = Stack(place / "stack", runtime="process", command=command)
    try:
        stack.up()
        ran = stack.cli("run", "busybox:latest", "--", "echo", "from the wheel", check=True)
        assert ran.stdout == "from the wheel\n"
        (agent,) = stack.agents()
        pids = [service["pid"] for service in stack.record["services"].values()]
        for process in (agent, *map(psutil.Process, pids)):
            assert Path(process.cmdline()[0]).is_relative_to(place / "server")
    finally:
        stack.down()


def test_the_client_alone_needs_no_services(dist: Path, place: Path, lasting_stack: Stack) -> None:
    client = Stack(
        place / "client",
        port_base=lasting_stack.port_base,
        command=_installed(dist, place / "environment", ""),
    )
    client.cli("queue", "list", check=True, **lasting_stack.own_key)
    refused = client.cli("up")
    assert refused.returncode == 2
    assert "longshore[server]" in refused.stderr
