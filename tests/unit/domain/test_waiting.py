"""Why a RUNNABLE job cannot be placed at all."""

from typing import Any

import pytest
from support.shapes import a_shape

from longshore.domain.catalogue import Catalogue, local_types
from longshore.domain.placement import Shape
from longshore.domain.waiting import (
    DISABLED,
    INVALID,
    MAX_RESOURCE,
    NO_ENVIRONMENT,
    TOO_LARGE,
    EnvironmentFacts,
    blocked_reason,
)

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


def why(shape: Shape, *environments: EnvironmentFacts) -> str | None:
    return blocked_reason(shape, environments, CATALOGUE)


def test_what_fits_waits_for_nothing_but_room() -> None:
    assert why(a_shape(vcpus=8), an_environment()) is None


def test_a_queue_without_environments() -> None:
    assert why(a_shape()) == NO_ENVIRONMENT


def test_invalid_comes_before_disabled() -> None:
    assert why(a_shape(), an_environment(valid=False)) == INVALID
    assert why(a_shape(), an_environment(enabled=False)) == DISABLED
    assert why(a_shape(), an_environment(valid=False, enabled=False)) == INVALID
    assert why(a_shape(), an_environment(valid=False), an_environment(enabled=False)) == DISABLED


def test_one_usable_environment_is_enough() -> None:
    assert why(a_shape(), an_environment(valid=False), an_environment()) is None


def test_more_vcpus_than_any_environment_may_have() -> None:
    assert why(a_shape(vcpus=17), an_environment(), an_environment(maxv_cpus=8)) == MAX_RESOURCE
    assert why(a_shape(vcpus=1), an_environment(maxv_cpus=0)) == MAX_RESOURCE


@pytest.mark.parametrize(
    "shape", [a_shape(vcpus=1, memory_mib=16_384), a_shape(vcpus=1, gpus=2), a_shape(vcpus=17)]
)
def test_larger_than_any_instance(shape: Shape) -> None:
    """Some memory of each instance is kept back, so the whole of it is too much."""
    assert why(shape, an_environment(maxv_cpus=1000)) == TOO_LARGE


def test_memory_and_vcpus_must_be_had_in_the_same_environment() -> None:
    small_but_many = an_environment(maxv_cpus=100, instance_types=("local.eighth",))
    large_but_few = an_environment(maxv_cpus=4)
    assert why(a_shape(vcpus=8), large_but_few, small_but_many) == TOO_LARGE


def test_machines_that_join_have_no_known_bound() -> None:
    assert why(a_shape(vcpus=1000), an_environment(managed=False, maxv_cpus=None)) is None
