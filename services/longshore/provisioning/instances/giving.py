"""Giving instances back, and the end of their records."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import structlog

from longshore.domain.instance import EndAsked, InstanceRecord, InstanceStatus, Step, next_step
from longshore.provisioning.instances.watch import ReconcilePass, RecordEnd, Watch, run_all
from longshore.provisioning.provider import Provider
from longshore.state.leadership import Leadership
from longshore.state.provisioning import instance as records

log = structlog.get_logger()

#: Instances that are cleaned up after at one time.
CLEANERS = 4
#: How long the provider has to take the wish that instances end.
TERMINATE_SECONDS = 15.0


class GivingBack:
    """Moves TERMINATING instances on, step by step."""

    def __init__(self, leadership: Leadership, provider: Provider, grace: timedelta) -> None:
        self._leadership = leadership
        self._provider = provider
        self._grace = grace

    def advance(
        self, record: InstanceRecord, watch: Watch, current: ReconcilePass, *, is_running: bool
    ) -> bool:
        """Takes note of the next step of an instance; True if it is to be started again."""
        step, due = next_step(
            record,
            EndAsked(stopped_at=watch.stopped_at, killed_at=watch.killed_at),
            is_running=is_running,
            revives=self._provider.revives,
            now=current.now,
            grace=self._grace,
        )
        if due is not None:
            current.due.append(due)
        if step is Step.STOP:
            current.stop.append(record.instance_id)
        elif step is Step.KILL:
            current.kill.append(record.instance_id)
        elif step is Step.RECORD:
            # One that was to go at a time of its own, as after a notice, did not fail to join.
            never_joined = record.agent is None and record.launched_at and not record.drain_until
            status = InstanceStatus.FAILED if never_joined else InstanceStatus.TERMINATED
            current.over.append(RecordEnd(record.instance_id, status))
        return step is Step.REVIVE

    async def end(self, current: ReconcilePass, watches: Mapping[str, Watch]) -> None:
        """Has the provider end what the steps of this pass said."""
        for ids, force in ((current.stop, False), (current.kill, True)):
            if not ids:
                continue
            with current.asking("terminate"):
                async with asyncio.timeout(TERMINATE_SECONDS):
                    await self._provider.terminate(ids, force=force)
                for instance_id in ids:
                    watch = watches[instance_id]
                    if force:
                        watch.killed_at = current.now
                    else:
                        watch.stopped_at = current.now
                    log.info("instance.stopping", instance_id=instance_id, force=force)
                current.due.append(current.now + self._grace)

    async def finish(self, current: ReconcilePass) -> None:
        """Cleans up after instances that are over, then ends their records."""
        cleaners = asyncio.Semaphore(CLEANERS)

        async def finish(over: RecordEnd) -> None:
            async with cleaners:
                if not over.is_elsewhere:
                    await self._provider.clean(over.instance_id)
                async with self._leadership.transaction() as conn:
                    await records.ended(
                        conn, over.instance_id, over.status, over.reason, asked_at=over.asked_at
                    )
            log.info(
                "instance.ended",
                instance_id=over.instance_id,
                status=over.status,
                reason=over.reason,
            )

        await run_all(map(finish, current.over))
