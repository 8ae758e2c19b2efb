"""What names of instance types stand for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longshore.domain.catalogue import (
    BUNDLES,
    FARGATE_SIZES,
    LOCAL_SHARES,
    Catalogue,
    CatalogueError,
    fargate_type,
    local_types,
    parse_catalogue,
)
from longshore.domain.resources import Resources

BUILT_IN = Catalogue()
LOCAL = local_types(vcpus=8, memory_mib=6000, gpus=1, architecture="x86_64")


def test_names_that_are_known() -> None:
    """Types, families, bundles and the local family; nothing else."""
    for name in (
        "c6i.large",
        "c6i",
        "optimal",
        "default_x86_64",
        "default_arm64",
        "local",
        *LOCAL_SHARES,
    ):
        assert BUILT_IN.known(name), name
    for name in ("", "c6i.tiny", "x7", "C6I", "local.huge", "large"):
        assert not BUILT_IN.known(name), name


def test_every_known_name_stands_for_types_of_one_architecture() -> None:
    """Bundles, families and single types alike."""
    catalogue = Catalogue(LOCAL)
    for name in (*BUNDLES, "c6i", "g5.xlarge", "local", "local.half"):
        kinds = catalogue.resolve([name])
        assert kinds
        assert len({kind.architecture for kind in kinds}) == 1


def test_types_come_once_and_in_order() -> None:
    """A type named before its family keeps its place."""
    names = [kind.name for kind in Catalogue().resolve(["c6i.xlarge", "c6i", "no.such"])]
    assert names[:3] == ["c6i.xlarge", "c6i.large", "c6i.2xlarge"]
    assert len(names) == len(set(names))


def test_an_architecture_filters() -> None:
    """The other one's types are left out."""
    assert Catalogue().resolve(["c6i", "c7g.medium"], "arm64")[0].name == "c7g.medium"


def test_the_local_family_divides_the_machine() -> None:
    """As many instances of a size as its share fill it, and only the whole has the GPUs."""
    host, half, quarter, eighth = LOCAL
    assert (host.vcpus, half.vcpus, quarter.vcpus, eighth.vcpus) == (8, 4, 2, 1)
    assert (host.memory_mib, eighth.memory_mib) == (6000, 750)
    assert (host.gpus, half.gpus) == (1, 0)
    assert host.offer.memory_mib == 6000 - 32


def test_the_data_is_plausible() -> None:
    """Memory and price per vCPU are in a range, the architecture is one of two."""
    kinds = list(Catalogue())
    assert len(kinds) >= 120
    for kind in kinds:
        assert kind.vcpus > 0
        assert 1600 <= kind.memory_mib / kind.vcpus <= 32_768, kind
        assert kind.architecture in ("x86_64", "arm64")
        assert kind.gpus in (0, 1, 2, 4, 8)
        assert 0.02 < kind.price_per_hour / kind.vcpus < 0.5, kind
        assert bool(kind.gpus) == kind.name.startswith(("g", "p")), kind


def test_the_families_that_people_use_are_there() -> None:
    """Those of the bundles, their predecessors, GPUs, much memory; each grows with its sizes."""
    predecessors = ("c4", "m4", "r4", "c5", "m5", "r5")
    gpus = ("g4dn", "g5", "g6", "p3", "p4d", "p5")
    memory = ("x1", "x2idn", "x2iedn", "x2gd", "u-6tb1")
    catalogue = Catalogue()
    for family in (*BUNDLES["optimal"], *BUNDLES["default_arm64"], *predecessors, *gpus, *memory):
        kinds = catalogue.resolve([family])
        assert kinds, family
        assert [kind.vcpus for kind in kinds] == sorted(kind.vcpus for kind in kinds)


def test_less_memory_is_promised_than_the_nominal_size() -> None:
    """Known figures: an m4.large has 7985 MiB, a c5.large 3705, an m5.large 7679."""
    catalogue = Catalogue()
    for name, visible in (("m4.large", 7985), ("c5.large", 3705), ("m5.large", 7679)):
        kind = catalogue.get(name)
        assert kind is not None
        assert 0.9 * visible < kind.memory_mib <= visible


