"""Instance types: what each offers and costs, and what the names in `instanceTypes` stand for.

The data file beside this module is dated: vCPUs, nominal memory, GPUs and the on-demand list price
per hour in one region. `longshore catalogue refresh` writes a newer one of the same form, which
`parse_catalogue` reads. The family `local` has no fixed sizes: its types are shares of the machine
that the local provider runs agents on, so whoever resolves names brings them along (`local_types`).
They cost nothing. The types of the family `fargate` are slots, each for one job of exactly its size
(AWS Batch User Guide, "Fargate"); their names say all there is to know of them.

A name is an instance type (`c6i.large`), a family (`c6i`), or a bundle of families: `optimal` and
`default_x86_64` are the same, `default_arm64` the other architecture (AWS Batch User Guide,
"Allocation strategies" and the default instance bundles of November 2025).
"""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources as package
from typing import Any

from longshore.domain.errors import LongshoreError
from longshore.domain.resources import Resources

X86_64 = "x86_64"
ARM64 = "arm64"
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
FARGATE_FAMILY = "fargate"
#: Memory sizes in MiB of a Fargate job, by its thousandths of a vCPU.
FARGATE_SIZES: Mapping[int, tuple[int, ...]] = {
    250: (512, 1024, 2048),
    500: tuple(range(1024, 4097, 1024)),
    1000: tuple(range(2048, 8193, 1024)),
    2000: tuple(range(4096, 16385, 1024)),
    4000: tuple(range(8192, 30721, 1024)),
    8000: tuple(range(16384, 61441, 4096)),
    16000: tuple(range(32768, 122881, 8192)),
    32000: (61440, 122880, 249856),
}
#: US dollars per vCPU-hour and per GB-hour (1,024 MiB) of x86 Linux in us-east-1, November 2025.
FARGATE_PRICES = (0.04048, 0.004445)
#: The same for FARGATE_SPOT, whose price moves; a typical one of that month.
FARGATE_SPOT_PRICES = (0.01233346, 0.0013543)
#: Of an instance's nominal memory, the hypervisor and the kernel keep a part for themselves: what
#: is visible is less by a fixed amount and a share, here estimated on the safe side. An estimate
#: below what an instance has costs little; one above it would launch instances that cannot hold the
#: job they were launched for, over and over.
_HIDDEN_MIB = 256
_HIDDEN_SHARE = 0.04
_FARGATE_NAME = re.compile(r"fargate\.([0-9]+(?:\.[0-9]+)?)x([0-9]+)")


