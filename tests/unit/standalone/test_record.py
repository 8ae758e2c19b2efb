"""The record of a stack, and who it says runs."""

import json
import os
import subprocess
from pathlib import Path

import psutil

from longshore.standalone import leftovers
from longshore.standalone.record import ProcessRecord, Record, read_processes, read_supervisor


def _record(**services: ProcessRecord) -> Record:
    return Record(
        supervisor=ProcessRecord.of(os.getpid()),
        version="0",
        port_base=7070,
        addresses={},
        metrics={},
        runtime="process",
        runtime_detail="",
        database="",
        log_directory="",
        services=services,
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    _record(scheduler=ProcessRecord(1, 2.0, 3)).write(tmp_path)
    assert read_processes(tmp_path) == {"scheduler": ProcessRecord(1, 2.0, 3)}
    supervisor = read_supervisor(tmp_path)
    assert supervisor is not None
    assert supervisor.pid == os.getpid()
    assert json.loads((tmp_path / "longshore.json").read_text())["status"] == "starting"


def test_no_record_and_a_broken_one_tell_of_nothing(tmp_path: Path) -> None:
    assert read_processes(tmp_path) == {}
    for text in ("", "{", "[]", '{"services": {"a": {"unknown": 1}}, "supervisor": 5}'):
        (tmp_path / "longshore.json").write_text(text)
        assert read_processes(tmp_path) == {}
        assert read_supervisor(tmp_path) is None


def test_process_is_told_from_a_later_one_with_its_pid() -> None:
    alive = ProcessRecord.of(os.getpid())
    assert alive.process() is not None
    assert ProcessRecord(alive.pid, alive.started_at - 60).process() is None


def test_orphans_are_recorded_processes_that_still_run(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeping:
        gone = subprocess.Popen(["true"])
        gone_record = ProcessRecord.of(gone.pid)
        gone.wait()
        _record(logs=ProcessRecord.of(sleeping.pid), gateway=gone_record).write(tmp_path)
        assert [process.pid for process in leftovers.orphans(tmp_path)] == [sleeping.pid]
        leftovers.stop(leftovers.orphans(tmp_path), 5)
        assert not psutil.pid_exists(sleeping.pid)
    assert leftovers.orphans(tmp_path) == []


def test_stop_kills_what_does_not_end() -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        process = ProcessRecord.of(stubborn.pid).process()
        assert process is not None
        leftovers.stop([process], 0.2)
        assert not process.is_running()