def test_a_type_named_by_itself_keeps_its_place_wherever_its_family_stands() -> None:
    """Before it or after it, and in a bundle as well."""
    catalogue = Catalogue()
    after = [kind.name for kind in catalogue.resolve(["c6i", "m5.large", "c6i.large"])]
    assert after[0] == "c6i.xlarge"
    assert after[-2:] == ["m5.large", "c6i.large"]
    assert after.count("c6i.large") == 1
    bundle = [kind.name for kind in catalogue.resolve(["optimal", "m6i.large"])]
    assert bundle[-1] == "m6i.large"
    assert bundle.count("m6i.large") == 1


def test_whole_machines_must_be_named() -> None:
    """No family, no bundle has them."""
    catalogue = Catalogue()
    assert not [kind for kind in catalogue.resolve(["c5", "optimal", "c7i"]) if kind.is_metal]
    assert [kind.name for kind in catalogue.resolve(["c7i.metal-24xl"])] == ["c7i.metal-24xl"]


@given(st.lists(st.sampled_from([*BUNDLES, "c5", "m5", "c5.large", "c5.metal", "m6i.large", "?"])))
def test_names_stand_for_types_once(names: list[str]) -> None:
    """Each type once; those named by themselves in the order of their names."""
    catalogue = Catalogue()
    resolved = [kind.name for kind in catalogue.resolve(names)]
    assert len(resolved) == len(set(resolved))
    named = list(dict.fromkeys(name for name in names if catalogue.get(name)))
    assert [name for name in resolved if name in named] == named


def test_slots_have_the_sizes_of_fargate() -> None:
    """Each size can be got by need and by name, and is the job's in whole; nothing else can."""
    catalogue = Catalogue()
    for vcpu_milli, sizes in FARGATE_SIZES.items():
        for memory_mib in sizes:
            need = Resources(vcpu_milli, memory_mib)
            kind = fargate_type(need)
            assert kind is not None
            assert kind.offer == need
            assert kind.is_slot
            assert kind.architecture == "x86_64"
            assert catalogue.get(kind.name) == kind
            cheaper = fargate_type(need, spot=True)
            assert cheaper is not None
            assert cheaper.price_per_hour < kind.price_per_hour
    assert fargate_type(Resources(250, 4096)) is None
    assert fargate_type(Resources(250, 512, 1)) is None
    for name in ("fargate.0.25x513", "fargate.0.250x512", "fargate.3x4096", "fargate.", "fargate"):
        assert catalogue.get(name) is None, name
        assert not BUILT_IN.known(name)
    assert not BUILT_IN.known("fargate.0.25x512")
    assert catalogue.resolve(["fargate.0.25x512", "fargate"]) == ()


def test_a_slot_costs_what_its_vcpus_and_memory_cost() -> None:
    """A quarter of a vCPU and half a GB, for an hour."""
    kind = Catalogue().get("fargate.0.25x512")
    assert kind is not None
    assert (kind.vcpus, kind.memory_mib) == (0.25, 512)
    assert kind.price_per_hour == pytest.approx(0.25 * 0.04048 + 0.5 * 0.004445)


def _file(**changes: object) -> str:
    entry = {"architecture": "arm64", "types": {"x9.tiny": [1, 2048, 0, 0.01]}}
    return json.dumps({"as_of": "2026-01-01", "families": {"x9": {**entry, **changes}}})


def test_another_file_takes_the_place_of_the_built_in_one() -> None:
    """Only its types are known then, beside the local ones."""
    catalogue = Catalogue(LOCAL, parse_catalogue(_file()))
    assert [kind.name for kind in catalogue.resolve(["x9", "c6i", "local.half"])] == [
        "x9.tiny",
        "local.half",
    ]
    assert catalogue.known("x9")
    assert not catalogue.known("c6i")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"families": []}',
        '{"families": {"x9": 3}}',
        _file(architecture="mips"),
        _file(types={"x9.tiny": [1, 2048, 0]}),
        _file(types={"x9.tiny": ["1", 2048, 0, 0.1]}),
        _file(types={"x9.tiny": [0, 2048, 0, 0.1]}),
        _file(types={"x9.tiny": [1, 100, 0, 0.1]}),
        _file(types={"x9.tiny": [1, 2048, 0, -0.1]}),
        _file(types={"local.host": [1, 2048, 0, 0.1]}),
        _file(types={"fargate.1x2048": [1, 2048, 0, 0.1]}),
        _file(types={"X9": [1, 2048, 0, 0.1]}),
    ],
)
def test_a_malformed_file_is_refused(text: str) -> None:
    """In words, not with a traceback of the reader's."""
    with pytest.raises(CatalogueError):
        parse_catalogue(text)
