"""What placement speaks of: shapes and their waiting jobs, what a plan is made from, a plan."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from longshore.domain.consumable import Stock, Units
from longshore.domain.fair_share import Standing
from longshore.domain.job.job import JobKey
from longshore.domain.placing.room import Room
from longshore.domain.resources import Resources


@dataclass(frozen=True, slots=True)
class Shape:
    """Jobs of one queue with the same needs."""

    shape_id: int
    job_queue: str
    need: Resources
    #: Above 0: multi-node jobs of so many nodes, of which each needs so much.
    nodes: int = 0
    #: The only type that will do for nodes; empty for any.
    instance_type: str = ""
    #: Of a queue with a policy: whose jobs they are, and how soon among these.
    share: str = ""
    priority: int = 0
    #: Of an array with a cap: how many children run at one time; 0 for any number.
    max_running: int = 0
    #: What each job needs of consumable resources; of a multi-node job, all nodes together.
    units: Units = ()
    #: Whose cap that is, by the job's id: children that need more after running out of memory are
    #: of another shape of the same array. None: this shape alone is the array.
    array_job: uuid.UUID | None = None

    @property
    def array(self) -> uuid.UUID | int:
        """What the cap of its array goes by."""
        return self.shape_id if self.array_job is None else self.array_job

    @property
    def milli(self) -> int:
        """The vCPUs of one job, in thousandths."""
        return self.need.vcpu_milli * max(self.nodes, 1)


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A single job, or some children of an array.

    Of an array the children from `next_index` up to `end_index`, exclusive; -1 and 0 for a single
    job.
    """

    job_id: uuid.UUID
    shape_id: int
    rank: int
    seq: int
    next_index: int
    end_index: int
    ready_at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, and the environments that may take its jobs (enabled and valid ones, in order)."""

    name: str
    priority: int
    compute_environments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A shape that did not fit before.

    Its entries are not in the snapshot's heads, unless it is tried again now and instances were
    held for it until then.
    """

    shape_id: int
    ready_at: datetime
    #: Place of its first job in dispatch order.
    rank: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True)
class QueueSharing:
    """What decides between the shares of a queue that has a policy.

    Of many shares not all heads are read: those of the shares whose turn comes first are.
    """

    standings: Mapping[str, Standing]
    #: Shapes of which more entries wait than were read.
    cut: frozenset[int] = frozenset()
    #: Shapes that may find room and were not read, as they waited before; None: that is not known.
    unread: Mapping[int, Waiting | None] = field(default_factory=dict)
    #: vCPUs, in thousandths, that may still be taken before what is reserved for shares to come;
    #: None: nothing is.
    usable_milli: int | None = None


@dataclass(frozen=True, slots=True)
class PlacingSnapshot:
    """What a plan is made from. `heads` are in dispatch order: rank, seq, next_index."""

    queues: tuple[Queue, ...]
    shapes: dict[int, Shape]
    rooms: tuple[Room, ...]
    heads: dict[str, tuple[QueueEntry, ...]]
    parked: tuple[Waiting, ...] = ()
    #: The environments that take multi-node jobs, with their maxvCpus.
    node_environments: Mapping[str, int] = field(default_factory=dict)
    #: Shapes of multi-node jobs, and of such that need consumable resources, that get no more
    #: instances soon, or ever: nothing is held for them unless there are enough already.
    hopeless: frozenset[int] = frozenset()
    #: Of queues with a policy.
    sharing: Mapping[str, QueueSharing] = field(default_factory=dict)
    #: Shapes for which the plan before held instances.
    held: frozenset[int] = frozenset()
    #: How many more jobs may be placed of arrays with a cap, by shape, and of queues with one.
    left_of_arrays: Mapping[uuid.UUID | int, int] = field(default_factory=dict)
    left_of_queues: Mapping[str, int] = field(default_factory=dict)
    #: What there is of consumable resources, and what is in use.
    stock: Stock = field(default_factory=Stock)


@dataclass(frozen=True, slots=True)
class Placement:
    """One job, child or node, and the instance it goes to."""

    entry: QueueEntry
    array_index: int
    instance_id: str
    compute_environment: str

    @property
    def key(self) -> JobKey:
        """The job, child or node."""
        return JobKey(self.entry.job_id, self.array_index)


@dataclass(slots=True)
class Plan:
    """What is proposed.

    `unplaced` are the shapes that found no room, as they wait now.
    """

    placements: list[Placement] = field(default_factory=list)
    unplaced: dict[int, Waiting] = field(default_factory=dict)
    #: True if the plan is full and another pass may place more.
    partial: bool = False
    #: Shapes for which an instance is held, so that others found less room than there is.
    held: set[int] = field(default_factory=set)
    #: Those of the unplaced for which there may be room, but it is reserved for shares to come.
    reserved: set[int] = field(default_factory=set)
    #: Those of the unplaced that wait for units of consumable resources.
    starved: set[int] = field(default_factory=set)
    #: What of consumable resources was not given out, also where it is kept for somebody.
    left: dict[str, int] = field(default_factory=dict)
