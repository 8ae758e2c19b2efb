"""When an instance that is given back may be ended."""

from datetime import UTC, datetime, timedelta

import pytest

from longshore.domain.instance import (
    AgentStatus,
    EndAsked,
    InstanceCondition,
    InstanceRecord,
    InstanceStatus,
    RestartPolicy,
    ShownStatus,
    Step,
    network_remark,
    next_step,
    shown_reason,
    shown_status,
    unfit_remark,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GRACE = timedelta(seconds=60)


def ago(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOW - timedelta(seconds=seconds)


def an_instance(agent: str | None, live: int, **times: datetime | None) -> InstanceRecord:
    """One that is on its way out."""
    return InstanceRecord(
        instance_id="i-1",
        compute_environment="a",
        instance_type="c6i.large",
        vcpus=2,
        memory_mib=4096,
        gpus=0,
        status=InstanceStatus.TERMINATING,
        agent=AgentStatus(agent) if agent else None,
        live_attempts=live,
        **times,
    )


def step(
    record: InstanceRecord,
    *,
    running: bool = True,
    stopped: float | None = None,
    killed: float | None = None,
    revives: bool = True,
) -> tuple[Step, datetime | None]:
    return next_step(
        record,
        EndAsked(stopped_at=ago(stopped), killed_at=ago(killed)),
        is_running=running,
        revives=revives,
        now=NOW,
        grace=GRACE,
    )


@pytest.mark.parametrize(
    ("agent", "live", "running", "since", "stopped", "expected"),
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
        ("DRAINING", 1, False, 9, 1, Step.RECORD),
        ("LOST", 1, False, 1, None, Step.RECORD),
        (None, 0, False, 1, None, Step.RECORD),
    ],
)
def test_next_step(
    agent: str | None, live: int, running: bool, since: int, stopped: int | None, expected: Step
) -> None:
    """Live attempts on a reachable agent hold it; otherwise a grace each for exit and end."""
    record = an_instance(agent, live, terminating_at=ago(since))
    assert step(record, running=running, stopped=stopped)[0] is expected


def test_what_is_gone_at_a_cloud_is_gone() -> None:
    """Its attempts are over with it."""
    record = an_instance("DRAINING", 1, terminating_at=ago(1))
    assert step(record, running=False, revives=False)[0] is Step.RECORD


def test_the_grace_begins_with_the_end_of_the_last_attempt() -> None:
    """However long ago the instance was given back: its agent ships logs."""
    record = an_instance("DRAINING", 0, terminating_at=ago(9999), idle_since=ago(20))
    assert step(record) == (Step.WAIT, NOW + timedelta(seconds=40))


@pytest.mark.parametrize(
    ("left", "expected"), [(1, Step.WAIT), (0, Step.WAIT), (-89, Step.WAIT), (-90, Step.STOP)]
)
def test_attempts_that_are_stopped_get_their_time(left: int, expected: Step) -> None:
    """Thirty seconds to end and a grace to say so, from the time at which they are stopped."""
    record = an_instance("DRAINING", 1, terminating_at=ago(999), drain_until=ago(-left))
    found, due = step(record)
    assert found is expected
    assert due == (NOW + timedelta(seconds=left + 90) if expected is Step.WAIT else None)


def test_the_end_of_a_notice_is_the_end() -> None:
    """Whatever runs; and what was killed and is still there is killed again a grace later."""
    times = {"terminating_at": ago(120), "drain_until": ago(35)}
    before = an_instance("DRAINING", 1, **times, ends_at=ago(-1))
    assert step(before) == (Step.WAIT, NOW + timedelta(seconds=1))
    after = an_instance("DRAINING", 1, **times, ends_at=ago(0))
    assert step(after)[0] is Step.KILL
    assert step(after, killed=1) == (Step.WAIT, NOW + timedelta(seconds=59))
    assert step(after, killed=60)[0] is Step.KILL
    assert step(after, running=False)[0] is Step.RECORD


@pytest.mark.parametrize(
    ("status", "agent", "is_seen", "was_asked", "shown"),
    [
        ("ORDERED", None, False, False, "ORDERED"),
        ("LAUNCHED", None, False, False, "LAUNCHING"),
        ("LAUNCHED", None, True, False, "BOOTING"),
        ("LAUNCHED", "READY", True, False, "READY"),
        ("LAUNCHED", "DRAINING", True, False, "DRAINING"),
        ("LAUNCHED", "LOST", True, False, "LOST"),
        ("TERMINATING", "READY", True, True, "DRAINING"),
        ("TERMINATING", "LOST", True, True, "LOST"),
        ("TERMINATED", "LOST", True, True, "TERMINATED"),
        ("TERMINATED", "LOST", True, False, "LOST"),
        ("FAILED", None, True, True, "FAILED"),
    ],
)
def test_shown_status(
    status: str, agent: str | None, is_seen: bool, was_asked: bool, shown: str
) -> None:
    """Record and agent in one word."""
    found = shown_status(
        InstanceStatus(status),
        AgentStatus(agent) if agent else None,
        InstanceCondition.HEALTHY,
        is_seen=is_seen,
        was_asked=was_asked,
    )
    assert found == shown


@pytest.mark.parametrize(
    ("status", "agent", "shown"),
    [
        ("LAUNCHED", "READY", "DISK_FULL"),
        ("LAUNCHED", "DRAINING", "DRAINING"),
        ("LAUNCHED", "LOST", "LOST"),
        ("TERMINATING", "READY", "DRAINING"),
        ("LAUNCHED", None, "BOOTING"),
    ],
)
def test_what_ails_a_ready_instance_is_shown_as_its_status(
    status: str, agent: str | None, shown: str
) -> None:
    found = shown_status(
        InstanceStatus(status),
        AgentStatus(agent) if agent else None,
        InstanceCondition.DISK_FULL,
        is_seen=True,
        was_asked=False,
    )
    assert found == shown


def test_an_instance_s_reason_is_all_that_is_said_of_it() -> None:
    said = {"health_detail": "full", "network": "bridge", "network_detail": "refused"}
    assert shown_reason(ShownStatus.DISK_FULL, "because", **said) == (
        "because; full; Containers join bridge: refused"
    )
    assert shown_reason(ShownStatus.TERMINATED, "because", **said) == "because"
    assert (
        shown_reason(ShownStatus.READY, "", health_detail="", network="sandbox", network_detail="")
        == ""
    )


def test_remarks_name_one_of_many() -> None:
    assert unfit_remark(InstanceCondition.ENGINE_AWAY, 1, "i-1", "It is off.") == (
        "Instance i-1 takes no jobs: its engine does not answer (It is off)."
    )
    assert unfit_remark(InstanceCondition.QUARANTINED, 3, "i-1", "") == (
        "3 instances take no jobs, i-1 for one: it is quarantined after failed starts."
    )
    assert network_remark("bridge", 2, "i-1", "refused.") == (
        "Containers on 2 instances, i-1 for one, join bridge: refused."
    )


def test_restarts_wait_longer_and_end() -> None:
    """Doubling up to a bound, then no more."""
    policy = RestartPolicy()
    delays = [policy.delay(deaths) for deaths in range(1, 7)]
    assert [delay and delay.total_seconds() for delay in delays] == [0.2, 0.4, 0.8, 1.6, None, None]
