"""Brings records and provider together, one pass at a time."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from longshore.domain.errors import StaleLease
from longshore.domain.instance import (
    AgentStatus,
    InstanceRecord,
    InstanceStatus,
    RestartPolicy,
    Step,
    next_step,
)
from longshore.provisioning.provider import Found, LaunchError, Provider
from longshore.state import instance as records
from longshore.state import lease
from longshore.state.pool import Connection, Pool, connection, transaction

log = structlog.get_logger()

LEASE_DOMAIN = "provisioning"
LEASE_SECONDS = 30.0
#: How long all instances get to end when the service stops them.
STOP_SECONDS = 20.0
#: How often a stopping service looks, beside being told when a process ends.
POLL_SECONDS = 0.5
#: Instances that are cleaned up after at one time.
CLEANERS = 4
#: How long after a try to clean up the next one comes, for what could not be cleaned up.
CLEAN_AGAIN = timedelta(seconds=60)
STOPPED = "The instance was stopped together with longshore."


@dataclass(slots=True)
class _Watch:
    """What this process remembers of an instance from pass to pass."""

    started_at: datetime
    deaths: int = 0
    restart_at: datetime | None = None
    terminating_since: datetime | None = None
    stopped_at: datetime | None = None


@dataclass(slots=True)
class _Pass:
    """What one pass saw and did."""

    running: dict[str, str]
    now: datetime
    #: When something will be due again.
    due: list[datetime] = field(default_factory=list)
    #: Instances that are over: id, status, reason.
    over: list[tuple[str, InstanceStatus, str | None]] = field(default_factory=list)


class Reconciler:
    """One pass compares; `wake_after` asks for the next one when something will be due."""

    def __init__(
        self,
        pool: Pool,
        provider: Provider,
        *,
        grace: timedelta,
        wake_after: Callable[[float], None],
        restarts: RestartPolicy | None = None,
        holder: str | None = None,
    ) -> None:
        """Makes a reconciler; it takes the lease in its first pass.

        Args:
            pool: the database.
            provider: what instances come from.
            grace: see `longshore.domain.instance.next_step`.
            wake_after: asks for a pass in so many seconds.
            restarts: how agents that die are started again.
            holder: names who reconciles; the same name takes its own lease back at once, so it
                names the machine and not the process.
        """
        self._pool = pool
        self._provider = provider
        self._grace = grace
        self._wake_after = wake_after
        self._restarts = restarts or RestartPolicy()
        self._holder = holder or f"{provider.name}:{socket.gethostname()}"
        self._token: int | None = None
        self._watches: dict[str, _Watch] = {}
        self._strays: dict[str, datetime] = {}
        self._cleaned_at: datetime | None = None
        self._ended = asyncio.Event()

    async def tick(self) -> bool:
        """One pass; False while another machine holds the lease."""
        if not await self._hold():
            return False
        found = {entry.instance_id: entry.provider_id for entry in await self._provider.describe()}
        async with connection(self._pool) as conn:
            live = {record.instance_id: record for record in await self._live(conn)}
        current = _Pass(found, datetime.now(UTC))
        for record in live.values():
            await self._advance(record, current)
        await self._end_strays(found.keys() - live.keys(), current)
        await self._finish(current)
        await self._clean_again(live.keys() | found.keys(), current.now)
        self._watches = {key: watch for key, watch in self._watches.items() if key in live}
        if current.due:
            wait = min(current.due) - datetime.now(UTC)
            self._wake_after(max(wait.total_seconds(), 0.01))
        return True

    def process_ended(self) -> None:
        """Notes that a process of the provider has ended, and asks for a pass."""
        self._ended.set()
        self._wake_after(0.0)

    async def stop_all(self) -> None:
        """Ends every instance: its agent, then its containers, then its record."""
        if not await self._hold():
            return
        async with connection(self._pool) as conn:
            live = await self._live(conn)
        ids = [entry.instance_id for entry in await self._provider.describe()]
        await self._provider.terminate(ids, force=False)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while await self._provider.describe():
                    self._ended.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._ended.wait(), POLL_SECONDS)
        except TimeoutError:
            await self._provider.terminate(ids, force=True)
            log.warning("instances.killed", after_seconds=STOP_SECONDS)
        current = _Pass({}, datetime.now(UTC))
        current.over = [(record.instance_id, InstanceStatus.TERMINATED, STOPPED) for record in live]
        await self._finish(current)

    async def release(self) -> None:
        """Gives the lease back."""
        if self._token is not None:
            async with connection(self._pool) as conn:
                await lease.release(conn, LEASE_DOMAIN, self._token)
            self._token = None

    async def _hold(self) -> bool:
        async with transaction(self._pool) as conn:
            if self._token is not None:
                try:
                    await lease.renew(conn, LEASE_DOMAIN, self._token, LEASE_SECONDS)
                except StaleLease:
                    log.warning("lease.lost", domain=LEASE_DOMAIN)
                    self._token = None
                    raise
            else:
                self._token = await lease.acquire(conn, LEASE_DOMAIN, self._holder, LEASE_SECONDS)
        return self._token is not None

    async def _live(self, conn: Connection) -> list[InstanceRecord]:
        return await records.live(conn, self._provider.name)

    async def _advance(self, record: InstanceRecord, current: _Pass) -> None:
        """Moves one instance a step on."""
        watch = self._watches.setdefault(record.instance_id, _Watch(current.now))
        is_running = record.instance_id in current.running
        if record.status is InstanceStatus.TERMINATING:
            await self._give_back(record, watch, current)
        elif record.status is InstanceStatus.ORDERED:
            await self._launch(record, watch, current)
        elif not is_running:
            await self._revive(record, watch, current)

    async def _start(self, record: InstanceRecord, watch: _Watch, current: _Pass) -> Found | None:
        """Has the provider start an instance; None, and the instance is over, if it cannot."""
        try:
            found = await self._provider.launch(record)
        except LaunchError as error:
            current.over.append((record.instance_id, InstanceStatus.FAILED, error.message))
            return None
        watch.started_at = current.now
        return found

    async def _launch(self, record: InstanceRecord, watch: _Watch, current: _Pass) -> None:
        found = await self._start(record, watch, current)
        if found is None:
            return
        async with self._guarded() as conn:
            await records.launched(conn, record.instance_id, found.provider_id)
        log.info(
            "instance.launched",
            instance_id=record.instance_id,
            compute_environment=record.compute_environment,
            instance_type=record.instance_type,
            provider_id=found.provider_id,
        )

    async def _revive(self, record: InstanceRecord, watch: _Watch, current: _Pass) -> None:
        """Starts an instance again whose process is gone, or ends it on record."""
        if record.agent is AgentStatus.LOST:
            text = "Its agent was lost."
            current.over.append((record.instance_id, InstanceStatus.TERMINATED, text))
            return
        if record.agent is AgentStatus.DRAINING and not record.live_attempts:
            text = "It was drained."
            current.over.append((record.instance_id, InstanceStatus.TERMINATED, text))
            return
        if watch.restart_at is None:
            settled = current.now - watch.started_at >= self._restarts.settled
            watch.deaths = 1 if settled else watch.deaths + 1
            delay = self._restarts.delay(watch.deaths)
            log.warning(
                "instance.died", instance_id=record.instance_id, deaths_in_a_row=watch.deaths
            )
            if delay is None:
                text = f"Its agent ended {watch.deaths} times in a row; see its log."
                current.over.append((record.instance_id, InstanceStatus.FAILED, text))
                return
            watch.restart_at = current.now + delay
        if current.now < watch.restart_at:
            current.due.append(watch.restart_at)
            return
        watch.restart_at = None
        found = await self._start(record, watch, current)
        if found is None:
            return
        async with self._guarded() as conn:
            await records.relaunched(conn, record.instance_id, found.provider_id)
        log.info(
            "instance.restarted",
            instance_id=record.instance_id,
            provider_id=found.provider_id,
            deaths_in_a_row=watch.deaths,
        )

    async def _give_back(self, record: InstanceRecord, watch: _Watch, current: _Pass) -> None:
        """Moves a TERMINATING instance on."""
        watch.terminating_since = watch.terminating_since or current.now
        step = next_step(
            record,
            is_running=record.instance_id in current.running,
            since=watch.terminating_since,
            stopped_at=watch.stopped_at,
            now=current.now,
            grace=self._grace,
        )
        if step is Step.REVIVE:
            await self._revive(record, watch, current)
            return
        if step is Step.RECORD:
            never_joined = record.agent is None and record.was_launched
            status = InstanceStatus.FAILED if never_joined else InstanceStatus.TERMINATED
            current.over.append((record.instance_id, status, None))
            return
        if step is not Step.WAIT:
            await self._provider.terminate([record.instance_id], force=step is Step.KILL)
            watch.stopped_at = current.now
            log.info("instance.stopping", instance_id=record.instance_id, step=step)
        due = (watch.stopped_at or watch.terminating_since) + self._grace
        if due > current.now:
            current.due.append(due)

    async def _end_strays(self, strays: Iterable[str], current: _Pass) -> None:
        """Ends what the provider has and no live record asks for."""
        known, self._strays = self._strays, {}
        for instance_id in strays:
            since = self._strays[instance_id] = known.get(instance_id, current.now)
            force = current.now - since >= self._grace
            if instance_id not in known or force:
                log.warning("instance.stray", instance_id=instance_id, force=force)
                await self._provider.terminate([instance_id], force=force)
            current.due.append(since + self._grace)
        for instance_id in known.keys() - self._strays.keys():
            await self._provider.clean(instance_id)

    async def _clean_again(self, present: Collection[str], now: datetime) -> None:
        """Tries again to clean up after some of the instances where that did not work."""
        if self._cleaned_at is not None and now - self._cleaned_at < CLEAN_AGAIN:
            return
        gone = [key for key in await self._provider.remains() if key not in present]
        if not gone:
            return
        self._cleaned_at = now
        log.info("instances.cleaning_again", count=len(gone))
        await asyncio.gather(*map(self._provider.clean, gone[:CLEANERS]))

    async def _finish(self, current: _Pass) -> None:
        """Cleans up after instances that are over, then ends their records."""
        cleaners = asyncio.Semaphore(CLEANERS)

        async def finish(instance_id: str, status: InstanceStatus, reason: str | None) -> None:
            async with cleaners:
                await self._provider.clean(instance_id)
                async with self._guarded() as conn:
                    await records.ended(conn, instance_id, status, reason)
            log.info("instance.ended", instance_id=instance_id, status=status, reason=reason)

        async with asyncio.TaskGroup() as group:
            for over in current.over:
                group.create_task(finish(*over))

    @contextlib.asynccontextmanager
    async def _guarded(self) -> AsyncIterator[Connection]:
        """A transaction that only the holder of the lease commits."""
        async with transaction(self._pool) as conn:
            await lease.check(conn, LEASE_DOMAIN, self._token or 0)
            yield conn
