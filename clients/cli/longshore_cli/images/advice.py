"""What an image costs those who pull it: decisions over sizes and steps, without any reading.

An engine gets a few layers at one time and unpacks them one after the other. So one layer that is
much larger than the rest holds up everything, very many small ones cost a request each, and a layer
that changes takes along all that stand on it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MIB = 1024**2
GIB = 1024**3
#: Of the bytes, in one layer.
LARGEST_SHARE = 0.5
LARGEST_BYTES = GIB
EVENNESS_LEAST = 0.25
EVENNESS_BYTES = GIB
LAYERS_MOST = 40
LARGE_BYTES = 2 * GIB
VERY_LARGE_BYTES = 10 * GIB
#: What comes with a COPY and is larger is rather data than a program.
DATA_BYTES = GIB
#: A step that only removes leaves marks in its layer, and nothing else.
REMOVAL_BYTES = MIB
#: A layer with nothing in it: the end of an archive, packed.
EMPTY_BYTES = 32
#: By how much the sizes of one step's layers may differ, if the step is the same.
SAME_SIZE = 0.01

#: A tag that looks like one release, commit or day, and so stays what it is.
_FIXED_TAG = re.compile(r"\d+\.\d+\.\d+|(?<![0-9a-z])[0-9a-f]{7,}(?![0-9a-z])|\d{6}")
_REMOVES = re.compile(r"(?:^|[\s;&|(])rm\s")
_SYSTEM = re.compile(r"\b(?:apt-get|apt|apk|yum|dnf|microdnf|zypper|pacman|rpm|dpkg)\b")
_LIBRARY = re.compile(
    r"\b(?:pip3?|uv|conda|mamba|micromamba|npm|yarn|pnpm|gem|bundle|cargo|poetry|Rscript|"
    r"install\.packages|go (?:get|mod|install))\b"
)
#: The first steps of images that operating systems are.
_BASE = re.compile(r"^(?:/bin/sh -c #\(nop\) )?\s*ADD file:.* in /\s*$|^# \w+\.sh ")
_FILES = re.compile(r"^(?:/bin/sh -c #\(nop\) )?\s*(?:COPY|ADD)\b")
_RUN = re.compile(r"^(?:RUN\b|\|\d+ |/bin/sh -c (?!#\(nop\)))")


class Kind(StrEnum):
    """What a layer has, as far as its step tells."""

    SYSTEM = "operating system"
    PACKAGES = "core dependencies"
    LIBRARIES = "libraries"
    FILES = "application"
    DATA = "data"
    OTHER = "other"


class Place(StrEnum):
    """Where something belongs, by how often it changes."""

    MACHINE_IMAGE = "machine image"
    CONTAINER = "container"
    RUN_TIME = "fetched at run time"


#: The less often a thing changes, the nearer it may be to the machine.
PLACES = {
    Kind.SYSTEM: Place.MACHINE_IMAGE,
    Kind.PACKAGES: Place.MACHINE_IMAGE,
    Kind.LIBRARIES: Place.MACHINE_IMAGE,
    Kind.FILES: Place.CONTAINER,
    Kind.DATA: Place.RUN_TIME,
    Kind.OTHER: Place.CONTAINER,
}


class Check(StrEnum):
    """What may be wrong with an image."""

    LARGEST_LAYER = "LARGEST_LAYER"
    UNEVEN = "UNEVEN"
    MANY_LAYERS = "MANY_LAYERS"
    LARGE = "LARGE"
    VERY_LARGE = "VERY_LARGE"
    CHANGES_BELOW = "CHANGES_BELOW"
    MOVING_TAG = "MOVING_TAG"
    DOCKER_HUB = "DOCKER_HUB"
    REMOVES = "REMOVES"
    DATA = "DATA"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, and the step that made it, if the image tells."""

    digest: str
    size_bytes: int
    step: str = ""

    @property
    def kind(self) -> Kind:
        """What it has; a step that is not known is none of a kind."""
        if _BASE.match(self.step):
            return Kind.SYSTEM
        if _FILES.match(self.step):
            return Kind.DATA if self.size_bytes > DATA_BYTES else Kind.FILES
        if _SYSTEM.search(self.step):
            return Kind.PACKAGES
        return Kind.LIBRARIES if _LIBRARY.search(self.step) else Kind.OTHER


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of an image. The layers are the oldest first."""

    layers: tuple[Layer, ...]
    #: Whether what it was named by may mean another image tomorrow.
    is_moving: bool = False
    #: It comes from Docker Hub, to somebody without a login.
    is_anonymous_hub: bool = False
    #: Whether sizes are those of what goes over the network, or unpacked.
    is_packed: bool = True

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def filled(self) -> tuple[Layer, ...]:
        """Its layers with anything in them."""
        return tuple(layer for layer in self.layers if layer.size_bytes > EMPTY_BYTES)

    @property
    def evenness(self) -> float:
        """How alike its layers are in size: 1 if they are, less the more one stands out."""
        filled = self.filled
        largest = max((layer.size_bytes for layer in filled), default=0)
        return self.size_bytes / (len(filled) * largest) if largest else 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to change."""

    check: Check
    #: Which layer, from 0 at the bottom, if it is about one.
    layer: int | None = None
    #: What was measured: bytes, a number of layers, a ratio.
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """What is pulled of an image by who has an earlier one."""

    #: Layers from the bottom that both have.
    common: int
    anew_bytes: int
    #: Of these, what only comes again because something below it changed.
    dragged_bytes: int


