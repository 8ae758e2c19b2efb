"""Why jobs get no instances of a compute environment."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto


class Refusal(Enum):
    """What keeps jobs from the instances that they would need."""

    #: maxvCpus is reached. The only one under which idle instances can make room.
    AT_MAXIMUM = auto()
    #: The provider has none of the types, or slots, left.
    SHORT = auto()
    SHORT_OF_SLOTS = auto()
    #: No type is large enough, or the only one that was asked for is not.
    TOO_LARGE = auto()
    TOO_LARGE_FOR_TYPE = auto()
    NO_SLOT_SIZE = auto()
    #: Multi-node jobs do not run there.
    NO_NODES = auto()


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal, with the instance types that it is about, by name; none where it is about all."""

    why: Refusal
    instance_types: tuple[str, ...] = ()

    @classmethod
    def short_of(cls, instance_types: Iterable[str]) -> "Refused":
        """The provider is short of some types."""
        return cls(Refusal.SHORT, tuple(sorted(set(instance_types))))
