"""A round of scaling: when it could differ, when a pass goes on, what an environment has then."""

from support.scaling import NOW, SETTINGS, env, instance, jobs, queue

from longshore.domain.scaling import round as scaling_round
from longshore.domain.scaling.capacity import CapacitySnapshot
from longshore.domain.scaling.round import LOOK_LEAST, ROUNDS_MOST


def test_a_round_decides_for_each_environment_and_says_when_to_look_again() -> None:
    there = [instance(live_attempts=1)]
    snapshot = CapacitySnapshot([queue(jobs(3))], [env()], there)
    made = scaling_round.make(snapshot, NOW, SETTINGS)
    assert [decision.compute_environment for decision in made.decisions] == ["a"]
    assert made.environments["a"] is snapshot.environments[0]
    assert made.idle_at == NOW + max(SETTINGS.idle, LOOK_LEAST)
    assert scaling_round.make(CapacitySnapshot([], [env()], []), NOW, SETTINGS).idle_at is None


def test_a_pass_goes_on_while_the_provider_is_short_and_not_for_ever() -> None:
    assert not scaling_round.goes_on(1, was_short=False)
    assert scaling_round.goes_on(1, was_short=True)
    assert not scaling_round.goes_on(ROUNDS_MOST, was_short=True)


def test_what_was_missed_is_not_settled() -> None:
    made = scaling_round.make(CapacitySnapshot([queue(jobs(3))], [env()], []), NOW, SETTINGS)
    (decision,) = made.decisions
    assert decision.launches
    assert scaling_round.settled(decision, 0) == decision.desiredv_cpus
    assert scaling_round.settled(decision, decision.vcpus_wanted) == 0
    assert scaling_round.settled(decision, decision.vcpus_wanted + 5) == 0
