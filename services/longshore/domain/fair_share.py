"""Fair share: whose turn it is among those who share a queue.

Simple meaning: every job of a queue with a policy belongs to a share. A share's usage is how many
vCPUs it has used on average lately, and a little for those that it uses now; times its weight that
is its score, and the share with the lowest score comes first. So shares that always have jobs
waiting get vCPU time in inverse proportion to their weights: one of weight 0.25 four times as much
as one of weight 1. A share that used nothing lately comes before all others.

Lately: what was used counts half as much after each window of the policy (`shareDecaySeconds`). The
vCPUs in use now count besides because they tell where the average is going: without them all room
that becomes free at one time would go to one share. They count little, because a share is looked at
when its jobs have just ended more often than when it just got a large one: with more, shares of
large jobs would get too much.

How the code differs: of each share there is one average, true at one moment, and what runs since
then. It is brought up to date when that changes, so nothing is ever summed up over jobs.

AWS Batch User Guide, "fair-share scheduling policies": the meaning of weights, prefixes, decay and
reservation is AWS's; its curve of decay is not published.
"""

import heapq
import math
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

#: The window of a policy that names none.
WINDOW_LEAST_SECONDS = 600
#: Shares that may be active in one queue.
ACTIVE_MAX = 500
WEIGHT_DEFAULT = 1.0
#: For how long after its window a share that ran nothing still counts as active.
ACTIVE_GRACE_SECONDS = 300
#: What a vCPU in use now counts, beside one that was used on average.
RUNNING_WEIGHT = 0.1
#: vCPUs on average below which a share's past no longer matters.
NEGLIGIBLE = 0.001

#: More jobs than are given out at one time.
_MANY = 2**31

