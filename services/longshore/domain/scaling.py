"""Scaling: which instances to add and which to give back, as a pure function of what is there.

Simple meaning, for each queue in descending priority and each of its shapes in dispatch order:

1. What fits on instances that are there or booting is left to them, compute environment by compute
   environment.
2. The rest is packed onto new instances of the first environment that may still grow, at the lowest
   price; what is left over goes on to the next environment. What later shapes can use of a new
   instance, they use.

Then each environment is filled up to `minvCpus`, or to what a client raised `desiredvCpus` to; and
instances that nothing needed, that are idle and have been for long enough, are given back, the
dearest first, never below `minvCpus`. Instances that were lost or never registered are given back
whatever else holds.

An environment passes `maxvCpus` by at most one instance, and never for on-demand BEST_FIT.
Instances count from their order to their end on record, so an order whose answer was lost counts as
well.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from longshore.domain.capacity import Environment, QueueDemand, Snapshot
from longshore.domain.decision import Decision, ScalingSettings
from longshore.domain.pool import ONE_VCPU, Pool
from longshore.domain.resources import Resources

HEALTHY = "ComputeEnvironment Healthy"
NO_TYPES = "CLIENT_ERROR - None of the instance types of the compute environment is known."
NONE_JOINED = (
    "CLIENT_ERROR - Your compute environment has been INVALIDATED and scaled down because "
    "none of the instances joined the underlying ECS Cluster."
)
#: Instances that fail one after the other before their environment turns INVALID.
FAILURES_LIMIT = 3


def decide(snapshot: Snapshot, now: datetime, settings: ScalingSettings) -> list[Decision]:
    """Decides for every managed compute environment, in the snapshot's order."""
    needs = [shape.need for queue in snapshot.queues for shape in queue.shapes] or [ONE_VCPU]
    least = Resources(min(n.vcpu_milli for n in needs), min(n.memory_mib for n in needs))
    pools = {env.name: Pool(env, _assess(env), least) for env in snapshot.environments}
    for instance in snapshot.instances:
        if pool := pools.get(instance.compute_environment):
            pool.add(instance, now, settings)
    for queue in sorted(snapshot.queues, key=lambda queue: (-queue.priority, queue.name)):
        _serve(queue, pools)
    for pool in pools.values():
        pool.fill()
    return [
        pool.decision(pool.idle(now, settings)) for pool in pools.values() if pool.env.is_managed
    ]


def _assess(env: Environment) -> Environment:
    """The environment with the status that it deserves.

    A client's update is what heals an INVALID one.
    """
    if env.status in ("CREATING", "UPDATING", "VALID") and env.is_managed:
        if not env.instance_types:
            return replace(env, status="INVALID", status_reason=NO_TYPES)
        if env.failures >= FAILURES_LIMIT:
            return replace(env, status="INVALID", status_reason=NONE_JOINED)
    if env.status in ("CREATING", "UPDATING"):
        return replace(env, status="VALID", status_reason=HEALTHY)
    return env


def _serve(queue: QueueDemand, pools: Mapping[str, Pool]) -> None:
    """Covers a queue's demand by what is there, then by new instances."""
    usable = [pools[name] for name in queue.environments if name in pools]
    usable = [pool for pool in usable if pool.env.is_usable]
    for shape in queue.shapes:
        left = shape.runnable
        for pool in usable:
            left = pool.place(shape.need, left)
        for pool in usable:
            left = pool.grow(shape, left)
