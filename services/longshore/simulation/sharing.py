"""Shares in virtual time: what they use, as the scheduler keeps it, and used in all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from longshore.domain.fair_share import Ledger, Share, SharePolicy
from longshore.domain.placing.shapes import Entry, Shape, Sharing, Waiting
from longshore.domain.placing.sharing import first_in_turn
from longshore.simulation.backlog import Backlog
from longshore.simulation.clock import Clock
from longshore.simulation.fleet import Attempt


@dataclass(slots=True)
class Shares:
    """What the shares of queues with a policy use."""

    clock: Clock
    policies: Mapping[str, SharePolicy]
    #: vCPUs that the queues may have, in thousandths.
    most_milli: Mapping[str, int]
    ledger: Ledger = field(default_factory=Ledger)
    #: Thousandths of a vCPU times microseconds that ended attempts held.
    held: dict[Share, int] = field(default_factory=dict)

    def begin(self, shape: Shape, attempt: Attempt) -> None:
        """An attempt takes what it holds."""
        self._change(shape, attempt.need.vcpu_milli)

    def end(self, shape: Shape, attempt: Attempt) -> None:
        """An attempt gives back what it held."""
        self._change(shape, -attempt.need.vcpu_milli)
        if shape.share:
            share = shape.job_queue, shape.share
            held = attempt.need.vcpu_milli * (self.clock.us - attempt.started_us)
            self.held[share] = self.held.get(share, 0) + held

    def _change(self, shape: Shape, milli: int) -> None:
        if shape.share:
            share, policy = (shape.job_queue, shape.share), self.policies[shape.job_queue]
            self.ledger.change(share, milli, self.clock.now, policy)

    def usable(self, backlog: Backlog) -> dict[str, int]:
        """By queue: vCPUs, in thousandths, that may be taken before what is reserved."""
        return {
            queue: self.ledger.usable(
                queue, policy, self.most_milli[queue], _waiting(backlog, queue), self.clock.now
            )
            for queue, policy in self.policies.items()
            if policy.compute_reservation
        }

    def heads(
        self,
        backlog: Backlog,
        queue: str,
        hungry: Sequence[int],
        fits: Mapping[int, int],
        known: Mapping[int, Waiting],
    ) -> tuple[tuple[Entry, ...], Sharing]:
        """First entries of the shares whose turn comes first, and what decides between all."""
        standings = self.ledger.standings(
            queue, self.policies[queue], _waiting(backlog, queue), self.clock.now
        )
        chosen = first_in_turn(backlog.shapes, hungry, standings)
        entries, cut = backlog.first(chosen, fits)
        unread = {shape_id: known.get(shape_id) for shape_id in set(hungry) - set(chosen)}
        usable = self.usable(backlog).get(queue)
        return entries, Sharing(standings, cut, unread, usable)


def _waiting(backlog: Backlog, queue: str) -> set[str]:
    """The shares of a queue of which jobs are RUNNABLE."""
    shapes = (backlog.shapes[shape_id] for shape_id in backlog.runnable)
    return {shape.share for shape in shapes if shape.job_queue == queue}
