"""`longshore secret`: values come in over standard input and are never shown."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest


class _Command:
    def __init__(self, directory: Path) -> None:
        self._environ = os.environ | {
            "LONGSHORE_SECRETS_FILE": str(directory / "secrets"),
            "LONGSHORE_SECRETS_KEY_FILE": str(directory / "key"),
        }

    def start(self, *arguments: str, **streams: int) -> "subprocess.Popen[bytes]":
        program = Path(sys.executable).with_name("longshore")
        return subprocess.Popen([program, "secret", *arguments], env=self._environ, **streams)

    def __call__(self, *arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [Path(sys.executable).with_name("longshore"), "secret", *arguments],
            input=given,
            env=self._environ,
            capture_output=True,
            check=False,
        )


@pytest.fixture
def secret(tmp_path: Path) -> _Command:
    return _Command(tmp_path)


def test_the_life_of_a_secret(secret: _Command) -> None:
    assert json.loads(secret("list", "--json").stdout) == []
    done = secret("set", "team/db", given=b"hush\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    listed = secret("list")
    assert b"team/db" in listed.stdout
    assert b"hush" not in listed.stdout
    assert [entry["name"] for entry in json.loads(secret("list", "--json").stdout)] == ["team/db"]
    assert secret("delete", "team/db").returncode == 0
    assert secret("set", "--", "-x", given=b"hush").returncode == 0
    assert secret("delete", "--", "-x").returncode == 0
    gone = secret("delete", "team/db")
    assert (gone.returncode, b"no secret team/db" in gone.stderr) == (4, True)


def test_what_cannot_be_a_secret_is_said_without_its_value(secret: _Command) -> None:
    for name, value, words in (
        ("a b", b"hush", b"name must have"),
        ("a", b"", b"must not be empty"),
        ("a", b"\n", b"must not be empty"),
        ("a", b"hush\xff", b"must be text in UTF-8"),
        ("a", b"hush" * 20_000, b"not be longer than 65,536 bytes"),
    ):
        done = secret("set", name, given=value)
        assert done.returncode == 1
        assert done.stderr.startswith(b"longshore: ")
        assert words in done.stderr
        assert b"hush" not in done.stderr + done.stdout


def test_at_a_terminal_a_value_is_asked_for_twice_and_not_shown(secret: _Command) -> None:
    leader, follower = pty.openpty()
    with secret.start("set", "a", stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        shown = b""
        for prompt in (b"Value: ", b"confirmation: "):
            while prompt not in shown:
                shown += os.read(leader, 1024)
            os.write(leader, b"hush\n")
        assert process.wait() == 0
    os.close(leader)
    assert b"hush" not in shown
    assert b" a " in secret("list").stdout.replace(b"\n", b" ")
