"""Archives of events, and replays of what they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

ARCHIVE_NAME_MAX = 48
RETENTION_DAYS_MAX = 2**31 - 1
ENABLED = "ENABLED"
#: AWS's; others are never reached here.
ARCHIVE_STATES = (
    *(ENABLED, "DISABLED", "CREATING"),
    *("UPDATING", "CREATE_FAILED", "UPDATE_FAILED"),
)

STARTING = "STARTING"
RUNNING = "RUNNING"
CANCELLING = "CANCELLING"
REPLAY_STATES = (STARTING, RUNNING, CANCELLING, "COMPLETED", "CANCELLED", "FAILED")
#: Replays that go on at one time.
REPLAYS_MAX = 10
#: Rules that a replay may name.
FILTER_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Events of a bus that are kept."""

    name: str
    bus: str
    description: str | None
    #: Which; None for all.
    pattern: str | None
    #: 0: for ever.
    retention_days: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Events of an archive that are sent to rules once more."""

    name: str
    archive: str
    bus: str
    description: str | None
    #: ARNs of the rules that see them; empty for all.
    filter_arns: Sequence[str]
    begin_at: datetime
    end_at: datetime
    state: str
    state_reason: str | None
    last_event_at: datetime | None
    started_at: datetime
    ended_at: datetime | None
