"""What may run on a data directory although no supervisor does: services and instances."""

import contextlib
import signal
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import psutil
import structlog

from longshore.standalone.config import SERVICES
from longshore.standalone.record import read_processes, read_supervisor

log = structlog.get_logger()

#: How long what was killed may take to be gone.
KILLED_SECONDS = 5.0
#: How often the ended among those waited for are looked for that the init process has not reaped:
#: in a container it may never do so.
LOOK_SECONDS = 0.1


def orphans(data_dir: Path, names: Collection[str] = SERVICES) -> list[psutil.Process]:
    """Services, of those named, that an earlier, killed supervisor left behind."""
    records = read_processes(data_dir)
    return [
        process
        for name, record in records.items()
        if name in names and (process := record.process()) is not None
    ]


def supervisor(data_dir: Path) -> psutil.Process | None:
    """The supervisor of the data directory, if it is still there."""
    record = read_supervisor(data_dir)
    recorded = None if record is None else record.process()
    return recorded or _unrecorded_supervisor(data_dir)


def _unrecorded_supervisor(data_dir: Path) -> psutil.Process | None:
    """One whose record is damaged, or not yet written."""
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or ())[-2:] != ["longshore.standalone", "up"]:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            own = process.environ().get("LONGSHORE_DATA_DIR", "")
            if own and Path(own).resolve() == data_dir.resolve():
                return process
    return None


def instances(data_dir: Path) -> list[psutil.Process]:
    """Agents that stand for this stack's instances: their data lies below the stack's.

    One that a user runs, to join an unmanaged compute environment, is the user's to end.
    """
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "longshore.agent" not in (process.info["cmdline"] or ()):
            continue
        with contextlib.suppress(psutil.Error, OSError):
            environ = process.environ()
            own = environ.get("LONGSHORE_DATA_DIR", "")
            is_users = environ.get("LONGSHORE_UNMANAGED") == "true"
            if own and data_dir.resolve() in Path(own).resolve().parents and not is_users:
                found.append(process)
    return found


def stop(
    processes: Sequence[psutil.Process],
    grace_seconds: float,
    number: signal.Signals = signal.SIGTERM,
) -> None:
    """A signal to all, SIGKILL to those that are there after the grace period; blocks meanwhile."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    alive = _wait(processes, grace_seconds)
    for process in alive:
        log.warning("process.killed", pid=process.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _wait(alive, KILLED_SECONDS)


def _wait(processes: Sequence[psutil.Process], seconds: float) -> Sequence[psutil.Process]:
    """Those that run after so long; one that nobody has reaped yet runs no more."""
    alive = processes
    deadline = time.monotonic() + seconds
    while alive and (left := deadline - time.monotonic()) > 0:
        _, alive = psutil.wait_procs(alive, timeout=min(LOOK_SECONDS, left))
        alive = [process for process in alive if not _is_zombie(process)]
    return alive


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
