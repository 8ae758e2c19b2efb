"""Jobs that block the head of a queue: told when they begin to, ended where that takes too long.

Whether one does is `longshore.domain.placing.time_limit`'s to decide; here the first job of each
queue in question is read, and who blocks it since when is kept on record, so that a successor goes
on counting. A queue is told of once when a reason begins to block it, whoever stands first then,
and again after another reason, or none.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import structlog

from longshore.domain.catalogue import Catalogue
from longshore.domain.placing.round import Ground
from longshore.domain.placing.shapes import QueueEntry
from longshore.domain.placing.sharing import first_in_turn
from longshore.domain.placing.time_limit import (
    Blockage,
    TimeLimit,
    first_of,
    key_of,
    overdue,
    see,
    watched,
)
from longshore.domain.placing.waiting import Why
from longshore.scheduler.isolating import Pass
from longshore.scheduler.memory import Memory
from longshore.scheduler.requesting import act_on
from longshore.state.scheduler import job_transition, queue_blockage, ready
from longshore.state.scheduler.job_request import JobRequest

log = structlog.get_logger()

#: Seconds between looks: the limits are minutes and hours.
LOOK_SECONDS = 1.0
_ASIDE = "time limit"


async def end_overdue(this: Pass, catalogue: Catalogue) -> None:
    """Looks who stands first in queues that have time limits, and ends who does so for too long."""
    memory, now = this.memory, time.monotonic()
    if now < memory.fronts_due_at:
        return
    memory.fronts_due_at = now + LOOK_SECONDS
    limits = {
        queue.name: queue.time_limits
        for queue in memory.topology.queues.values()
        if not queue.deleting
    }
    if memory.reasons or memory.blockages:
        await this.part("time limits", lambda: _look(this, catalogue, limits), None)


async def _look(
    this: Pass, catalogue: Catalogue, limits: Mapping[str, tuple[TimeLimit, ...]]
) -> None:
    memory = this.memory
    queues = sorted(watched(limits, _reasons(memory, limits)) - memory.aside.paused(_ASIDE))
    seen: dict[str, Blockage | None] = dict.fromkeys(memory.blockages.keys() - set(queues))
    said: dict[str, str | None] = {}

    async def act(part: Sequence[str]) -> None:
        fronts = await _fronts(this, memory.ground(catalogue), part)
        requests = {}
        for queue in part:
            entry = fronts.get(queue)
            reason = None if entry is None else memory.reasons.get(entry.shape_id)
            blockage = see(
                memory.blockages.get(queue),
                None if entry is None else key_of(entry),
                None if reason is None else reason.why,
                this.changes.now,
            )
            said[queue] = None if reason is None else reason.blocked_reason
            past = blockage and overdue(blockage, limits[queue], this.changes.now)
            if blockage and past:
                requests[blockage.key] = _request(queue, blockage, past)
                blockage = None
            seen[queue] = blockage
        if requests:
            keys = [key for one in requests for key in (one, one.parent)]
            rows = await job_transition.load(this.conn, keys)
            await act_on(this.conn, this.changes, memory, requests, rows)

    tried = await this.act(queues, act)
    for queue, error in tried.failed:
        memory.aside.add(_ASIDE, queue, error, job_queue=queue)
    undone = {*tried.left, *(queue for queue, _ in tried.failed)}
    await _keep(this, {queue: one for queue, one in seen.items() if queue not in undone}, said)


def _request(queue: str, blockage: Blockage, limit: TimeLimit) -> JobRequest:
    log.info("job.past_time_limit", job_id=str(blockage.key), job_queue=queue, reason=blockage.code)
    return JobRequest(0, blockage.key, terminate=limit.terminates, reason=limit.status_reason)


def _reasons(memory: Memory, queues: Collection[str]) -> dict[str, set[Why]]:
    """Why jobs of some queues wait."""
    found: dict[str, set[Why]] = defaultdict(set)
    for shape_id, reason in memory.reasons.items():
        queue = memory.shapes[shape_id].job_queue
        if queue in queues and reason.why is not None:
            found[queue].add(reason.why)
    return found


async def _fronts(this: Pass, ground: Ground, queues: Sequence[str]) -> dict[str, QueueEntry]:
    """The first entry of each of some queues; in turn where it has a policy."""
    shared = [queue for queue in queues if queue in ground.policies]
    fronts = await ready.fronts(this.conn, [q for q in queues if q not in ground.policies])
    if not shared:
        return fronts
    waiting = ground.waiting_shares()
    by_queue: dict[str, list[int]] = defaultdict(list)
    for shape_id in ground.runnable:
        by_queue[ground.shapes[shape_id].job_queue].append(shape_id)
    for queue in shared:
        standings = ground.ledger.standings(
            queue, ground.policies[queue], waiting.get(queue, set()), this.changes.now
        )
        chosen = first_in_turn(ground.shapes, by_queue[queue], standings, 1)
        entries, _ = await ready.first(this.conn, chosen, 1) if chosen else ((), None)
        if entries:
            fronts[queue] = first_of(entries, ground.shapes)
    return fronts


async def _keep(
    this: Pass, seen: Mapping[str, Blockage | None], said: Mapping[str, str | None]
) -> None:
    """Puts what is news on record, and tells of reasons that block queues from now on."""
    known = this.memory.blockages
    gone = [queue for queue, blockage in seen.items() if blockage is None and queue in known]
    news = {
        queue: blockage
        for queue, blockage in seen.items()
        if blockage is not None and known.get(queue) != blockage
    }
    await queue_blockage.forget(this.conn, gone)
    await queue_blockage.store(this.conn, news)
    await queue_blockage.tell(
        this.conn,
        {
            queue: (blockage.key, text)
            for queue, blockage in news.items()
            if (text := said.get(queue))
            and (queue not in known or known[queue].code != blockage.code)
        },
    )
    for queue in gone:
        del known[queue]
    known.update(news)