def is_moving(tag: str, digest: str) -> bool:
    """Whether a tag, without a digest beside it, is one of those that are given anew."""
    return not digest and _FIXED_TAG.search(tag) is None


def findings(image: Image, difference: Difference | None = None) -> list[Finding]:
    """What to change about an image, the costliest first.

    Args:
        image: what it is.
        difference: to an earlier one of the same, if there is one to compare.
    """
    found = [*_of_sizes(image), *_of_steps(image.layers)]
    if difference is not None and difference.dragged_bytes > 0:
        found.append(
            Finding(Check.CHANGES_BELOW, difference.common, float(difference.dragged_bytes))
        )
    if image.is_moving:
        found.append(Finding(Check.MOVING_TAG))
    if image.is_anonymous_hub:
        found.append(Finding(Check.DOCKER_HUB))
    return found


def _of_sizes(image: Image) -> Iterable[Finding]:
    total, filled = image.size_bytes, image.filled
    if total > LARGE_BYTES:
        check = Check.VERY_LARGE if total > VERY_LARGE_BYTES else Check.LARGE
        yield Finding(check, value=float(total))
    if filled:
        largest = max(range(len(image.layers)), key=lambda n: image.layers[n].size_bytes)
        size = image.layers[largest].size_bytes
        if size > LARGEST_BYTES and size > LARGEST_SHARE * total:
            yield Finding(Check.LARGEST_LAYER, largest, size / total)
    if total > EVENNESS_BYTES and image.evenness < EVENNESS_LEAST:
        yield Finding(Check.UNEVEN, value=image.evenness)
    if len(filled) > LAYERS_MOST:
        yield Finding(Check.MANY_LAYERS, value=float(len(filled)))


def _of_steps(layers: Sequence[Layer]) -> Iterable[Finding]:
    for number, layer in enumerate(layers):
        if layer.kind is Kind.DATA:
            yield Finding(Check.DATA, number, float(layer.size_bytes))
        is_removal = _RUN.match(layer.step) and _REMOVES.search(layer.step)
        if number and is_removal and layer.size_bytes < REMOVAL_BYTES:
            yield Finding(Check.REMOVES, number, float(layer.size_bytes))


def compare(image: Image, earlier: Image) -> Difference:
    """What of an image is pulled anew by who has an earlier one of the same.

    A layer whose step is that of an earlier layer of about the same size has changed only because
    it stands on one that did.
    """
    pairs = zip(image.layers, earlier.layers, strict=False)
    common = next(
        (n for n, (new, old) in enumerate(pairs) if new.digest != old.digest),
        min(len(image.layers), len(earlier.layers)),
    )
    had = {layer.digest for layer in earlier.layers}
    anew = [layer for layer in image.layers if layer.digest not in had]
    steps = Counter(layer.step for layer in earlier.layers[common:] if layer.step)
    sizes = {layer.step: layer.size_bytes for layer in earlier.layers[common:]}
    dragged = 0
    for layer in image.layers[common + 1 :]:
        same = steps[layer.step] > 0 and layer.digest not in had
        if same and abs(layer.size_bytes - sizes[layer.step]) <= SAME_SIZE * layer.size_bytes:
            steps[layer.step] -= 1
            dragged += layer.size_bytes
    return Difference(common, sum(layer.size_bytes for layer in anew), dragged)


def by_place(image: Image) -> dict[Place, int]:
    """How many bytes of an image belong where, by what their steps tell."""
    found = dict.fromkeys(Place, 0)
    for layer in image.layers:
        found[PLACES[layer.kind]] += layer.size_bytes
    return found
