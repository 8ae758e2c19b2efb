"""What the tables say of instances, checked and kept beside the agents' streams."""

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial

import structlog

from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.job.ending import lost_reports
from longshore.domain.job.record import AttemptReport
from longshore.domain.placing.room import is_slot
from longshore.domain.placing.waiting import EnvironmentFacts
from longshore.scheduler.apart import apart, note, nothing
from longshore.scheduler.isolating import Pass
from longshore.scheduler.measuring import count_lost, count_noticed
from longshore.scheduler.memory import Memory
from longshore.scheduler.wire.session import Session
from longshore.state.pool import Connection
from longshore.state.scheduler import agent
from longshore.state.scheduler.agent import Health, Notice, Registration

log = structlog.get_logger()

#: `seen` of an instance that is over on record, whatever its agent says.
OVER = float("-inf")
#: Attempts of lost instances that are ended in one tick.
LOST_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class Silence:
    """How long silence of agents is borne, in seconds, where their environment does not say."""

    managed: float
    unmanaged: float

    def borne(self, environment: EnvironmentFacts | None) -> float:
        """Of the agents of an environment; None: one that was deleted."""
        if environment is None:
            return self.managed
        if environment.lost_after_seconds is not None:
            return environment.lost_after_seconds
        return self.managed if environment.managed else self.unmanaged


@dataclass(frozen=True, slots=True)
class Checked:
    """What is found of an instance whose agent registers."""

    #: It takes no attempts from the beginning: it is on its way out, or it is a slot that was used,
    #: or was out of sight and may have been.
    draining: bool
    #: Of which type it was ordered, and how long it took from its launch on, if its agent registers
    #: for the first time.
    instance_type: str | None = None
    boot_seconds: float | None = None


async def check_instance(conn: Connection, memory: Memory, registration: Registration) -> Checked:
    """Checks an instance whose agent registers.

    Raises:
        NotFound: the compute environment does not exist, or the instance is not on record yet.
        PreconditionFailed: the instance is over on record, or belongs elsewhere.
    """
    name = registration.compute_environment
    environment = memory.topology.environments.get(name)
    if environment is None:
        raise NotFound(
            f"Compute environment {name} does not exist; create it first, or name another one."
        )
    record = await agent.on_record(conn, registration.instance_id, name)
    if registration.unmanaged:
        if environment.managed:
            raise PreconditionFailed(
                f"Compute environment {name} is MANAGED: its instances are ordered, "
                "machines join UNMANAGED ones."
            )
        return Checked(record.is_noticed)
    if record.is_awaited:
        # It booted faster than the provider answered. Refused, its agent would end it.
        raise NotFound(
            f"Instance {registration.instance_id} of {name} is not on record yet; its order is "
            "being answered."
        )
    if record.compute_environment != name or record.status in (None, "TERMINATED", "FAILED"):
        raise PreconditionFailed(
            f"Instance {registration.instance_id} of {name} is not on record as live."
        )
    is_used = is_slot(registration.instance_type) and record.agent_status in ("DRAINING", "LOST")
    draining = record.status == "TERMINATING" or record.is_noticed or is_used
    return Checked(draining, record.instance_type, record.boot_seconds)


async def store_loads(conn: Connection, memory: Memory, now: datetime) -> None:
    """Stores how many attempts run on the instances where that changed."""
    loads = {
        instance_id: len(memory.instances[instance_id].attempts)
        for instance_id in memory.loads
        if instance_id in memory.instances
    }
    memory.loads.clear()

    async def store(part: Sequence[str]) -> None:
        await agent.set_load(conn, {instance_id: loads[instance_id] for instance_id in part}, now)

    tried = await apart(conn, list(loads), store, nothing)
    for instance_id, error in tried.failed:
        note("load", error, instance_id=instance_id)
    memory.loads.update(tried.left)


async def _set_status(
    conn: Connection, memory: Memory, instance_ids: Sequence[str], status: str
) -> list[str]:
    """Stores the status of instances; returns those of which it is stored."""
    paused = memory.aside.paused(status)

    async def store(part: Sequence[str]) -> None:
        await agent.set_status(conn, part, status)

    tried = await apart(conn, [i for i in instance_ids if i not in paused], store, nothing)
    for instance_id, error in tried.failed:
        memory.aside.add(status, instance_id, error, instance_id=instance_id)
    missing = {*paused, *tried.left, *(instance_id for instance_id, _ in tried.failed)}
    return [i for i in instance_ids if i not in missing]


