"""Rules as they are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

DEFAULT_BUS = "default"

ENABLED = "ENABLED"
DISABLED = "DISABLED"
#: API calls that only read match as well.
ENABLED_WITH_READS = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
STATES = (ENABLED, DISABLED, ENABLED_WITH_READS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule of a bus: a pattern, a schedule, or both."""

    bus: str
    name: str
    #: As they were given.
    pattern: str | None = None
    schedule: str | None = None
    state: str = ENABLED
    description: str | None = None
    role_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    #: When its schedule makes an event next; None while it makes none.
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventBus:
    """Where events are put, and rules pick them."""

    name: str
    description: str | None
    #: Queue for what cannot be delivered to a target that names none.
    dead_letter_arn: str | None
    tags: Mapping[str, str]
    created_at: datetime
    changed_at: datetime
