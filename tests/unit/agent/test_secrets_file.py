"""Longshore's own secrets: what is kept, who may read it, and what is said when nobody can."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from longshore.agent.secret.file import FILE_BYTES, VALUE_BYTES, SecretsFile
from longshore.domain.errors import (
    InvalidRequest,
    LimitExceeded,
    LongshoreError,
    NotFound,
    PreconditionFailed,
)


@pytest.fixture
def secrets(tmp_path: Path) -> SecretsFile:
    return SecretsFile(tmp_path / "kept" / "secrets", tmp_path / "key" / "secrets.key")


def test_what_is_set_is_there_until_it_is_deleted(secrets: SecretsFile) -> None:
    assert secrets.list() == {}
    secrets.set("db/password", "pässwörd\n 1")
    secrets.set("a", "1")
    secrets.set("a", "2")
    assert (secrets.get("db/password"), secrets.get("a")) == ("pässwörd\n 1", "2")
    assert list(secrets.list()) == ["a", "db/password"]
    secrets.delete("a")
    for act in (secrets.get, secrets.delete):
        with pytest.raises(NotFound, match="no secret a"):
            act("a")
    assert list(secrets.list()) == ["db/password"]


def test_neither_names_nor_values_can_be_read_without_the_key(secrets: SecretsFile) -> None:
    secrets.set("telling-name", "telling-value")
    content = secrets.path.read_bytes()
    assert b"telling" not in content
    assert b"telling" not in secrets.key_path.read_bytes()
    assert b"telling-value" in Fernet(secrets.key_path.read_bytes().strip()).decrypt(content)
    for path in (secrets.path, secrets.key_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in secrets.path.parent.iterdir()) == [
        "secrets",
        "secrets.lock",
    ]


def test_a_key_that_others_may_read_is_not_used(secrets: SecretsFile) -> None:
    secrets.set("a", "1")
    secrets.key_path.chmod(0o640)
    for act in (secrets.list, lambda: secrets.get("a"), lambda: secrets.set("a", "2")):
        with pytest.raises(PreconditionFailed, match="chmod 600"):
            act()


def test_a_file_is_never_begun_anew_because_its_key_is_away(secrets: SecretsFile) -> None:
    secrets.set("a", "1")
    key, content = secrets.key_path.read_bytes(), secrets.path.read_bytes()
    secrets.key_path.unlink()
    with pytest.raises(PreconditionFailed, match=r"secrets\.key cannot be used: No such file"):
        secrets.set("a", "2")
    assert secrets.path.read_bytes() == content
    for wrong, words in ((Fernet.generate_key(), "was not written with the key"), (b"x", "no key")):
        secrets.key_path.write_bytes(wrong)
        secrets.key_path.chmod(0o600)
        with pytest.raises(PreconditionFailed, match=words):
            secrets.get("a")
    secrets.key_path.write_bytes(key)
    assert secrets.get("a") == "1"
    secrets.path.write_bytes(content[:-9] + b"A" + content[-8:])
    with pytest.raises(PreconditionFailed, match="or is damaged"):
        secrets.get("a")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("", "v", InvalidRequest),
        ("a b", "v", InvalidRequest),
        ("a:b", "v", InvalidRequest),
        ("n" * 513, "v", InvalidRequest),
        ("a", "", InvalidRequest),
        ("a", "x\0y", InvalidRequest),
        ("a", "é" * (VALUE_BYTES // 2 + 1), LimitExceeded),
    ],
)
def test_what_cannot_be_kept_is_refused(
    secrets: SecretsFile, name: str, value: str, error: type[LongshoreError]
) -> None:
    with pytest.raises(error) as caught:
        secrets.set(name, value)
    assert value in ("", "v") or value not in caught.value.message
    assert not secrets.path.exists()


def test_the_file_has_a_bound(secrets: SecretsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longshore.agent.secret.file.FILE_BYTES", 1000)
    secrets.set("a", "x" * 500)
    with pytest.raises(LimitExceeded, match="would have more than"):
        secrets.set("b", "x" * 500)
    assert list(secrets.list()) == ["a"]
    assert FILE_BYTES > 100 * VALUE_BYTES


def test_several_who_set_at_once_lose_nothing(secrets: SecretsFile) -> None:
    names = [f"n{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: secrets.set(name, name), names))
    assert list(secrets.list()) == names


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    secrets = SecretsFile(tmp_path / "file" / "secrets", tmp_path / "key")
    with pytest.raises(PreconditionFailed, match="secrets cannot be used"):
        secrets.set("a", "1")
    with pytest.raises(LongshoreError, match="cannot be used"):
        secrets.get("a")


def test_a_full_disk_leaves_what_was_there(
    secrets: SecretsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets.set("a", "1")
    before = secrets.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PreconditionFailed, match="secrets cannot be used: No space left"):
        secrets.set("a", "2")
    assert secrets.path.read_bytes() == before
    assert len(list(secrets.path.parent.iterdir())) == 2
