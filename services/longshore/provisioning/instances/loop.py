"""Brings records and provider together, one pass at a time."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

import structlog

from longshore.domain.instance import (
    AgentStatus,
    InstanceRecord,
    InstanceStatus,
    RestartPolicy,
    Step,
    next_step_elsewhere,
)
from longshore.provisioning.instances.giving import TERMINATE_SECONDS, GivingBack
from longshore.provisioning.instances.stray import Strays
from longshore.provisioning.instances.watch import ReconcilePass, RecordEnd, Watch, run_all
from longshore.provisioning.provider import LaunchError, Provider, ProviderInstance
from longshore.state.leadership import Leadership
from longshore.state.pool import Pool, connection
from longshore.state.provisioning import capacity_order
from longshore.state.provisioning import instance as records

log = structlog.get_logger()

#: How long the provider has to name its instances, and to start one.
DESCRIBE_SECONDS = 60.0
LAUNCH_SECONDS = 15.0
#: Instances that are launched at one time.
LAUNCHERS = 8
#: How long a provider that says that it launched an instance may take to show it.
SHOW_PATIENCE = timedelta(seconds=60)
#: How long all instances get to end when the service stops them: 30 s for their jobs to stop, 40 s
#: in which agents look for a scheduler and a log service to tell.
STOP_SECONDS = 75.0
#: How often a stopping service looks, beside being told when a process ends.
POLL_SECONDS = 0.5
STOPPED = "The instance was stopped together with longshore."
DRAINED = "It was drained."
AGENT_LOST = "Its agent was lost."
TAKEN = "The provider ended it."
TAKEN_BOOTING = "The provider took it back before its agent registered: {}"
NEVER_SHOWN = "The provider said that it launched it, and never showed it."
ENDED_BOOTING = "The provider ended it before its agent registered."
ELSEWHERE = "It was on another machine, whose provisioning is no longer at work."


class Reconciler:
    """One pass compares; `wake_after` asks for the next one when something will be due."""

    def __init__(
        self,
        pool: Pool,
        provider: Provider,
        *,
        leadership: Leadership,
        machine: str = "",
        grace: timedelta,
        wake_after: Callable[[float], None],
        restarts: RestartPolicy | None = None,
        show_patience: timedelta = SHOW_PATIENCE,
    ) -> None:
        """Makes a reconciler; it takes the lease in its first pass.

        Args:
            pool: the database.
            provider: what instances come from.
            leadership: the lease of provisioning.
            machine: this one, where instances are processes of the machine that ordered them; empty
                if the provider reaches them from anywhere.
            grace: see `longshore.domain.instance.next_step`.
            wake_after: asks for a pass in so many seconds.
            restarts: how agents that die are started again.
            show_patience: how long the provider may take to show what it launched.
        """
        self._pool = pool
        self._provider = provider
        self._leadership = leadership
        self._machine = machine
        self._grace = grace
        self._wake_after = wake_after
        self._restarts = restarts or RestartPolicy()
        self._show_patience = show_patience
        self._giving = GivingBack(leadership, provider, grace)
        self._strays = Strays(provider, grace)
        self._launchers = asyncio.Semaphore(LAUNCHERS)
        self._watches: dict[str, Watch] = {}
        self._ended = asyncio.Event()

    async def tick(self) -> bool:
        """One pass; False while another machine holds the lease.

        Raises:
            Unavailable: provider or database do not answer: nothing is concluded from that. Or
                another machine has taken the lease.
            TimeoutError: the provider does not answer.
        """
        if not await self._leadership.hold():
            return False
        async with asyncio.timeout(DESCRIBE_SECONDS):
            found = await self._provider.describe()
        # In this order, and after what the provider said: an instance that it has and that is not
        # on record then belongs to an order that is being answered, or to none.
        async with connection(self._pool) as conn:
            answering = {order.order_id for order in await capacity_order.open_orders(conn)}
            live = {r.instance_id: r for r in await records.live(conn, self._provider.name)}
        current = ReconcilePass(frozenset(entry.instance_id for entry in found), datetime.now(UTC))
        await self._note_seen(live.values(), current)
        for record in live.values():
            if self._is_elsewhere(record):
                self._advance_elsewhere(record, current)
            else:
                self._advance(record, current)
        await run_all(current.work)
        await self._end_unborn(current)
        await self._giving.end(current, self._watches)
        strays = [
            entry.instance_id
            for entry in found
            if entry.instance_id not in live and entry.order_id not in answering
        ]
        await self._strays.end(strays, current)
        await self._giving.finish(current)
        await self._strays.clean_again(live.keys() | current.running, current.now)
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
        """Ends every instance: what runs on it and its agent, what is left, then its record."""
        if not await self._leadership.hold():
            return
        async with self._leadership.transaction() as conn:
            live = await records.live(conn, self._provider.name)
            ours = [record.instance_id for record in live if not self._is_elsewhere(record)]
            # Drained, for what is stopped there is tried again as soon as it has ended.
            await records.terminating(conn, ours, STOPPED)
        ids = [entry.instance_id for entry in await self._provider.describe()]
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._provider.terminate(ids, force=False)
                while await self._provider.describe():
                    self._ended.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._ended.wait(), POLL_SECONDS)
                    # That may take longer than the lease lasts.
                    await self._leadership.hold()
        except TimeoutError:
            async with asyncio.timeout(TERMINATE_SECONDS):
                await self._provider.terminate(ids, force=True)
            log.warning("instances.killed", after_seconds=STOP_SECONDS)
        current = ReconcilePass(frozenset(), datetime.now(UTC))
        current.over = [
            RecordEnd(instance_id, InstanceStatus.TERMINATED, STOPPED) for instance_id in ours
        ]
        await self._giving.finish(current)

    async def _note_seen(self, live: Iterable[InstanceRecord], current: ReconcilePass) -> None:
        """Writes down which instances the provider shows for the first time."""
        new = [
            r.instance_id for r in live if r.seen_at is None and r.instance_id in current.running
        ]
        if new:
            async with self._leadership.transaction() as conn:
                await records.seen(conn, new)

    def _advance(self, record: InstanceRecord, current: ReconcilePass) -> None:
        """Moves one instance a step on; what takes time goes to the group."""
        watch = self._watches.setdefault(record.instance_id, Watch(current.now))
        is_running = record.instance_id in current.running
        if not is_running and (shown_by := self._may_be_shown_by(record)) > current.now:
            current.due.append(shown_by)
            is_running = True
        if record.status is InstanceStatus.TERMINATING:
            if self._giving.advance(record, watch, current, is_running=is_running):
                self._revive(record, watch, current)
        elif record.status is InstanceStatus.ORDERED:
            current.work.append(self._start(record, watch, current))
        elif not is_running:
            self._end_or_revive(record, watch, current)
        elif record.agent is AgentStatus.DRAINING and not record.live_attempts:
            # Its agent is to exit by itself, as that of a slot that was used: one that hangs is
            # ended as if the instance had been given back.
            self._giving.advance(record, watch, current, is_running=True)

    def _is_elsewhere(self, record: InstanceRecord) -> bool:
        return record.machine not in ("", self._machine)

    def _advance_elsewhere(self, record: InstanceRecord, current: ReconcilePass) -> None:
        """Ends the record of another machine's instance once it is of no use."""
        step, due = next_step_elsewhere(record, now=current.now, grace=self._grace)
        if due is not None:
            current.due.append(due)
        if step is Step.RECORD:
            is_wanted = record.status is not InstanceStatus.TERMINATING
            current.over.append(
                RecordEnd(
                    record.instance_id,
                    # None of its environment's failures: the machine that had it went away.
                    InstanceStatus.TERMINATED,
                    ELSEWHERE if is_wanted else None,
                    is_elsewhere=True,
                )
            )

    def _may_be_shown_by(self, record: InstanceRecord) -> datetime:
        """Until when an instance that the provider does not show may be there all the same."""
        if self._provider.revives or record.seen_at is not None or record.launched_at is None:
            return datetime.min.replace(tzinfo=UTC)
        return record.launched_at + self._show_patience

    def _end_or_revive(self, record: InstanceRecord, watch: Watch, current: ReconcilePass) -> None:
        """Starts an instance again that the provider does not have any more, or ends it."""
        status = InstanceStatus.TERMINATED
        if record.agent is AgentStatus.LOST:
            current.over.append(RecordEnd(record.instance_id, status, AGENT_LOST))
        elif record.agent is AgentStatus.DRAINING and not record.live_attempts:
            since = record.idle_since or current.now
            current.over.append(RecordEnd(record.instance_id, status, DRAINED, asked_at=since))
        elif self._provider.revives:
            self._revive(record, watch, current)
        elif record.agent is not None:
            current.over.append(RecordEnd(record.instance_id, status, TAKEN))
        else:
            current.unborn.append(record)

    async def _end_unborn(self, current: ReconcilePass) -> None:
        """Ends instances that went before their agents registered.

        Those that the provider took back are none of its environment's failures.
        """
        if not current.unborn:
            return
        with current.asking("taken_back"):
            async with asyncio.timeout(DESCRIBE_SECONDS):
                taken = await self._provider.taken_back([r.instance_id for r in current.unborn])
            for record in current.unborn:
                status, text = InstanceStatus.FAILED, NEVER_SHOWN
                if words := taken.get(record.instance_id):
                    status, text = InstanceStatus.TERMINATED, TAKEN_BOOTING.format(words)
                elif record.seen_at:
                    text = ENDED_BOOTING
                current.over.append(RecordEnd(record.instance_id, status, text))

    def _revive(self, record: InstanceRecord, watch: Watch, current: ReconcilePass) -> None:
        """Starts an instance again whose process is gone, with growing delays."""
        if watch.restart_at is None:
            settled = current.now - watch.started_at >= self._restarts.settled
            watch.deaths = 1 if settled else watch.deaths + 1
            delay = self._restarts.delay(watch.deaths)
            log.warning(
                "instance.died", instance_id=record.instance_id, deaths_in_a_row=watch.deaths
            )
            if delay is None:
                text = f"Its agent ended {watch.deaths} times in a row; see its log."
                current.over.append(RecordEnd(record.instance_id, InstanceStatus.FAILED, text))
                return
            watch.restart_at = current.now + delay
        if current.now < watch.restart_at:
            current.due.append(watch.restart_at)
            return
        current.work.append(self._start(record, watch, current))

    async def _start(self, record: InstanceRecord, watch: Watch, current: ReconcilePass) -> None:
        """Has the provider start an instance; it is over if that cannot be."""
        found: ProviderInstance | None = None
        async with self._launchers:
            with current.asking("launch"):
                try:
                    async with asyncio.timeout(LAUNCH_SECONDS):
                        found = await self._provider.launch(record)
                except LaunchError as error:
                    over = RecordEnd(record.instance_id, InstanceStatus.FAILED, error.message)
                    current.over.append(over)
        if found is None:
            return
        watch.started_at, watch.restart_at = current.now, None
        is_first = record.status is InstanceStatus.ORDERED
        async with self._leadership.transaction() as conn:
            note = records.launched if is_first else records.relaunched
            await note(conn, record.instance_id, found.provider_id)
        log.info(
            "instance.launched" if is_first else "instance.restarted",
            instance_id=record.instance_id,
            compute_environment=record.compute_environment,
            instance_type=record.instance_type,
            provider_id=found.provider_id,
            deaths_in_a_row=watch.deaths,
        )
