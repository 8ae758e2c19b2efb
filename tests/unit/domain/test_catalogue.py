"""What names of instance types stand for."""

from longshore.domain.catalogue import BUNDLES, LOCAL_SHARES, Catalogue, known, local_types

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
        assert known(name), name
    for name in ("", "c6i.tiny", "x1", "C6I", "local.huge", "large"):
        assert not known(name), name


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
    """Memory and price per vCPU are in a narrow range, the architecture is one of two."""
    for kind in Catalogue().resolve(
        ["optimal", "default_arm64", "m5", "c5", "r5", "g4dn", "g5", "x2iedn"]
    ):
        assert kind.vcpus > 0
        assert 2048 <= kind.memory_mib / kind.vcpus <= 32_768
        assert kind.architecture in ("x86_64", "arm64")
        assert 0.03 < kind.price_per_hour / kind.vcpus < 0.3