class CatalogueError(LongshoreError):
    """A catalogue file is not of the form that it must have."""

    reason = "CATALOGUE"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """What an instance of a type offers and costs.

    `memory_mib` is what its operating system sees, before the reserve; the price is in US dollars.
    """

    name: str
    vcpus: float
    memory_mib: int
    gpus: int
    architecture: str
    price_per_hour: float

    @property
    def family(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def is_slot(self) -> bool:
        """Whether it is a slot for one job of exactly its size."""
        return self.family == FARGATE_FAMILY

    @property
    def is_metal(self) -> bool:
        """Whether it is a whole machine: no family stands for those."""
        return self.name.partition(".")[2].startswith("metal")

    @property
    def offer(self) -> Resources:
        """What attempts may hold on it."""
        reserve = 0 if self.is_slot else RESERVE_MIB
        return Resources(round(self.vcpus * 1000), self.memory_mib - reserve, self.gpus)


def visible_mib(nominal_mib: int) -> int:
    """What the operating system of an EC2 instance sees at least of its type's nominal memory."""
    return nominal_mib - _HIDDEN_MIB - int(nominal_mib * _HIDDEN_SHARE)


def parse_catalogue(text: str) -> tuple[InstanceType, ...]:
    """The types of a catalogue file, in its order.

    Raises:
        CatalogueError: the text is not of the form that such a file has.
    """
    try:
        document: Mapping[str, Any] = json.loads(text)
        kinds = tuple(
            InstanceType(
                name=name,
                vcpus=float(vcpus) if vcpus % 1 else int(vcpus),
                memory_mib=visible_mib(int(memory_mib)),
                gpus=int(gpus),
                architecture=family["architecture"],
                price_per_hour=float(price),
            )
            for family in document["families"].values()
            for name, (vcpus, memory_mib, gpus, price) in family["types"].items()
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CatalogueError(f"This is no catalogue of instance types: {error!r}.") from None
    for kind in kinds:
        well_formed = (
            re.fullmatch(r"[a-z0-9-]+\.[a-z0-9-]+", kind.name)
            and kind.family not in (LOCAL_FAMILY, FARGATE_FAMILY)
            and kind.vcpus > 0
            and kind.memory_mib > RESERVE_MIB
            and kind.gpus >= 0
            and kind.price_per_hour >= 0
            and kind.architecture in (X86_64, ARM64)
        )
        if not well_formed:
            raise CatalogueError(f"The catalogue's entry {kind.name!r} is malformed.")
    return kinds


@functools.cache
def _types() -> Mapping[str, InstanceType]:
    text = package.files("longshore.domain").joinpath("catalogue.json").read_text("utf-8")
    return {kind.name: kind for kind in parse_catalogue(text)}


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


def fargate_type(need: Resources, *, spot: bool = False) -> InstanceType | None:
    """The slot for a job that needs this; None if that is no size that Fargate has."""
    if need.gpus or need.memory_mib not in FARGATE_SIZES.get(need.vcpu_milli, ()):
        return None
    return _fargate(need.vcpu_milli, need.memory_mib, spot)


@functools.cache
def _fargate(vcpu_milli: int, memory_mib: int, spot: bool) -> InstanceType:
    """One of less than two hundred."""
    per_vcpu, per_gb = FARGATE_SPOT_PRICES if spot else FARGATE_PRICES
    vcpus = vcpu_milli / 1000
    return InstanceType(
        name=f"{FARGATE_FAMILY}.{vcpus:g}x{memory_mib}",
        vcpus=vcpus,
        memory_mib=memory_mib,
        gpus=0,
        architecture=X86_64,
        price_per_hour=vcpus * per_vcpu + memory_mib / 1024 * per_gb,
    )


class Catalogue:
    """All types known to a service: the data file's, and the local family of one machine.

    Slots can be got by name, but no name in `instanceTypes` stands for one.
    """

    def __init__(
        self, local: Iterable[InstanceType] = (), types: Iterable[InstanceType] | None = None
    ) -> None:
        """Puts them together.

        Args:
            local: the local family.
            types: what a catalogue file has; without it, what the built-in one has.
        """
        file = _types() if types is None else {kind.name: kind for kind in types}
        self._types = {**file, **{kind.name: kind for kind in local}}
        self._families: dict[str, list[InstanceType]] = {}
        for kind in self._types.values():
            if not kind.is_metal:
                self._families.setdefault(kind.family, []).append(kind)

    def get(self, name: str) -> InstanceType | None:
        """The type of a name, a slot's included; None if it is not known here."""
        if match := _FARGATE_NAME.fullmatch(name):
            need = Resources(round(float(match.group(1)) * 1000), int(match.group(2)))
            kind = fargate_type(need)
            return kind if kind is not None and kind.name == name else None
        return self._types.get(name)

    def known(self, name: str) -> bool:
        """Whether a name may stand in `instanceTypes`: a type, a family or a bundle."""
        return (
            name in self._types
            or name in self._families
            or name in BUNDLES
            or name == LOCAL_FAMILY
            or name in LOCAL_SHARES
        )

    def resolve(
        self, names: Sequence[str], architecture: str | None = None
    ) -> tuple[InstanceType, ...]:
        """The types that names of `instanceTypes` stand for, each once, in order of the names.

        A type named by itself has its own name's place, wherever its family is named. A family has
        its types in the order of the data file, without whole machines (`metal`). Names that are
        not known stand for nothing. With an architecture, only its types are returned.
        """
        named = {name for name in names if name in self._types}
        found: dict[str, InstanceType] = {}
        for name in names:
            if name in named:
                found.setdefault(name, self._types[name])
                continue
            for family in BUNDLES.get(name, (name,)):
                for kind in self._families.get(family, ()):
                    if kind.name not in named:
                        found.setdefault(kind.name, kind)
        return tuple(kind for kind in found.values() if architecture in (None, kind.architecture))

    def places(self, names: Sequence[str]) -> dict[str, int]:
        """The place in `instanceTypes` of each type that `resolve` finds.

        The types of a family or a bundle share its place; one named by itself has its own.
        """
        found: dict[str, int] = {}
        for place, name in enumerate(names):
            for kind in self.resolve([name]):
                if kind.name == name or kind.name not in names:
                    found.setdefault(kind.name, place)
        return found

    def __iter__(self) -> Iterator[InstanceType]:
        return iter(self._types.values())
