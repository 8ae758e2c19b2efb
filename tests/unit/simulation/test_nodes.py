"""Multi-node jobs in simulations: cases worked out by hand, and what must hold in every one."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.simulation.building import (
    Watched,
    a_queue,
    a_workload,
    an_environment,
    jobs,
    simulate,
    summary,
)

from longshore.domain.errors import InvalidRequest, LimitExceeded
from longshore.simulation.duration import microseconds
from longshore.simulation.prepare import prepare
from longshore.simulation.report import to_json
from longshore.simulation.summary import summarise
from longshore.simulation.workload import Workload, parse

SECOND = 1_000_000


def wide(maximum: int = 6, **members: Any) -> list[dict[str, Any]]:
    """One environment of two vCPUs an instance."""
    return [an_environment(maxvCpus=maximum, **members)]


def test_nodes_start_together_and_hold_their_instances_whole() -> None:
    """Three instances from 60 s on: two single jobs on one until 360 s, two nodes until 660 s.

    Each instance is idle for a minute before and after. Of two vCPUs a node asks for one.
    """
    simulation = simulate(
        a_workload(jobs(count=2), jobs("train", nodes=2, duration=600), computeEnvironments=wide())
    )
    found = summarise(simulation)
    assert found.makespan_seconds == 660
    assert found.jobs.total == found.jobs.succeeded == 3
    assert (found.waits[0].started, found.waits[0].max_seconds) == (3, 60)
    assert found.cost == pytest.approx(0.085 * (420 + 2 * 720) / 3600, abs=1e-6)
    assert found.idle_cost == pytest.approx(0.085 * 3 * 120 / 3600, abs=1e-6)
    used = 2 * 300 + 2 * 2 * 600
    assert found.vcpu_utilisation == pytest.approx(used / (2 * (420 + 2 * 720)), abs=1e-6)
    at = {point.at_us // SECOND: point for point in simulation.timeline.points}
    assert at[60].vcpus == ((0, 0, 6),)
    assert (at[60].waiting, at[60].running, at[60].instances) == (0, 3, 3)
    assert at[360].vcpus == ((0, 2, 4),)
    assert (at[360].running, at[660].running) == (1, 0)


def test_single_jobs_run_beside_nodes_that_gather_and_do_not_take_what_is_held() -> None:
    """Two instances: `one` has a vCPU of the first until 360 s, the other is there at 80 s.

    It is held for `train`, and the first as well once `train` has waited for a minute: of `short`
    one job runs, at 60 s. `train` has both from 360 s to 960 s, and the other 19 go four at a time.
    """
    simulation = simulate(
        a_workload(
            jobs("one"),
            jobs("train", queue="n", at=10, nodes=2, duration=600),
            jobs("short", at=20, count=20, duration=60),
            computeEnvironments=wide(4),
            queues=[a_queue("q"), a_queue("n")],
        )
    )
    found = summarise(simulation)
    waits = {wait.queue: wait for wait in found.waits}
    assert waits["n"].max_seconds == 350
    assert waits["q"].max_seconds == 960 + 4 * 60 - 20
    assert found.makespan_seconds == 960 + 5 * 60
    at = {point.at_us // SECOND: point for point in simulation.timeline.points}
    assert (at[360].running, at[360].waiting) == (1, 19)
    assert at[360].vcpus == ((0, 0, 4),)
    assert found.is_complete


def test_a_type_that_is_named_is_the_one_that_is_had() -> None:
    found = summary(
        a_workload(
            jobs("train", nodes=3, instanceType="m6i.large"),
            computeEnvironments=wide(8, instanceTypes=["c6i.large", "m6i.large"]),
        )
    )
    assert {t.instance_type: t.instances for t in found.instance_types} == {"m6i.large": 3}
    assert found.is_complete


def test_spot_environments_of_the_queue_are_passed_over() -> None:
    found = summary(
        a_workload(
            jobs("train", nodes=2),
            computeEnvironments=[
                an_environment(
                    "S", type="SPOT", allocationStrategy="SPOT_CAPACITY_OPTIMIZED", maxvCpus=64
                ),
                an_environment("A"),
            ],
            queues=[a_queue("q", "S", "A")],
        )
    )
    assert {e.name: e.instances for e in found.compute_environments} == {"S": 0, "A": 2}
    assert found.is_complete


def test_jobs_that_are_submitted_together_are_jobs_of_their_own() -> None:
    """Three jobs of two nodes on four instances: two at a time; what depends waits for all."""
    found = summary(
        a_workload(
            jobs("train", nodes=2, count=3),
            jobs("after", dependsOn=[{"job": "train"}]),
            computeEnvironments=wide(8),
        )
    )
    assert found.jobs.total == 4
    assert found.makespan_seconds == 60 + 3 * 300
    assert found.waits[0].max_seconds == 360


def test_failed_tries_are_tried_again_with_all_nodes() -> None:
    rules = [{"action": "RETRY", "onReason": "*", "onExitCode": "1"}]
    part = jobs("train", nodes=2, attempts=3, failureRate=1, evaluateOnExit=rules)
    found = summary(a_workload(part))
    assert (found.jobs.failed, found.jobs.attempts_retried) == (1, 2)
    assert found.makespan_seconds == 60 + 3 * 300


class Losing(Watched):
    """Loses the instance of one node, a while after the nodes began to run."""

    def __init__(self, workload: Workload, *, main: bool) -> None:
        super().__init__(prepare(workload), seed=1, until_us=microseconds(workload.until, "until"))
        self._loses_main: bool | None = main

    async def _step(self) -> None:
        await super()._step()
        lives = [a for member in self.fleet.members.values() for a in member.attempts]
        if self._loses_main is not None and lives:
            lost = next(a for a in lives if (a.main is None) is self._loses_main)
            self._loses_main = None
            self.provider.interrupt(lost.member.instance_id)


def lost(*, main: bool, **members: Any) -> Losing:
    """A job of three nodes, of which one loses its instance; it has notice at 60 s until 180 s."""
    simulation = Losing(
        a_workload(jobs("train", nodes=3, duration=600, **members), computeEnvironments=wide(8)),
        main=main,
    )
    asyncio.run(simulation.run())
    return simulation


def test_the_loss_of_the_main_nodes_instance_ends_the_try() -> None:
    simulation = lost(main=True)
    found = summarise(simulation)
    assert (found.jobs.failed, found.interruptions) == (1, 1)
    # Stopped half a minute before the end of the notice, the other nodes at the same time.
    assert found.makespan_seconds == 60 + 90
    assert found.cost == pytest.approx(0.085 * (150 + 2 * 210) / 3600, abs=1e-6)


def test_a_try_that_lost_its_main_node_is_followed_by_another_of_all_nodes() -> None:
    """Two instances wait for the third, which was ordered as the notice came."""
    found = summarise(lost(main=True, attempts=2))
    assert (found.jobs.succeeded, found.jobs.attempts_retried) == (1, 1)
    assert sum(t.instances for t in found.instance_types) == 4
    assert found.waits[0].started == 1
    assert found.makespan_seconds == pytest.approx(150 + 60 + 600, abs=1)


def test_the_loss_of_another_nodes_instance_is_nothing_to_the_job() -> None:
    simulation = lost(main=False)
    found = summarise(simulation)
    assert (found.jobs.succeeded, found.jobs.attempts_retried, found.interruptions) == (1, 0, 1)
    assert found.makespan_seconds == 660
    assert found.cost == pytest.approx(0.085 * (150 + 2 * 720) / 3600, abs=1e-6)


def test_more_nodes_than_an_environment_may_have_are_told() -> None:
    """And nothing is held for them: the single jobs are not kept waiting."""
    found = summary(a_workload(jobs("train", nodes=3), jobs(count=4, duration=600)))
    assert [(b.queue, b.jobs) for b in found.blocked] == [("q", 1)]
    assert "COMPUTE_ENVIRONMENT_MAX_RESOURCE" in found.blocked[0].reason
    assert found.jobs.succeeded == 4
    assert found.makespan_seconds == 660


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"nodes": 0}, "$.jobs[0].nodes: expected `int` >= 1."),
        ({"nodes": 1001}, "$.jobs[0].nodes: expected `int` <= 1000."),
        ({"nodes": 2, "arraySize": 2}, "$.jobs[0]: nodes and arraySize exclude each other: no"),
        ({"instanceType": "c6i.large"}, "$.jobs[0]: instanceType is for jobs with nodes alone."),
        ({"nodes": 2, "instanceType": "c6i"}, "$.jobs[0].instanceType: 'c6i' is not known."),
        (
            {"nodes": 2, "instanceType": "fargate.1x2048"},
            "$.jobs[0].instanceType: 'fargate.1x2048' is not known.",
        ),
        (
            {"nodes": 2, "queue": "s"},
            (
                "$.jobs[0].queue: multi-node jobs run in compute environments of type EC2 alone; "
                "queue 's' has none."
            ),
        ),
        ({"nodes": 2, "queue": "f"}, "$.jobs[0].queue: multi-node jobs run in compute"),
    ],
)
def test_what_is_wrong_with_nodes_is_told_with_its_path(
    members: dict[str, Any], message: str
) -> None:
    content = {
        "computeEnvironments": [
            an_environment("A"),
            an_environment("S", type="SPOT", allocationStrategy="SPOT_CAPACITY_OPTIMIZED"),
            {"name": "F", "type": "FARGATE", "maxvCpus": 4},
        ],
        "queues": [a_queue("q", "S", "A"), a_queue("s", "S"), a_queue("f", "F")],
        "jobs": [jobs(**members)],
    }
    with pytest.raises(InvalidRequest) as raised:
        prepare(parse(json.dumps(content).encode()))  # JSON is YAML
    assert raised.value.message.startswith(message)


def test_nodes_count_towards_the_most_jobs() -> None:
    with pytest.raises(LimitExceeded, match="more than 1,000,000 jobs"):
        prepare(a_workload(jobs(nodes=1000, count=1001)))


def test_single_jobs_do_not_keep_nodes_from_the_one_instance_that_is_missing() -> None:
    """Two instances are idle and a third may be ordered; four single jobs come at the same time."""
    found = summary(
        a_workload(
            jobs("first", count=4),
            jobs("train", at=365, nodes=3),
            jobs("short", at=365, count=4),
            computeEnvironments=wide(6),
            until="1d",
        )
    )
    assert found.is_complete


def test_instances_that_are_too_small_make_room_also_if_later_nodes_would_fit() -> None:
    """Four small ones are idle and all that may be; `large` waits for four of another type."""
    found = summary(
        a_workload(
            jobs("first", nodes=4),
            jobs("large", at=100, nodes=4, memory=7000),
            jobs("later", at=110, nodes=4),
            computeEnvironments=wide(
                8,
                instanceTypes=["c6i.large", "m6i.large"],
                allocationStrategy="BEST_FIT_PROGRESSIVE",
            ),
            until="1d",
        )
    )
    assert found.is_complete


def test_a_job_of_one_node_has_its_instance_to_itself() -> None:
    found = summary(a_workload(jobs(), jobs("alone", nodes=1, at=70), computeEnvironments=wide(4)))
    assert found.waits[0].max_seconds == pytest.approx(60, abs=1)


MIXED = st.fixed_dictionaries(
    {
        "nodes": st.sampled_from([None, 1, 2, 3, 5]),
        "queue": st.sampled_from(["q", "other"]),
        "count": st.integers(1, 6),
        "at": st.integers(0, 400),
        "vcpus": st.sampled_from([0.5, 1, 2]),
        "memory": st.sampled_from([512, 3000, 7000]),
        "duration": st.integers(1, 500),
        "attempts": st.integers(1, 3),
        "failureRate": st.sampled_from([0, 0.3]),
    }
)
PARTS = st.lists(MIXED, min_size=1, max_size=6)


def a_mixed_workload(parts: list[dict[str, Any]], maximum: int, **market: Any) -> Workload:
    """Single and multi-node jobs in two queues that share instances, with what may go wrong."""
    return a_workload(
        *(
            jobs(f"part-{number}", **{k: v for k, v in part.items() if v is not None})
            for number, part in enumerate(parts)
        ),
        computeEnvironments=[
            an_environment(
                "spot", type="SPOT", allocationStrategy="SPOT_CAPACITY_OPTIMIZED", maxvCpus=8
            ),
            an_environment(
                "some",
                maxvCpus=maximum,
                instanceTypes=["c6i.large", "m6i.large"],
                allocationStrategy="BEST_FIT_PROGRESSIVE",
            ),
            an_environment("more", maxvCpus=12, instanceTypes=["c6i.xlarge", "m6i.large"]),
        ],
        queues=[a_queue("q", "spot", "some"), a_queue("other", "more", "some", priority=2)],
        market={"boot": 40, "bootSpread": 0.5, "interruptionsPerHour": 3} | market,
        settings={"bootLimit": 120},
        until="1d",
    )


@settings(max_examples=20, deadline=None)
@given(
    parts=PARTS,
    maximum=st.integers(2, 24),
    failures=st.sampled_from([0, 0.1]),
    seed=st.integers(0, 10_000),
)
def test_nodes_run_all_or_none_however_few_instances_there_may_be(
    parts: list[dict[str, Any]], maximum: int, failures: float, seed: int
) -> None:
    """What nodes must be to each other is looked at after every step (`Watched`).

    Whatever does not end is told why it never will: nobody waits for what is held for others.
    """
    workload = a_mixed_workload(parts, maximum, bootFailures=failures)
    simulation = simulate(workload, seed=seed)
    backlog = simulation.backlog
    total = sum(part["count"] for part in parts)
    assert backlog.succeeded + backlog.failed + backlog.unfinished == total
    assert [b for b in simulation.blocked if b.reason == "Still waiting for capacity."] == []


@settings(max_examples=20, deadline=None)
@given(parts=PARTS, seed=st.integers(0, 10_000))
def test_every_job_ends_where_there_may_be_instances_enough(
    parts: list[dict[str, Any]], seed: int
) -> None:
    workload = a_mixed_workload(parts, 1_000)
    simulation = simulate(workload, seed=seed)
    assert simulation.is_complete, simulation.blocked
    assert not simulation.fleet.members
    waits = simulation.backlog.waits.values()
    assert sum(map(len, waits)) == sum(part["count"] for part in parts)
    assert to_json(summarise(simulation)) == to_json(summary(workload, seed=seed))
