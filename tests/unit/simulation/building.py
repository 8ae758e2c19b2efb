"""Builders of workloads, and a simulation that is looked at after every step."""

import asyncio
from collections import Counter
from typing import Any

import msgspec

from longshore.domain.order import ON_DEMAND
from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import BEST_FIT
from longshore.simulation.driver import Simulation
from longshore.simulation.duration import microseconds
from longshore.simulation.fleet import SimulatedAttempt
from longshore.simulation.prepare import prepare
from longshore.simulation.summary import Summary, summarise
from longshore.simulation.workload import Workload


def an_environment(name: str = "A", **members: Any) -> dict[str, Any]:
    """On-demand instances of two vCPUs at 0.085 dollars an hour."""
    return {"name": name, "maxvCpus": 4, "instanceTypes": ["c6i.large"]} | members


def a_queue(name: str = "q", *environments: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "computeEnvironmentOrder": list(environments or ("A",))} | members


def jobs(name: str = "jobs", **members: Any) -> dict[str, Any]:
    """Jobs of one vCPU that run for five minutes."""
    return {"name": name, "queue": "q", "duration": 300} | members


def a_workload(*parts: dict[str, Any], **members: Any) -> Workload:
    """A workload of some jobs; one environment and queue unless others are given."""
    whole = {
        "computeEnvironments": [an_environment()],
        "queues": [a_queue()],
        "jobs": list(parts),
    }
    return msgspec.convert(whole | members, Workload)


def check_nodes(attempt: SimulatedAttempt) -> None:
    """Asserts that nodes run all or none, on a type, each alone on an instance."""
    nodes = attempt.job.part.nodes
    main = attempt.main or attempt
    assert main.is_live
    assert len(main.others) == (nodes or 1) - 1
    if nodes is None:
        return
    members = [node.member for node in (main, *main.others)]
    assert len({member.instance_id for member in members}) == nodes
    assert len({(m.compute_environment, m.kind.name, m.purchase_option) for m in members}) == 1
    assert members[0].purchase_option == ON_DEMAND
    assert members[0].kind.name == (main.job.part.instance_type or members[0].kind.name)
    assert {node.started_us for node in main.others} <= {main.started_us}
    assert attempt.member.attempts == {attempt}
    assert attempt.member.free == Resources(0, 0)
    assert attempt.need.holds(Resources(round(main.job.part.vcpus * 1000), main.job.part.memory))


class Watched(Simulation):
    """Looks after every step whether anything is wrong."""

    async def _step(self) -> None:
        await super()._step()
        held = 0
        for name, state in self.environments.items():
            there = [m for m in self.fleet.members.values() if m.compute_environment == name]
            vcpus = sum(member.kind.vcpus for member in there)
            largest = max((member.kind.vcpus for member in there), default=0)
            maximum = state.stored.maxv_cpus or 0
            resources = state.stored.detail["computeResources"]
            kind = state.stored.resource_type
            strategy = resources.get("allocationStrategy", BEST_FIT)
            is_strict = kind.startswith("FARGATE") or (kind == "EC2" and strategy == BEST_FIT)
            assert vcpus <= maximum + (0 if is_strict else largest)
            assert not vcpus or vcpus - largest < maximum
        for member in self.fleet.members.values():
            free = member.free
            assert min(free.vcpu_milli, free.memory_mib, free.gpus) >= 0
            assert not (member.attempts and not member.registered)
            assert not (member.kind.is_slot and len(member.attempts) > 1)
            for attempt in member.attempts:
                held += attempt.main is None
                if attempt.main or attempt.others or attempt.job.part.nodes is not None:
                    check_nodes(attempt)
                else:  # By far the most, and looked at after every step.
                    assert attempt.is_live
        backlog = self.backlog
        assert held == self.fleet.running
        assert backlog.waiting == sum(backlog.runnable.values()) >= 0
        assert backlog.waiting + held <= backlog.unfinished
        if self.prepared.consumables:
            self._check_stock()
        for gauge in self.fleet.gauges.values():
            assert 0 <= gauge.busy <= gauge.ready <= gauge.counted
            assert gauge.booting >= 0

    def _check_stock(self) -> None:
        """What is in use is what the attempts hold, and no more than there is."""
        held = Counter[str]()
        for member in self.fleet.members.values():
            for attempt in member.attempts:
                if attempt.main is None:
                    held.update(dict(self.prepared.shapes[attempt.job.shape_id].units))
        stock = self.consuming.stock
        assert held == stock.held
        for name, resource in stock.resources.items():
            assert 0 <= stock.in_use(name) <= resource.total


def simulate(workload: Workload, *, seed: int = 1) -> Simulation:
    """Runs a workload."""
    until_us = microseconds(workload.until, "until")
    simulation = Watched(prepare(workload), seed=seed, until_us=until_us)
    asyncio.run(simulation.run())
    return simulation


def summary(workload: Workload, *, seed: int = 1) -> Summary:
    """What comes of a workload."""
    return summarise(simulate(workload, seed=seed))
