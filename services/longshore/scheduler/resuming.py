"""What earlier ticks left to follow: taken up first, and one that fails is set aside by itself."""

from collections.abc import Sequence
from dataclasses import replace

from prometheus_client import Histogram

from longshore.domain.job.happening import Following
from longshore.domain.job.life import STEPS_LIMIT
from longshore.scheduler.apart import PART, apart, nothing
from longshore.scheduler.following import parts_of
from longshore.scheduler.isolating import Pass
from longshore.state.scheduler import happening
from longshore.state.scheduler.happening import Kept

#: Happenings of earlier ticks taken up in one.
RESUME_LIMIT = STEPS_LIMIT // 4

STEPS = Histogram(
    "longshore_scheduler_follow_steps",
    "Happenings, edges and children looked at in a tick.",
    buckets=(1, 10, 100, 1_000, 5_000, 10_000, 20_000),
)


async def resume(this: Pass) -> None:
    """Follows what earlier ticks left."""
    memory = this.memory
    if not memory.has_happenings:
        return
    paused = memory.aside.paused("happening")
    limit = RESUME_LIMIT + len(paused)
    found = await this.part("happenings", lambda: happening.kept(this.conn, limit), None)
    if found is None:
        # There may be some, without haste.
        memory.has_happenings = False
        return
    kept = [one for one in found if one.happening_id not in paused][:RESUME_LIMIT]

    async def follow(part: Sequence[Kept]) -> None:
        await _follow(this, part)

    tried = await apart(this.conn, kept, follow, lambda _: this.save())
    more = bool(tried.left) or len(kept) == RESUME_LIMIT
    for one, error in tried.failed:
        if await _follow_one_round(this, one) or await _split(this, one):
            more = True
        else:
            memory.aside.add("happening", one.happening_id, error, happening=str(one.happening))
    memory.has_happenings = more


async def _follow(this: Pass, part: Sequence[Kept]) -> None:
    earlier, this.changes.happenings = this.changes.happenings, [one.happening for one in part]
    await happening.done(this.conn, [one.happening_id for one in part])
    await this.follow()
    this.changes.happenings[:0] = earlier


async def _follow_one_round(this: Pass, kept: Kept) -> bool:
    """Follows what happened, but not what follows from that: it may be what fails.

    That is for the next tick. False if this fails as well.
    """
    allowance = replace(this.allowance, rounds=1)

    async def follow(part: Sequence[Kept]) -> None:
        await _follow(replace(this, allowance=allowance), part)

    tried = await apart(this.conn, [kept], follow, lambda _: this.save())
    this.allowance.take(allowance.taken - this.allowance.taken)
    return not tried.failed


async def _split(this: Pass, kept: Kept) -> bool:
    """Keeps what happened for each that it reaches instead, to find out which fails.

    They are for the next tick. False if it has no parts, or they cannot be kept.
    """
    is_split = False

    async def split(part: Sequence[Kept]) -> None:
        nonlocal is_split
        for one in part:
            parts = await parts_of(this.conn, one.happening)
            if parts:
                await happening.keep(this.conn, parts)
                await happening.done(this.conn, [one.happening_id])
            is_split = bool(parts)

    return not (await apart(this.conn, [kept], split, nothing)).failed and is_split


async def suspend(this: Pass) -> bool:
    """Keeps what is left for a later tick; True if there is anything to follow now.

    What cannot be kept on record is kept in the mirror until it can.
    """
    memory = this.memory
    left = [*memory.unkept, *this.changes.happenings]
    paused = memory.aside.paused("unkept")
    waiting = [one for one in left if one in paused]

    async def keep(part: Sequence[Following]) -> None:
        await happening.keep(this.conn, part)

    due = [one for one in left if one not in paused] if waiting else left
    tried = await apart(this.conn, due, keep, nothing)
    for one, error in tried.failed:
        memory.aside.add("unkept", one, error, happening=str(one))
    memory.unkept = [*waiting, *tried.left, *(one for one, _ in tried.failed)]
    goes_on = memory.has_happenings or len(memory.unkept) < len(left)
    # What is passed over is looked for again, without haste.
    passed_over = memory.aside.keys("happening") or memory.aside.keys(PART)
    memory.has_happenings = goes_on or bool(passed_over)
    if this.allowance.taken:
        STEPS.observe(this.allowance.taken)
    return goes_on
