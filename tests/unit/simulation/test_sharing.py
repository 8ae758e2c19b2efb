"""Queues with a fair-share policy over days of virtual time."""

import asyncio
from typing import Any

import msgspec
import pytest
from unit.simulation.building import a_queue, a_workload, an_environment, jobs, simulate, summary

from longshore.domain.errors import InvalidRequest
from longshore.simulation.clock import moment
from longshore.simulation.driver import Simulation
from longshore.simulation.duration import SECOND, microseconds
from longshore.simulation.prepare import prepare
from longshore.simulation.report import to_text
from longshore.simulation.workload import Workload

HOUR = 3600


def fair(*parts: dict[str, Any], maxv_cpus: int = 40, until: str = "2d", **policy: Any) -> Workload:
    """Jobs of a queue with a policy, on instances of four vCPUs."""
    environment = an_environment(maxvCpus=maxv_cpus, instanceTypes=["c6i.xlarge"])
    members = {
        "computeEnvironments": [environment],
        "queues": [a_queue(schedulingPolicy="p")],
        "schedulingPolicies": [{"name": "p", **policy}],
    }
    # Nothing changes about instances once there are all: the scaler need not look often.
    settings = {"scaleInterval": "30m"}
    return a_workload(*parts, **members | {"until": until, "settings": settings})


def weights(**by_share: float) -> list[dict[str, Any]]:
    return [
        {"shareIdentifier": share, "weightFactor": weight} for share, weight in by_share.items()
    ]


