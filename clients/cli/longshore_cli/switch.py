"""The user's switch on queues and compute environments."""

from enum import StrEnum


class State(StrEnum):
    """Whether a queue takes jobs, or an environment is in use."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
