"""Why a RUNNABLE job cannot be placed at all."""

from datetime import timedelta
from typing import Any

import pytest
from support.shapes import NOW, a_shape

from longshore.domain.catalogue import Catalogue, local_types
from longshore.domain.order import SPOT
from longshore.domain.placing import words
from longshore.domain.placing.lacking import Lack, Lacking
from longshore.domain.placing.shapes import Shape
from longshore.domain.placing.waiting import (
    Block,
    CapacityShortage,
    EnvironmentFacts,
    Launched,
    Supply,
    Why,
    blocked,
    booting_for,
    wait_of,
)
from longshore.domain.resources import Resources

CATALOGUE = Catalogue(local_types(vcpus=16, memory_mib=16_384, gpus=1, architecture="x86_64"))


def an_environment(**facts: Any) -> EnvironmentFacts:
    """Enabled, valid, managed, 16 vCPUs of the local family at most."""
    usual: dict[str, Any] = {
        "name": "ce",
        "managed": True,
        "enabled": True,
        "valid": True,
        "maxv_cpus": 16,
        "instance_types": ("local",),
    }
    return EnvironmentFacts(**usual | facts)


def why(shape: Shape, *environments: EnvironmentFacts) -> Why | None:
    found = blocked(shape, environments, CATALOGUE)
    return None if found is None else found.why


def test_what_fits_waits_for_nothing_but_room() -> None:
    assert why(a_shape(vcpus=8), an_environment()) is None


def test_a_queue_without_environments() -> None:
    assert why(a_shape()) is Why.NO_ENVIRONMENT


def test_invalid_comes_before_disabled() -> None:
    assert why(a_shape(), an_environment(valid=False)) is Why.INVALID
    assert why(a_shape(), an_environment(enabled=False)) is Why.DISABLED
    assert why(a_shape(), an_environment(valid=False, enabled=False)) is Why.INVALID
    assert (
        why(a_shape(), an_environment(valid=False), an_environment(enabled=False)) is Why.DISABLED
    )


def test_one_usable_environment_is_enough() -> None:
    assert why(a_shape(), an_environment(valid=False), an_environment()) is None


def test_more_vcpus_than_any_environment_may_have() -> None:
    assert why(a_shape(vcpus=17), an_environment(), an_environment(maxv_cpus=8)) is Why.MAX_RESOURCE
    assert why(a_shape(vcpus=1), an_environment(maxv_cpus=0)) is Why.MAX_RESOURCE


@pytest.mark.parametrize(
    "shape", [a_shape(vcpus=1, memory_mib=16_384), a_shape(vcpus=1, gpus=2), a_shape(vcpus=17)]
)
def test_larger_than_any_instance(shape: Shape) -> None:
    """Some memory of each instance is kept back, so the whole of it is too much."""
    assert why(shape, an_environment(maxv_cpus=1000)) is Why.TOO_LARGE


def test_what_keeps_a_multi_node_job_from_ever_running() -> None:
    assert why(a_shape(vcpus=8, nodes=2), an_environment(maxv_cpus=32)) is None
    assert why(a_shape(vcpus=9, nodes=2), an_environment()) is Why.MAX_RESOURCE
    assert why(a_shape(vcpus=17, nodes=2), an_environment(maxv_cpus=1000)) is Why.TOO_LARGE
    assert why(a_shape(nodes=2), an_environment(purchase_option=SPOT)) is Why.UNSUPPORTED
    elsewhere = a_shape(nodes=2, instance_type="c5.large")
    assert why(elsewhere, an_environment(maxv_cpus=1000)) is Why.UNSUPPORTED


def test_memory_and_vcpus_must_be_had_in_the_same_environment() -> None:
    small_but_many = an_environment(maxv_cpus=100, instance_types=("local.eighth",))
    large_but_few = an_environment(maxv_cpus=4)
    assert why(a_shape(vcpus=8), large_but_few, small_but_many) is Why.TOO_LARGE


