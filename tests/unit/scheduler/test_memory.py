"""The mirror: attempts on instances that were lost and are there again."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime

from longshore.domain.fair_share import SharePolicy
from longshore.domain.job.job import JobKey
from longshore.domain.job.record import LiveAttempt
from longshore.domain.resources import Resources
from longshore.scheduler.memory import Memory
from longshore.scheduler.returning import hold_again
from longshore.state.scheduler.agent import Health
from longshore.state.scheduler.topology import QueueRow, Topology

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_memory() -> Memory:
    return Memory(topology=Topology({}, {}, frozenset()), shapes={}, runnable={}, reasons={})


def an_attempt(number: int, instance_id: str) -> LiveAttempt:
    return LiveAttempt(
        key=JobKey(uuid.UUID(int=number)),
        attempt=1,
        attempt_id=str(number),
        instance_id=instance_id,
        compute_environment="ce",
        held=Resources(1000, 1024, 0),
        log_stream_name="",
        placed_at=NOW,
        seq=number,
        job_queue="q",
        shape_id=1,
        attempts_max=1,
        timeout_seconds=None,
        array_size=None,
    )


def join(memory: Memory, instance_id: str) -> None:
    total = Resources(8000, 8192, 0)
    memory.add_instance(
        instance_id,
        "ce",
        "docker",
        total,
        draining=False,
        seen=0.0,
        instance_type="unmanaged",
        health=Health(),
    )


def test_an_agent_that_is_back_is_told_of_what_was_not_ended_yet() -> None:
    memory = a_memory()
    join(memory, "i-0")
    ended, left = an_attempt(1, "i-0"), an_attempt(2, "i-0")
    other = an_attempt(3, "i-1")
    for live in (ended, left, other):
        memory.hold(live)
    lost = memory.instances.pop("i-0")
    memory.orphans += lost.attempts.values()
    # So many a tick are ended; the agent registers before the next one.
    memory.release(ended)
    assert memory.told_of("i-0") == [left]
    join(memory, "i-0")
    assert memory.told_of("i-0") == [left]
    assert memory.orphans == [other]


def test_what_a_share_uses_follows_what_is_tried_undone_and_taken_up_again() -> None:
    topology = Topology(
        {"q": QueueRow("q", 1, deleting=False, compute_environments=(), policy=SharePolicy())},
        {},
        frozenset(),
    )
    memory = Memory(topology=topology, shapes={}, runnable={}, reasons={})
    live = replace(an_attempt(1, "i-0"), share="a")

    def used() -> int:
        memory.shares.settle(topology, NOW)
        return memory.shares.ledger.usages["q", "a"].running_milli

    memory.hold(live)
    assert used() == 1000
    saved = memory.save([(live.key, live.attempt)])
    memory.release(live)
    assert used() == 0
    memory.restore(saved)
    assert used() == 1000
    memory.release(live)
    hold_again(memory, [live])
    assert used() == 1000
