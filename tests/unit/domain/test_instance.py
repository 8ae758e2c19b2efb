"""When an instance that is given back may be ended."""

from datetime import UTC, datetime, timedelta

import pytest

from longshore.domain.instance import (
    AgentStatus,
    InstanceRecord,
    InstanceStatus,
    RestartPolicy,
    Step,
    next_step,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = timedelta(seconds=60)


@pytest.mark.parametrize(
    ("agent", "live", "running", "since", "stopped", "step"),
    [
        ("DRAINING", 1, True, 9999, None, Step.WAIT),
        ("READY", 1, True, 9999, None, Step.WAIT),
        ("DRAINING", 0, True, 1, None, Step.WAIT),
        ("READY", 0, True, 59, None, Step.WAIT),
        ("DRAINING", 0, True, 60, None, Step.STOP),
        (None, 0, True, 0, None, Step.STOP),
        ("LOST", 1, True, 0, None, Step.STOP),
        ("DRAINING", 0, True, 99, 59, Step.WAIT),
        ("DRAINING", 0, True, 99, 60, Step.KILL),
        ("DRAINING", 0, False, 1, None, Step.RECORD),
        ("DRAINING", 1, False, 1, None, Step.REVIVE),
        ("LOST", 1, False, 1, None, Step.RECORD),
        (None, 0, False, 1, None, Step.RECORD),
    ],
)
def test_next_step(
    agent: str | None, live: int, running: bool, since: int, stopped: int | None, step: Step
) -> None:
    """Live attempts on a reachable agent hold it; otherwise a grace each for exit and end."""
    record = InstanceRecord(
        instance_id="i-1",
        compute_environment="a",
        instance_type="c6i.large",
        vcpus=2,
        memory_mib=4096,
        gpus=0,
        status=InstanceStatus.TERMINATING,
        agent=AgentStatus(agent) if agent else None,
        live_attempts=live,
    )
    assert step is next_step(
        record,
        is_running=running,
        since=NOW - timedelta(seconds=since),
        stopped_at=None if stopped is None else NOW - timedelta(seconds=stopped),
        now=NOW,
        grace=GRACE,
    )


def test_restarts_wait_longer_and_end() -> None:
    """Doubling up to a bound, then no more."""
    policy = RestartPolicy()
    delays = [policy.delay(deaths) for deaths in range(1, 7)]
    assert [delay and delay.total_seconds() for delay in delays] == [0.2, 0.4, 0.8, 1.6, None, None]
