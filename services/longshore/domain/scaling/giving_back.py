"""Which instances of a compute environment are given back because nothing needs them."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from longshore.domain.resources import Resources
from longshore.domain.scaling.capacity import Environment, Instance, InstanceState
from longshore.domain.scaling.decision import GiveBack, Leave, ScalingSettings


def is_outdated(instance: Instance, env: Environment) -> bool:
    """Whether an infrastructure update came after it was ordered."""
    return instance.is_ours and instance.generation < env.generation


def idle_delay(instance: Instance, env: Environment, settings: ScalingSettings) -> timedelta:
    """How long an instance is idle before it goes.

    The environment's own delay counts from the end of a job, so an instance that never ran one goes
    after the usual time.
    """
    if env.is_fargate:
        return timedelta(0)
    return env.scale_down_delay if instance.has_run and env.scale_down_delay else settings.idle


def may_idle(instance: Instance) -> bool:
    """Whether an instance of ours has nothing to do."""
    return instance.is_ours and instance.state is InstanceState.READY and not instance.live_attempts


def idle(
    unneeded: Iterable[Instance],
    env: Environment,
    now: datetime,
    settings: ScalingSettings,
    *,
    spare: float,
) -> list[GiveBack]:
    """What has been idle for long enough, the dearest first.

    Args:
        unneeded: instances that no waiting job was left to.
        env: their environment.
        now: the time.
        settings: how patient scaling is.
        spare: vCPUs that may go.
    """
    given = []
    for instance in sorted(unneeded, key=_dearest_first):
        if not may_idle(instance):
            continue
        delay = idle_delay(instance, env, settings)
        since = instance.idle_since or (instance.ordered_at if env.is_fargate else None)
        if since is None or now - since < delay or instance.vcpus > spare:
            continue
        spare -= instance.vcpus
        why = Leave.NO_JOB if env.is_fargate else Leave.IDLE
        given.append(GiveBack(instance.instance_id, why, idle=delay))
    return given


def consolidated(staying: Sequence[Instance], *, spare: float) -> GiveBack | None:
    """The dearest instance, less than half full, whose work would fit on the others.

    It drains: no job is ended for it, and what comes next goes to the others.
    """
    ready = [one for one in staying if one.state is InstanceState.READY]
    for instance in sorted(ready, key=_dearest_first):
        is_candidate = instance.is_ours and instance.live_attempts and instance.vcpus <= spare
        if not is_candidate or len(instance.held) != instance.live_attempts:
            continue
        held = _sum(instance.held)
        if 2 * held.vcpu_milli >= held.vcpu_milli + instance.free.vcpu_milli or (
            2 * held.memory_mib >= held.memory_mib + instance.free.memory_mib
        ):
            continue
        others = [one.free for one in ready if one is not instance and one.live_attempts]
        if _fit(instance.held, others):
            return GiveBack(instance.instance_id, Leave.CONSOLIDATED)
    return None


def _fit(needs: Sequence[Resources], rooms: Sequence[Resources]) -> bool:
    """Whether everything fits, the largest first, each where the least is free."""
    free = sorted(rooms, key=lambda room: room.vcpu_milli)
    for need in sorted(needs, key=lambda n: (n.gpus, n.vcpu_milli, n.memory_mib), reverse=True):
        for number, room in enumerate(free):
            if room.holds(need):
                free[number] = room - need
                break
        else:
            return False
    return True


def _sum(amounts: Iterable[Resources]) -> Resources:
    return sum(amounts, start=Resources(0, 0, 0))


def _dearest_first(instance: Instance) -> tuple[float, datetime, str]:
    return (
        -instance.price_per_hour,
        instance.idle_since or instance.ordered_at,
        instance.instance_id,
    )
