"""Instance types: what each offers and costs, and what the names in `instanceTypes` stand for.

The data file beside this module is dated and small: vCPUs, memory, GPUs and the on-demand price per
hour in one region. The family `local` has no fixed sizes: its types are shares of the machine that
the local provider runs agents on, so whoever resolves names brings them along (`local_types`). They
cost nothing.

A name is an instance type (`c6i.large`), a family (`c6i`), or a bundle of families: `optimal` and
`default_x86_64` are the same, `default_arm64` the other architecture (AWS Batch User Guide,
"Allocation strategies" and the default instance bundles of November 2025).
"""

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources as package

from longshore.domain.resources import Resources

#: Memory of an instance that attempts never get, in MiB (ECS_RESERVED_MEMORY of AWS's image).
RESERVE_MIB = 32
LOCAL_FAMILY = "local"
#: Types of the local family, and the share of the machine that each one stands for.
LOCAL_SHARES = {"local.host": 1, "local.half": 2, "local.quarter": 4, "local.eighth": 8}
BUNDLES = {
    "optimal": ("m6i", "c6i", "r6i", "c7i"),
    "default_x86_64": ("m6i", "c6i", "r6i", "c7i"),
    "default_arm64": ("m6g", "c6g", "r6g", "c7g"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """What an instance of a type offers and costs.

    `memory_mib` is before the reserve, the price in US dollars.
    """

    name: str
    vcpus: int
    memory_mib: int
    gpus: int
    architecture: str
    price_per_hour: float

    @property
    def family(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def offer(self) -> Resources:
        """What attempts may hold on it."""
        return Resources(self.vcpus * 1000, self.memory_mib - RESERVE_MIB, self.gpus)


@functools.cache
def _types() -> dict[str, InstanceType]:
    text = package.files("longshore.domain").joinpath("catalogue.json").read_text("utf-8")
    return {
        name: InstanceType(
            name=name,
            vcpus=vcpus,
            memory_mib=memory_mib,
            gpus=gpus,
            architecture=family["architecture"],
            price_per_hour=price,
        )
        for family in json.loads(text)["families"].values()
        for name, (vcpus, memory_mib, gpus, price) in family["types"].items()
    }


@functools.cache
def _families() -> frozenset[str]:
    return frozenset(kind.family for kind in _types().values())


def known(name: str) -> bool:
    """Whether a name may stand in `instanceTypes`: a type, a family or a bundle."""
    return (
        name in _types()
        or name in _families()
        or name in BUNDLES
        or name == LOCAL_FAMILY
        or name in LOCAL_SHARES
    )


def local_types(
    *, vcpus: int, memory_mib: int, gpus: int, architecture: str
) -> tuple[InstanceType, ...]:
    """The local family on a machine: the whole of it, a half, a quarter and an eighth.

    Args:
        vcpus: vCPUs that the machine is declared to have: its cores times the overcommit.
        memory_mib: memory of the machine that instances may divide among them.
        gpus: whole GPUs; only the whole machine has them.
        architecture: `x86_64` or `arm64`.
    """
    return tuple(
        InstanceType(
            name=name,
            vcpus=max(vcpus // share, 1),
            memory_mib=max(memory_mib // share, RESERVE_MIB + 4),
            gpus=gpus if share == 1 else 0,
            architecture=architecture,
            price_per_hour=0.0,
        )
        for name, share in LOCAL_SHARES.items()
    )


class Catalogue:
    """All types known to a service: the data file's, and the local family of one machine."""

    def __init__(self, local: Iterable[InstanceType] = ()) -> None:
        self._types = _types() | {kind.name: kind for kind in local}

    def get(self, name: str) -> InstanceType | None:
        """The type of a name; None if it is not known here."""
        return self._types.get(name)

    def resolve(
        self, names: Sequence[str], architecture: str | None = None
    ) -> tuple[InstanceType, ...]:
        """The types that names of `instanceTypes` stand for, each once, in order of the names.

        Names that are not known stand for nothing. With an architecture, only its types are
        returned.
        """
        found: dict[str, InstanceType] = {}
        for name in names:
            families = BUNDLES.get(name, (name,))
            if name in self._types:
                found.setdefault(name, self._types[name])
                continue
            for family in families:
                for kind in self._types.values():
                    if kind.family == family:
                        found.setdefault(kind.name, kind)
        return tuple(kind for kind in found.values() if architecture in (None, kind.architecture))
