"""The lock of a data directory."""

from pathlib import Path

from longshore.runtime.lock import Lock


def test_one_lock_for_one_directory(tmp_path: Path) -> None:
    first, second = Lock(tmp_path), Lock(tmp_path)
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()
