"""The record of a stack, a file in its data directory."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

#: Two readings of one process's start differ by less; another process with the same pid differs by
#: more.
_SAME_START_SECONDS = 1.0


@dataclass(slots=True)
class ProcessRecord:
    """A process, told apart from a later one with the same pid by its start."""

    pid: int
    started_at: float
    restarts: int = 0

    @classmethod
    def of(cls, pid: int, restarts: int = 0) -> Self:
        """The record of a process that runs now."""
        return cls(pid, _started_at(pid) or 0.0, restarts)

    def process(self) -> psutil.Process | None:
        """The process if it is still there."""
        started_at = _started_at(self.pid)
        if started_at is None or abs(started_at - self.started_at) > _SAME_START_SECONDS:
            return None
        return psutil.Process(self.pid)


def _started_at(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.NoSuchProcess:
        return None


@dataclass(slots=True, kw_only=True)
class Record:
    """What a person or another process wants to know about a stack."""

    #: starting, ready, stopping, stopped or failed.
    status: str = "starting"
    #: In plain words: what goes on, or why it failed.
    message: str = ""
    supervisor: ProcessRecord
    version: str
    port_base: int
    addresses: dict[str, str]
    #: Certificates of the authorities that these have theirs from; empty: they take plaintext.
    ca_file: str = ""
    metrics: dict[str, str]
    runtime: str
    runtime_detail: str
    database: str
    log_directory: str
    #: Whether whoever reaches it may do everything.
    is_open: bool = False
    services: dict[str, ProcessRecord] = field(default_factory=dict)

    def write(self, data_dir: Path) -> None:
        """Replaces the file in one step, so that a reader never sees half of it."""
        path = data_dir / "longshore.json"
        scratch = path.with_suffix(".json.new")
        scratch.write_text(json.dumps(asdict(self), indent=2) + "\n")
        scratch.replace(path)


def read_processes(data_dir: Path) -> dict[str, ProcessRecord]:
    """The services' processes that an earlier supervisor recorded, whether they run or not."""
    try:
        document: dict[str, Any] = json.loads((data_dir / "longshore.json").read_text())
        return {name: ProcessRecord(**entry) for name, entry in document["services"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # none, or of another version: then nothing of ours can be told from it


def read_supervisor(data_dir: Path) -> ProcessRecord | None:
    """The supervisor that wrote the record, whether it runs or not."""
    try:
        document: dict[str, Any] = json.loads((data_dir / "longshore.json").read_text())
        return ProcessRecord(**document["supervisor"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
