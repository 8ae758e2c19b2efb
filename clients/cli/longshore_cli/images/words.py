"""What advice about images says to a person."""

from collections.abc import Mapping
from typing import NamedTuple

from longshore_cli.images.advice import GIB, MIB, Check, Finding


class Words(NamedTuple):
    """What was found, and what to do.

    `{where}` is the layer; `{size}`, `{share}` and `{value}` are what was measured, as bytes, as a
    part of all, and as it is.
    """

    found: str
    advice: str


_PREBAKE = (
    "Put what seldom changes into the machine image of your instances, or pull from a registry "
    "near them."
)
WORDS: Mapping[Check, Words] = {
    Check.LARGE: Words("The image has {size}.", _PREBAKE),
    Check.VERY_LARGE: Words("The image has {size}, which is a great deal.", _PREBAKE),
    Check.LARGEST_LAYER: Words(
        "{where} has {share} of all bytes: one layer is unpacked after the other, and all wait.",
        "Split its step by kind and by how often things change.",
    ),
    Check.UNEVEN: Words(
        "The layers are of very different sizes (evenness {value}; 1 is even).",
        "Make fewer, more even layers: four to eight of like size.",
    ),
    Check.MANY_LAYERS: Words(
        "There are {value} layers, and each is a request.",
        "Join RUN steps, and build in stages.",
    ),
    Check.DATA: Words(
        "{where} copies {size} of files, which looks like data.",
        "Fetch input data when the job runs, or mount it.",
    ),
    Check.REMOVES: Words(
        "{where} removes files that an older layer has: their bytes are pulled all the same.",
        "Remove them in the RUN step that makes them.",
    ),
    Check.CHANGES_BELOW: Words(
        "{where} changes, and {size} above it that did not are pulled anew with it.",
        "Move its step up, behind those that change less.",
    ),
    Check.MOVING_TAG: Words(
        "The tag may mean another image tomorrow: children of one array may run different ones.",
        "Name the image by its digest, or by a tag that is given once.",
    ),
    Check.DOCKER_HUB: Words(
        "Docker Hub lets somebody without a login pull a few times an hour, then refuses (429).",
        "Use a private registry, or a mirror that keeps what was pulled.",
    ),
}


def size(count: float) -> str:
    """Bytes for people."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} B"


def said(finding: Finding) -> Words:
    """What was found, and what to do about it."""
    words = WORDS[finding.check]
    where = "" if finding.layer is None else f"Layer {finding.layer + 1}"
    value = f"{finding.value:.2f}".rstrip("0").rstrip(".")
    found = words.found.format(
        where=where, size=size(finding.value), share=f"{finding.value:.0%}", value=value
    )
    return Words(found, words.advice)