def test_fargate_has_a_slot_of_any_size_up_to_what_the_environment_may_have() -> None:
    fargate = an_environment(fargate=True, instance_types=(), maxv_cpus=4)
    assert why(a_shape(vcpus=4, memory_mib=30_720), fargate) is None
    assert why(a_shape(vcpus=8, memory_mib=16_384), fargate) is Why.MAX_RESOURCE


def test_an_environment_that_is_being_made_is_waited_for() -> None:
    creating = an_environment(valid=False, creating=True)
    assert why(a_shape(), creating, an_environment(valid=False)) is None
    assert why(a_shape(), an_environment(valid=False, creating=True, enabled=False)) is Why.INVALID


# ---------------------------------------------------------------- shortages


def a_shortage(instance_type: str = "local.host", **members: Any) -> CapacityShortage:
    """What the provider said ten seconds ago; it is asked again in fifty."""
    usual: dict[str, Any] = {
        "zone": "",
        "purchase_option": "ON_DEMAND",
        "reason": "INSUFFICIENT_INSTANCE_CAPACITY",
        "at": NOW - timedelta(seconds=10),
        "until": NOW + timedelta(seconds=50),
    }
    return CapacityShortage(instance_type, **usual | members)


def launched(environment: str = "ce", *, vcpus: int = 16, **members: Any) -> Launched:
    """One instance that is up, ordered before anything was short."""
    usual: dict[str, Any] = {
        "booting": False,
        "count": 1,
        "first_at": NOW - timedelta(hours=1),
        "last_at": NOW - timedelta(hours=1),
    }
    return Launched(environment, "local.host", Resources(vcpus * 1000, 16_352), **usual | members)


def why_short(shape: Shape, supply: Supply, *environments: EnvironmentFacts) -> Block | None:
    return blocked(shape, environments or (an_environment(),), CATALOGUE, supply)


def test_no_capacity_names_the_type_of_the_latest_refusal() -> None:
    earlier = a_shortage("local.half", at=NOW - timedelta(seconds=30))
    supply = Supply((earlier, a_shortage()))
    assert why_short(a_shape(vcpus=8), supply) == Block(Why.NO_CAPACITY, "local.host")


def test_a_shortage_of_what_would_not_fit_or_is_bought_otherwise_is_none() -> None:
    assert why_short(a_shape(vcpus=9), Supply((a_shortage("local.half"),))) is None
    assert why_short(a_shape(), Supply((a_shortage(purchase_option="SPOT"),))) is None
    assert why_short(a_shape(), Supply((a_shortage("m5.large"),))) is None


def test_every_environment_that_could_hold_the_job_must_be_short() -> None:
    supply = Supply((a_shortage(),))
    spot = an_environment(name="spot", purchase_option="SPOT")
    assert why_short(a_shape(), supply, an_environment(), spot) is None
    too_small = an_environment(name="small", purchase_option="SPOT", maxv_cpus=2)
    reason = why_short(a_shape(vcpus=8), supply, an_environment(), too_small)
    assert reason == Block(Why.NO_CAPACITY, "local.host")


def test_where_an_instance_boots_or_came_since_nothing_is_short() -> None:
    short = (a_shortage(),)
    assert why_short(a_shape(), Supply(short, (launched(),))) == Block(
        Why.NO_CAPACITY, "local.host"
    )
    assert why_short(a_shape(), Supply(short, (launched(booting=True),))) is None
    assert why_short(a_shape(), Supply(short, (launched(last_at=NOW),))) is None
    small = launched(vcpus=2, booting=True)
    assert why_short(a_shape(vcpus=8), Supply(short, (small,))) == Block(
        Why.NO_CAPACITY, "local.host"
    )


def test_an_environment_that_is_full_is_not_short() -> None:
    assert why_short(a_shape(vcpus=8), Supply((a_shortage(),), vcpus={"ce": 9})) is None
    assert why_short(a_shape(vcpus=8), Supply((a_shortage(),), vcpus={"ce": 8})) is not None