T = TypeVar("T", bound=Hashable)
#: A queue and one of its shares.
Share = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SharePolicy:
    """A fair-share policy: what decides between the shares of the queues that use it."""

    decay_seconds: int = 0
    #: Percent, from 0 to 99.
    compute_reservation: int = 0
    #: By share, or by a prefix of shares, which ends in `*`. No two of them fit one share.
    weights: Mapping[str, float] = field(default_factory=dict)
    #: How long the prefixes among them are.
    _lengths: frozenset[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Notes where to look for prefixes."""
        lengths = frozenset(len(name) - 1 for name in self.weights if name.endswith("*"))
        object.__setattr__(self, "_lengths", lengths)

    @property
    def window_seconds(self) -> int:
        """After how long what was used counts half as much."""
        return self.decay_seconds or WINDOW_LEAST_SECONDS

    def weight(self, share: str) -> float:
        """What a share's usage is multiplied by: each share that a prefix fits has its own."""
        exact = self.weights.get(share)
        if exact is not None or not self._lengths:
            return WEIGHT_DEFAULT if exact is None else exact
        prefixes = (share[:length] + "*" for length in self._lengths if length <= len(share))
        found = (self.weights[prefix] for prefix in prefixes if prefix in self.weights)
        return next(found, WEIGHT_DEFAULT)

    def usable(self, maximum_milli: int, active: int) -> int:
        """How much of a queue's vCPUs, in thousandths, active shares may use together.

        The rest, the fraction (computeReservation / 100) ** active, is kept for those to come.
        """
        kept = (self.compute_reservation / 100) ** max(active, 1)
        return int(maximum_milli * (1 - kept))


@dataclass(slots=True)
class Usage:
    """What a share of a queue has used of vCPUs, and uses: `average` as of a moment."""

    as_of: datetime
    average: float = 0.0
    running_milli: int = 0
    #: When it last used any; None if it never did.
    used_at: datetime | None = None

    def average_at(self, now: datetime, window_seconds: int) -> float:
        """How many vCPUs it has used on average, at a later moment; a clock set back changes none.

        The mean of all its past, in which what was used a window ago counts half.
        """
        passed = max((now - self.as_of).total_seconds(), 0.0)
        running = self.running_milli / 1000
        return running + (self.average - running) * math.exp2(-passed / window_seconds)

    def advance(self, now: datetime, window_seconds: int) -> None:
        """Brings the average up to date."""
        self.average = self.average_at(now, window_seconds)
        self.as_of = max(now, self.as_of)
        if self.running_milli:
            self.used_at = self.as_of

    def change(self, milli: int, now: datetime, window_seconds: int) -> None:
        """Notes that attempts began, or, with a negative amount, ended."""
        self.advance(now, window_seconds)
        self.running_milli += milli
        self.used_at = self.as_of

    def is_recent(self, now: datetime, window_seconds: int) -> bool:
        """Whether it makes its share an active one: it runs something, or did within the window."""
        if self.running_milli:
            return True
        if self.used_at is None:
            return False
        return (now - self.used_at).total_seconds() < window_seconds + ACTIVE_GRACE_SECONDS

    def is_negligible(self, now: datetime, window_seconds: int) -> bool:
        """Whether nothing is left that could count."""
        return (
            not self.is_recent(now, window_seconds)
            and self.average_at(now, window_seconds) < NEGLIGIBLE
        )


class Standing(NamedTuple):
    """Where a share stands at a moment, in vCPUs."""

    weight: float = WEIGHT_DEFAULT
    average: float = 0.0
    running: float = 0.0

    @property
    def usage(self) -> float:
        """What it used lately, and where that is going."""
        return self.average + self.running * RUNNING_WEIGHT

    @property
    def score(self) -> float:
        """The share with the lowest comes first."""
        return (self.average + self.running * RUNNING_WEIGHT) * self.weight


@dataclass(slots=True)
class Ledger:
    """What the shares of queues use, and used lately."""

    usages: dict[Share, Usage] = field(default_factory=dict)

    def change(self, share: Share, milli: int, now: datetime, policy: SharePolicy) -> None:
        """Notes that attempts of a share began, or, with a negative amount, ended."""
        usage = self.usages.setdefault(share, Usage(now))
        usage.change(milli, now, policy.window_seconds)

    def standings(
        self, queue: str, policy: SharePolicy, shares: Iterable[str], now: datetime
    ) -> dict[str, Standing]:
        """Where shares of a queue stand."""
        usages, weight, window = self.usages, policy.weight, policy.window_seconds
        found = {}
        for share in shares:
            usage = usages.get((queue, share))
            if usage is None:
                found[share] = Standing(weight(share))
            else:
                average = usage.average_at(now, window)
                found[share] = Standing(weight(share), average, usage.running_milli / 1000)
        return found

    def usable(
        self,
        queue: str,
        policy: SharePolicy,
        most_milli: int,
        waiting: Collection[str],
        now: datetime,
    ) -> int:
        """How many vCPUs, in thousandths, may be taken before what is reserved for shares to come.

        Active are those of which jobs are RUNNABLE or live, or were live lately. One whose jobs
        wait for others could not use what it gave free.
        """
        used, active = self.in_use(queue, policy, waiting, now)
        return policy.usable(most_milli, active) - used

    def in_use(
        self, queue: str, policy: SharePolicy, waiting: Collection[str], now: datetime
    ) -> tuple[int, int]:
        """How many vCPUs a queue uses, in thousandths, and how many of its shares are active."""
        known = {share: usage for (name, share), usage in self.usages.items() if name == queue}
        recent = {s for s, usage in known.items() if usage.is_recent(now, policy.window_seconds)}
        used = sum(usage.running_milli for usage in known.values())
        return used, len(recent | set(waiting))


class Turns:
    """Whose turn it is, while room is given out: the lowest score first, equal ones by name.

    Each turn costs by the logarithm of the number of shares.
    """

    def __init__(self, standings: Mapping[str, Standing]) -> None:
        self._standings = standings
        self._usage = {share: one.usage for share, one in standings.items()}
        self._heap = [(one.score, share) for share, one in standings.items()]
        heapq.heapify(self._heap)

    def __bool__(self) -> bool:
        """Whether any share is left."""
        return bool(self._heap)

    @property
    def share(self) -> str:
        """Whose turn it is."""
        return self._heap[0][1]

    @property
    def score(self) -> float:
        """The score of the share whose turn it is."""
        return self._heap[0][0]

    def most(self, milli: int, bound: float = math.inf) -> int:
        """How many jobs of a size the share may have before it is another's turn; at least one.

        Or before its score passes a bound.
        """
        others = min((entry[0] for entry in self._heap[1:3]), default=math.inf)
        score, share = self._heap[0]
        step = self._standings[share].weight * milli / 1000 * RUNNING_WEIGHT
        steps = (min(others, bound) - score) / step
        return max(math.ceil(min(steps, _MANY)), 1)

    def give(self, milli: int) -> None:
        """Counts what the share was given."""
        _, share = self._heap[0]
        self._usage[share] += milli / 1000 * RUNNING_WEIGHT
        heapq.heapreplace(self._heap, (self._usage[share] * self._standings[share].weight, share))

    def leave(self) -> None:
        """The share has nothing left to give to."""
        heapq.heappop(self._heap)


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """Jobs of one kind and size that a share has waiting."""

    key: T
    share: str
    milli: int
    count: int


def in_turn(
    claims: Iterable[Claim[T]], standings: Mapping[str, Standing], milli: int
) -> dict[T, int]:
    """Gives out vCPUs to what waits, share by share as their turns come.

    Args:
        claims: of each share in the order in which it wants them, under keys of their own.
        standings: of their shares.
        milli: how much there is, in thousandths. The last job may go past it.

    Returns:
        How many jobs of each claim get some, those whose turn comes first before the others.
    """
    queued: dict[str, deque[Claim[T]]] = {}
    for claim in claims:
        queued.setdefault(claim.share, deque()).append(claim)
    turns = Turns({share: standings.get(share, Standing()) for share in queued})
    given: dict[T, int] = {}
    while turns and milli > 0:
        waiting = queued[turns.share]
        claim = waiting[0]
        left = claim.count - given.get(claim.key, 0)
        count = min(turns.most(claim.milli), -(-milli // claim.milli), left)
        given[claim.key] = given.get(claim.key, 0) + count
        milli -= count * claim.milli
        if count == left:
            waiting.popleft()
        if waiting:
            turns.give(count * claim.milli)
        else:
            turns.leave()
    return given
