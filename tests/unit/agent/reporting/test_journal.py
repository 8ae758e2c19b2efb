"""The journal keeps what it was given through any end of the process."""

import asyncio
import os
import threading
from pathlib import Path

import pytest
from support.disk import a_full_disk
from support.patience import PATIENCE_SECONDS

from longshore.agent.attempts.attempt import AttemptKey
from longshore.agent.reporting import journal as journal_module
from longshore.agent.reporting.journal import Journal
from longshore.v1 import agent_service_pb2 as pb

KEY = pb.AttemptKey(job_id="job", attempt=1)


def an_assignment(job_id: str = "job") -> pb.Assignment:
    return pb.Assignment(key=pb.AttemptKey(job_id=job_id, attempt=1), job_name="name")


def a_report(journal: Journal, job_id: str = "job") -> pb.AgentReport:
    change = pb.AttemptChange(
        key=pb.AttemptKey(job_id=job_id, attempt=1), status=pb.ATTEMPT_STATUS_ENDED, exit_code=3
    )
    return pb.AgentReport(sequence=journal.sequence + 1, changes=[change])


async def test_everything_is_there_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.assigned(an_assignment())
    journal.stop_wanted(pb.AttemptStop(key=KEY, status_reason="why"))
    report = a_report(journal)
    journal.report(report)
    await journal.flush()
    journal.close()

    again = Journal(tmp_path / "journal")
    entry = again.entries[AttemptKey("job", 1)]
    assert entry.assignment == an_assignment()
    assert entry.stop is not None
    assert entry.stop.status_reason == "why"
    assert entry.change is not None
    assert entry.change.exit_code == 3
    assert again.reports == {report.sequence: report}
    assert again.sequence == report.sequence
    again.close()


def test_acknowledged_and_forgotten_leave_nothing_but_the_sequence(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.assigned(an_assignment())
    report = a_report(journal)
    journal.report(report)
    assert journal.acknowledged(report.sequence) == [report]
    assert journal.acknowledged(report.sequence) == []
    journal.forgotten(AttemptKey("job", 1))
    journal.close()

    again = Journal(tmp_path / "journal")
    assert (again.entries, again.reports, again.sequence) == ({}, {}, report.sequence)
    again.close()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_torn_tail_is_cut(tmp_path: Path, cut: int) -> None:
    """A crash within a write loses that record and no other, and writing goes on."""
    path = tmp_path / "journal"
    journal = Journal(path)
    journal.assigned(an_assignment("first"))
    journal.assigned(an_assignment("second"))
    journal.close()
    path.write_bytes(path.read_bytes()[:-cut])

    again = Journal(path)
    assert set(again.entries) == {AttemptKey("first", 1)}
    again.assigned(an_assignment("third"))
    again.close()
    last = Journal(path)
    assert set(last.entries) == {AttemptKey("first", 1), AttemptKey("third", 1)}
    last.close()


async def test_compaction_keeps_what_is_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "COMPACT_BYTES", 1000)
    journal = Journal(tmp_path / "journal")
    journal.assigned(an_assignment("ended"))
    journal.report(a_report(journal, "ended"))
    journal.acknowledged(journal.sequence)
    journal.assigned(an_assignment("live"))
    for number in range(200):
        journal.assigned(an_assignment(f"past-{number}"))
        journal.forgotten(AttemptKey(f"past-{number}", 1))
    waiting = a_report(journal, "live")
    journal.report(waiting)
    await journal.flush()
    assert (tmp_path / "journal").stat().st_size < 1000
    journal.assigned(an_assignment("after"))
    journal.close()

    again = Journal(tmp_path / "journal")
    assert {key.job_id for key in again.entries} == {"ended", "live", "after"}
    ended = again.entries[AttemptKey("ended", 1)]
    assert ended.change is not None
    assert ended.change.status == pb.ATTEMPT_STATUS_ENDED
    assert again.reports == {waiting.sequence: waiting}
    assert again.sequence == waiting.sequence
    again.close()


async def test_what_is_appended_during_compaction_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop goes on while the disk takes its time."""
    monkeypatch.setattr(journal_module, "COMPACT_BYTES", 1000)
    waiting, go_on = threading.Event(), threading.Event()
    fsync = os.fsync

    def slow(file: int) -> None:
        waiting.set()
        go_on.wait(PATIENCE_SECONDS)
        fsync(file)

    journal = Journal(tmp_path / "journal")
    for number in range(100):
        journal.assigned(an_assignment(f"past-{number}"))
        journal.forgotten(AttemptKey(f"past-{number}", 1))
    journal.assigned(an_assignment("live"))
    monkeypatch.setattr(os, "fsync", slow)
    flushing = asyncio.create_task(journal.flush())
    await asyncio.to_thread(waiting.wait, 10)
    journal.assigned(an_assignment("meanwhile"))
    go_on.set()
    await flushing
    assert (tmp_path / "journal").stat().st_size < 1000
    journal.assigned(an_assignment("after"))
    journal.close()
    again = Journal(tmp_path / "journal")
    assert {key.job_id for key in again.entries} == {"live", "meanwhile", "after"}
    again.close()


def test_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Assignments hold environments, and those may hold what nobody else should read."""
    journal = Journal(tmp_path / "journal")
    journal.close()
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0


def test_a_lost_journal_goes_on_past_the_old_numbers(tmp_path: Path) -> None:
    first = Journal(tmp_path / "one")
    for _ in range(3):
        first.report(a_report(first))
    second = Journal(None)
    assert second.sequence >= first.sequence - 3
    first.close()


async def test_without_room_for_a_new_file_the_old_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "COMPACT_BYTES", 1000)
    path = tmp_path / "journal"
    journal = Journal(path)
    for number in range(100):
        journal.assigned(an_assignment(f"past-{number}"))
        journal.forgotten(AttemptKey(f"past-{number}", 1))
    journal.assigned(an_assignment("live"))
    size = path.stat().st_size
    with a_full_disk(10):
        await journal.flush()
    assert not (tmp_path / "journal.new").exists()
    assert path.stat().st_size == size
    await journal.flush()
    assert path.stat().st_size < size
    journal.assigned(an_assignment("after"))
    journal.close()
    again = Journal(path)
    assert {key.job_id for key in again.entries} == {"live", "after"}
    again.close()


async def test_a_full_disk_tears_no_record_and_loses_none(tmp_path: Path) -> None:
    """What could not be written is written later, before anything that follows it."""
    journal = Journal(tmp_path / "journal")
    journal.assigned(an_assignment("before"))
    with a_full_disk((tmp_path / "journal").stat().st_size + 10):
        journal.assigned(an_assignment("during"))
        report = a_report(journal, "during")
        journal.report(report)
        with pytest.raises(OSError, match="too large"):
            await journal.flush()
    journal.assigned(an_assignment("after"))
    await journal.flush()
    journal.close()

    again = Journal(tmp_path / "journal")
    assert {key.job_id for key in again.entries} == {"before", "during", "after"}
    assert again.reports == {report.sequence: report}
    again.close()
