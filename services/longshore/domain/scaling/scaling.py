"""Scaling: which instances to add and which to give back, as a pure function of what is there.

Simple meaning:

1. Queues in descending priority, each of their shapes in dispatch order, are left to the room that
   there is on instances that are ready or booting, compute environment by compute environment.
2. What finds no room is blended onto new instances, of the first environment of its queue that may
   still grow, at the lowest price that its allocation strategy allows (`strategy`, `fleet`); what
   an environment has no capacity for goes on to the next one (`covering`).
3. Each environment is filled up to `minvCpus`, or to what a client raised `desiredvCpus` to.
4. Instances that nothing needs, that are idle and have been for long enough, are given back, the
   dearest first, never below `minvCpus`.

Whatever else holds, instances that were lost or never registered are given back, and so are those
from before an infrastructure update: new ones come beside them as far as maxvCpus allows.

An environment passes `maxvCpus` by at most one instance, and never for on-demand BEST_FIT or
Fargate. Instances count from their order to their end on record, so an order whose answer was lost
counts as well.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from longshore.domain.scaling.capacity import CapacitySnapshot, Environment, Instance, InstanceState
from longshore.domain.scaling.covering import cover
from longshore.domain.scaling.decision import Decision, ScalingSettings
from longshore.domain.scaling.estate import Estate
from longshore.domain.scaling.giving_back import idle_delay, is_outdated, may_idle
from longshore.domain.scaling.summing_up import sum_up

HEALTHY = "ComputeEnvironment Healthy"
NO_TYPES = "CLIENT_ERROR - None of the instance types of the compute environment is known."
NONE_JOINED = (
    "CLIENT_ERROR - Your compute environment has been INVALIDATED and scaled down because "
    "none of the instances joined the underlying ECS Cluster."
)
#: Instances that fail one after the other before their environment turns INVALID.
FAILURES_LIMIT = 3


def decide(snapshot: CapacitySnapshot, now: datetime, settings: ScalingSettings) -> list[Decision]:
    """Decides for every managed compute environment, in the snapshot's order."""
    instances: dict[str, list[Instance]] = {}
    for instance in snapshot.instances:
        instances.setdefault(instance.compute_environment, []).append(instance)
    estates = {}
    for env in snapshot.environments:
        there = instances.get(env.name, [])
        estates[env.name] = Estate(env, _assess(env, there), there, now, settings)
    covered = cover(estates, snapshot.queues)
    return [
        sum_up(pool, covered.unmet, now, settings) for pool in covered.pools if pool.env.is_managed
    ]


def _assess(env: Environment, instances: Iterable[Instance]) -> Environment:
    """The environment with the status that it deserves.

    A client's update is what heals an INVALID one. An infrastructure update lasts until the last
    instance from before it is gone.
    """
    if not env.is_managed:
        return env
    if env.status in ("CREATING", "UPDATING", "VALID"):
        if not env.offers and not env.is_fargate:
            return replace(env, status="INVALID", status_reason=NO_TYPES)
        if env.failures >= FAILURES_LIMIT:
            return replace(env, status="INVALID", status_reason=NONE_JOINED)
    is_updated = env.status == "UPDATING" and not any(is_outdated(one, env) for one in instances)
    if env.status == "CREATING" or is_updated:
        return replace(env, status="VALID", status_reason=HEALTHY)
    return env


def next_due(
    snapshot: CapacitySnapshot, now: datetime, settings: ScalingSettings
) -> datetime | None:
    """When a decision could first differ by time alone: an idle delay or a boot limit ends.

    None if no such time is to come. Times that have come already changed nothing: what is still
    there then is needed, or kept for minvCpus.
    """
    environments = {env.name: env for env in snapshot.environments if env.is_managed}
    times = []
    for instance in snapshot.instances:
        env = environments.get(instance.compute_environment)
        if env is None or not instance.is_ours:
            continue
        if instance.state is InstanceState.BOOTING:
            times.append(instance.ordered_at + settings.boot)
        elif may_idle(instance) and instance.idle_since is not None:
            times.append(instance.idle_since + idle_delay(instance, env, settings))
    return min((time for time in times if time > now), default=None)