async def store_healths(
    conn: Connection, memory: Memory, healths: Mapping[str, Health]
) -> tuple[list[str], dict[str, Health]]:
    """Takes in how instances fare.

    Returns those that can start something now, or no longer can, and what is taken in or is no
    news: the rest could not be stored yet.
    """
    paused = memory.aside.paused("health")
    news = {
        instance_id: health
        for instance_id, health in healths.items()
        if (instance := memory.instances.get(instance_id)) is not None and instance.health != health
    }

    async def store(part: Sequence[str]) -> None:
        await agent.set_health(conn, {instance_id: news[instance_id] for instance_id in part})

    tried = await apart(conn, [i for i in news if i not in paused], store, nothing)
    for instance_id, error in tried.failed:
        memory.aside.add("health", instance_id, error, instance_id=instance_id)
    missing = {*paused, *tried.left, *(instance_id for instance_id, _ in tried.failed)}
    settled = {i: health for i, health in healths.items() if i not in news or i not in missing}
    news = {i: health for i, health in news.items() if i not in missing}
    changed = []
    for instance_id, health in news.items():
        instance = memory.instances[instance_id]
        if health.fit is not instance.health.fit:
            changed.append(instance_id)
        if health.condition is not instance.health.condition:
            note = log.info if health.fit else log.warning
            note("instance.health", instance_id=instance_id, condition=health.condition.value)
            # What waits may go there now, or is to be told anew why it waits.
            memory.unpark_environment(instance.compute_environment)
        instance.health = health
    return changed, settled


async def drain_leaving(conn: Connection, memory: Memory) -> list[str]:
    """Drains the instances that are on their way out, and gives up those that are over.

    Returns those whose agents are to be told.
    """
    leaving = await agent.leaving(conn, list(memory.instances))
    draining = [i for i, leaves in leaving.items() if leaves.status == "TERMINATING"]
    await _set_status(conn, memory, draining, "DRAINING")
    memory.drains = {
        i: leaves.drain_until for i, leaves in leaving.items() if leaves.drain_until is not None
    }
    for instance_id, leaves in leaving.items():
        if leaves.status != "TERMINATING":
            memory.instances[instance_id].seen = OVER
    return _drain(memory, draining)


async def take_notices(
    conn: Connection, memory: Memory, notices: Sequence[Notice]
) -> tuple[list[str], list[str], list[Notice]]:
    """Drains the instances that will be taken away.

    Returns those of which that is news, those whose agents are to be told, and the notices that
    are not stored yet.
    """
    news: list[str] = []
    paused = memory.aside.paused("notice")

    async def store(part: Sequence[Notice]) -> None:
        news.extend(await agent.notice(conn, part))

    def save(_: Sequence[Notice]) -> Callable[[], None]:
        return partial(news.__delitem__, slice(len(news), None))

    due = [notice for notice in notices if notice.instance_id not in paused]
    tried = await apart(conn, due, store, save)
    for notice, error in tried.failed:
        memory.aside.add("notice", notice.instance_id, error, instance_id=notice.instance_id)
    refused = {n.instance_id for n in (*(notice for notice, _ in tried.failed), *tried.left)}
    refused |= paused
    for notice in notices:
        if notice.instance_id in news:
            _count_notice(memory, notice.instance_id)
            log.warning("instance.noticed", **asdict(notice))
    stored = [n.instance_id for n in notices if n.instance_id not in refused]
    return news, _drain(memory, stored), [n for n in notices if n.instance_id in refused]


def _count_notice(memory: Memory, instance_id: str) -> None:
    if (instance := memory.instances.get(instance_id)) is not None:
        count_noticed(instance.compute_environment)


def _drain(memory: Memory, instance_ids: Iterable[str]) -> list[str]:
    """Lets instances take nothing more; returns those that did until now."""
    told = []
    for instance_id in instance_ids:
        instance = memory.instances.get(instance_id)
        if instance is not None and not instance.draining:
            instance.draining = True
            told.append(instance_id)
            log.info("instance.draining", instance_id=instance_id)
    return told


async def find_lost(
    this: Pass,
    sessions: MutableMapping[str, Session],
    silence: Silence,
    heard_until: float,
) -> list[AttemptReport]:
    """Gives up instances that were silent for too long, and those that are over on record.

    An open stream is no sign of life, only what comes on it. All that agents said until
    `heard_until` is known. Of the attempts so many are ended in one tick; the others are found
    again in the mirror, or when it is loaded.
    """
    memory = this.memory
    environments = memory.topology.environments
    silent = [
        i.instance_id
        for i in memory.instances.values()
        if i.seen < heard_until - silence.borne(environments.get(i.compute_environment))
    ]
    for instance_id in await _set_status(this.conn, memory, silent, "LOST"):
        instance = memory.instances.pop(instance_id)
        lives = list(instance.attempts.values())
        memory.orphans += lives
        if lives or instance.seen != OVER:
            count_lost(instance.compute_environment)
            log.warning("instance.lost", instance_id=instance_id, attempts=len(lives))
        else:
            log.info("instance.over", instance_id=instance_id)
        if instance_id in sessions:
            sessions.pop(instance_id).close()
        memory.unpark_environment(instance.compute_environment)
    ended, memory.orphans = memory.orphans[:LOST_LIMIT], memory.orphans[LOST_LIMIT:]
    return lost_reports(ended, this.changes.now)