def test_refusals_that_are_no_lack_of_capacity() -> None:
    assert why_short(a_shape(), Supply((a_shortage(reason="UNSUPPORTED"),))) == Block(
        Why.UNSUPPORTED
    )
    assert why_short(a_shape(), Supply((a_shortage(reason="NOT_PERMITTED"),))) == Block(
        Why.NOT_PERMITTED
    )
    assert words.blocked(Block(Why.NOT_PERMITTED)) == (
        "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS \N{EN DASH} Batch service role has a permission "
        "issue."
    )
    assert why_short(a_shape(), Supply((a_shortage(reason="THROTTLED"),))) is None


def test_a_slot_is_short_for_jobs_of_its_size_only() -> None:
    fargate = an_environment(fargate=True, instance_types=())
    supply = Supply((a_shortage("fargate.1x2048"),))
    name = Block(Why.NO_CAPACITY, "fargate.1x2048")
    assert why_short(a_shape(vcpus=1, memory_mib=2048), supply, fargate) == name
    assert why_short(a_shape(vcpus=1, memory_mib=3072), supply, fargate) is None


def test_our_own_words_name_types_zones_and_the_next_try() -> None:
    shortages = [
        a_shortage(zone="eu-1b"),
        a_shortage(zone="eu-1a"),
        a_shortage("local.half", reason="PRICE_TOO_LOW", until=NOW + timedelta(seconds=20)),
    ]
    assert words.short_of(shortages) == (
        "The provider has none left: local.host in eu-1a, eu-1b (INSUFFICIENT_INSTANCE_CAPACITY); "
        f"local.half (PRICE_TOO_LOW). It is asked again at {NOW + timedelta(seconds=20):%H:%M:%S} "
        "UTC."
    )


def test_machines_that_join_have_no_known_bound() -> None:
    assert why(a_shape(vcpus=1000), an_environment(managed=False, maxv_cpus=None)) is None


PASSING = (Why.NO_INSTANCE, Why.NO_ROOM, Why.CAPPED, Why.NO_UNITS)


@pytest.mark.parametrize("why", [one for one in Why if one not in PASSING])
def test_what_blocks_has_aws_s_words(why: Why) -> None:
    said = words.blocked(Block(why))
    dash = "\N{EN DASH}" if why is Why.NOT_PERMITTED else "-"
    assert said.startswith(f"{words.code_of(why)} {dash} ")
    assert words.blocked(Block(why, "a.large")) == f"{said} [a.large]"


def test_one_decision_is_told_everywhere() -> None:
    fits, room = an_environment(), Lacking({Lack.VCPU: 1})
    wait = wait_of(a_shape(vcpus=8), [fits], room, CATALOGUE, Supply())
    assert (wait.block, wait.why) == (None, Why.NO_ROOM)
    assert words.hint(wait.why, words.waits(wait)) == words.waits(wait)
    assert words.code_of(wait.why) == "WAITING_FOR_CAPACITY"
    none = wait_of(a_shape(vcpus=8), [fits], Lacking({}), CATALOGUE, Supply())
    assert none.why is Why.NO_INSTANCE
    throttled = Supply((a_shortage(reason="THROTTLED"),))
    assert wait_of(a_shape(), [fits], Lacking({}), CATALOGUE, throttled).why is Why.NO_ROOM
    assert wait_of(a_shape(nodes=2), [fits], Lacking({}, 2), CATALOGUE, Supply()).why is Why.NO_ROOM
    never = wait_of(a_shape(vcpus=17), [fits], room, CATALOGUE, Supply())
    assert never.why is Why.MAX_RESOURCE
    assert words.hint(never.why, "").startswith("Ask for fewer vCPUs")


def test_what_boots_counts_where_the_job_would_fit() -> None:
    large, small = launched(), launched(vcpus=1)
    assert booting_for(a_shape(vcpus=8), [large, small]) == (large,)
    assert booting_for(a_shape(vcpus=1), [large, small]) == (large, small)