def around(seconds: int) -> dict[str, Any]:
    return {"distribution": "uniform", "low": seconds // 2, "high": seconds * 3 // 2}


def held(workload: Workload, seed: int = 1) -> dict[str, float]:
    """VCPU time of each share."""
    run = Simulation(prepare(workload), seed=seed, until_us=microseconds(workload.until, "until"))
    asyncio.run(run.run())
    return {share: milli_us / 1e9 for (_, share), milli_us in run.shares.held.items()}


MIX = [
    # Arrays of 10,000 whose children run for long.
    jobs("a", shareIdentifier="a", arraySize=10_000, duration=1200),
    jobs(
        "b",
        shareIdentifier="b",
        arraySize=10_000,
        duration={"distribution": "uniform", "low": 600, "high": 3000},
    ),
]


@pytest.mark.parametrize("decay", [0, 7200])
def test_weights_of_one_and_four_get_four_to_one(decay: int) -> None:
    """Within 5 percent over two days in which both always have jobs waiting."""
    workload = fair(*MIX, shareDecaySeconds=decay, shareDistribution=weights(a=1.0, b=4.0))
    time = held(workload)
    assert time["a"] / time["b"] == pytest.approx(4.0, rel=0.05)


def test_with_parked_shapes_and_multi_node_jobs_in_the_mix() -> None:
    """Both shares have small jobs, jobs that fill an instance, and multi-node jobs."""
    parts = []
    for share in ("a", "b"):
        alike = {"shareIdentifier": share}
        parts += [
            jobs(f"s{share}", **alike, arraySize=10_000, duration=around(1200)),
            jobs(f"l{share}", **alike, vcpus=4, memory=4096, count=2_000, duration=around(1800)),
            jobs(f"n{share}", **alike, vcpus=4, nodes=3, count=200, duration=around(2400)),
            # Never fits: parked for ever.
            jobs(f"x{share}", **alike, vcpus=8, memory=8192, count=10, duration=60),
        ]
    workload = fair(*parts, shareDecaySeconds=14400, shareDistribution=weights(a=1.0, b=4.0))
    time = held(workload)
    assert time["a"] / time["b"] == pytest.approx(4.0, rel=0.05)


def test_weights_hold_where_a_cap_is_what_is_short() -> None:
    """The queue runs 20 jobs on up to 40 vCPUs; beside them arrays whose caps hold them back."""
    parts = [*MIX]
    for share in ("a", "b"):
        parts += [
            jobs(
                f"{share}-capped",
                shareIdentifier=share,
                count=10,
                arraySize=500,
                maxRunning=1,
                duration=around(1800),
            ),
            jobs(
                f"{share}-large", shareIdentifier=share, vcpus=4, count=500, duration=around(1800)
            ),
        ]
    workload = fair(*parts, shareDecaySeconds=7200, shareDistribution=weights(a=1.0, b=4.0))
    queue = msgspec.structs.replace(workload.queues[0], max_running=20)
    time = held(msgspec.structs.replace(workload, queues=(queue,)))
    assert time["a"] / time["b"] == pytest.approx(4.0, rel=0.05)


def test_a_newcomer_is_served_at_once() -> None:
    """It gets each vCPU that becomes free until it has its part, whatever waits longer."""
    workload = fair(
        *MIX,
        jobs("c", shareIdentifier="c", count=10, duration=600, at="10h"),
        shareDecaySeconds=7200,
        until="12h",
    )
    run = simulate(workload)
    assert run.shares.held["q", "c"] / 1e9 == 10 * 600
    used_at = run.shares.ledger.usages["q", "c"].used_at
    assert used_at is not None
    # Twelve vCPUs or more become free in ten minutes: then its last job began at the latest.
    assert (used_at - moment(10 * HOUR * SECOND)).total_seconds() < 600 + 600


def test_what_a_share_does_not_use_goes_to_the_other() -> None:
    time = held(
        fair(
            jobs("a", shareIdentifier="a", count=100, duration=300),
            jobs("b", shareIdentifier="b", count=500, duration=300),
            shareDistribution=weights(a=100.0, b=0.01),
        )
    )
    assert time == {"a": 100 * 300, "b": 500 * 300}


def test_a_reservation_is_kept_free_for_a_newcomer() -> None:
    """One active share may use half, so the newcomer starts at once on the other half."""
    workload = fair(
        jobs("a", shareIdentifier="a", count=200, duration="3h"),
        jobs("b", shareIdentifier="b", count=5, duration=60, at="5h"),
        computeReservation=50,
        until="6h",
    )
    run = simulate(workload)
    assert run.shares.held["q", "b"] / 1e9 == 5 * 60
    used_at = run.shares.ledger.usages["q", "b"].used_at
    assert used_at is not None
    # No instance was kept for it: one had to boot.
    assert (used_at - moment(5 * HOUR * SECOND)).total_seconds() < 60 + 120
    assert run.fleet.peak_milli < 40_000


def test_a_hundred_shares_are_alike() -> None:
    parts = [jobs(f"j{n}", shareIdentifier=f"s{n}", count=200, duration=1200) for n in range(100)]
    time = held(fair(*parts, shareDecaySeconds=14400, until="2d"))
    assert len(time) == 100
    assert max(time.values()) / min(time.values()) < 1.1


def test_the_summary_tells_what_shares_had() -> None:
    parts = [
        jobs("a", shareIdentifier="a", count=10, duration=360),
        jobs("b", shareIdentifier="b", count=30, duration=360),
    ]
    found = summary(fair(*parts, shareDistribution=weights(b=0.5)))
    assert [(s.share_identifier, s.weight_factor, s.vcpu_seconds) for s in found.shares] == [
        ("a", 1.0, 3600),
        ("b", 0.5, 10_800),
    ]
    text = to_text(found)
    assert "VCPU HOURS" in text
    assert "75.0%" in text


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"shareIdentifier": None}, r"\$.jobs\[0\].shareIdentifier"),
        ({"shareIdentifier": "a-b"}, r"\$.jobs\[0\].shareIdentifier"),
    ],
)
def test_what_is_wrong_with_a_share_is_told(change: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidRequest, match=where):
        prepare(fair(jobs("a", **{"shareIdentifier": "a"} | change)))


def test_what_is_wrong_with_a_policy_is_told() -> None:
    with pytest.raises(InvalidRequest, match=r"schedulingPolicies\[0\].computeReservation"):
        prepare(fair(jobs("a", shareIdentifier="a"), computeReservation=100))
    with pytest.raises(InvalidRequest, match=r"queues\[0\].schedulingPolicy"):
        prepare(a_workload(jobs("a"), queues=[a_queue(schedulingPolicy="none")]))
    with pytest.raises(InvalidRequest, match=r"jobs\[0\].shareIdentifier"):
        prepare(a_workload(jobs("a", shareIdentifier="a")))
