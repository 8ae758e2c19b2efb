"""Which machine this is."""

from pathlib import Path

from longshore.runtime.machine import boot_identity, machine_identity


def test_identity_stays(tmp_path: Path) -> None:
    machine = tmp_path / "etc"
    machine.write_text("0123\n")
    first = machine_identity(tmp_path / "data", machine)
    assert machine_identity(tmp_path / "data", machine) == first
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["machine-id"]


def test_machines_that_share_a_directory_are_two(tmp_path: Path) -> None:
    identities = set()
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
        identities.add(machine_identity(tmp_path / "data", tmp_path / name))
    assert len(identities) == 2


def test_containers_without_a_machine_id_are_two(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    first = machine_identity(tmp_path / "a", nothing)
    assert first != machine_identity(tmp_path / "b", nothing)


def test_an_empty_file_is_written_anew(tmp_path: Path) -> None:
    """As a crash at the wrong moment may leave it."""
    (tmp_path / "machine-id").touch()
    first = machine_identity(tmp_path)
    assert (tmp_path / "machine-id").read_text()
    assert machine_identity(tmp_path) == first


def test_a_boot_that_is_not_told_is_empty(tmp_path: Path) -> None:
    assert boot_identity(tmp_path / "nothing") == ""
