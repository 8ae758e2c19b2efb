"""The sandbox program is a real one, made from nothing."""

import os
import platform
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.patience import PATIENCE_SECONDS

from longshore.agent.docker.bridge import oldest_first
from longshore.agent.docker.sandbox import SandboxError, image_archive, program


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="no program for it")
def test_program_runs_and_sleeps(tmp_path: Path) -> None:
    path = tmp_path / "sandbox"
    path.write_bytes(program(platform.machine()))
    path.chmod(0o755)
    process = subprocess.Popen([path])
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while _state(process.pid) != "S":
            assert process.poll() is None
            assert time.monotonic() < deadline
        # A signal that it ignores wakes it, and it goes back to sleep.
        os.kill(process.pid, signal.SIGCONT)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_aarch64_words_are_its_instructions() -> None:
    code = program("aarch64")[120:]
    words = [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]
    assert words[:5] == [0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800004]
    assert words[5] == 0xD2800000 | 73 << 5 | 8  # mov x8, #73: ppoll
    assert words[6] == 0xD4000001  # svc #0
    assert words[7] & 0x3FFFFFF == (-7) & 0x3FFFFFF  # back to the beginning


def test_other_machines_are_refused() -> None:
    with pytest.raises(SandboxError, match="riscv64"):
        program("riscv64")


def test_image_is_the_same_every_time() -> None:
    assert image_archive("x86_64") == image_archive("x86_64")


def test_the_oldest_network_of_exactly_that_name_wins() -> None:
    # The engine leaves zeros at the end of a fraction out, so the text has another order.
    listed = [
        {"Name": "longshore", "Id": "c", "Created": "2026-01-01T00:00:00.51Z"},
        {"Name": "longshore", "Id": "b", "Created": "2026-01-01T00:00:00.5Z"},
        {"Name": "longshore", "Id": "a", "Created": "2026-01-01T01:00:00.5+01:00"},
        {"Name": "longshore-2", "Id": "d", "Created": "2025-01-01T00:00:00Z"},
    ]
    assert [network["Id"] for network in oldest_first(listed, "longshore")] == ["a", "b", "c"]
