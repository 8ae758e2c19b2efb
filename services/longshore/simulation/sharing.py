"""Shares in virtual time: what they use, as the scheduler keeps it, and used in all."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from longshore.domain.fair_share import Ledger, Share, SharePolicy
from longshore.domain.placing.shapes import Shape
from longshore.simulation.clock import Clock
from longshore.simulation.fleet import SimulatedAttempt


@dataclass(slots=True)
class SimulatedShares:
    """What the shares of queues with a policy use."""

    clock: Clock
    policies: Mapping[str, SharePolicy]
    #: vCPUs that the queues may have, in thousandths.
    most_milli: Mapping[str, int]
    ledger: Ledger = field(default_factory=Ledger)
    #: Thousandths of a vCPU times microseconds that ended attempts held.
    held: dict[Share, int] = field(default_factory=dict)

    def begin(self, shape: Shape, attempt: SimulatedAttempt) -> None:
        """An attempt takes what it holds."""
        self._change(shape, attempt.need.vcpu_milli)

    def end(self, shape: Shape, attempt: SimulatedAttempt) -> None:
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
