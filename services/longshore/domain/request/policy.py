"""Checks of scheduling policies, and of what jobs say of their share."""

import math
import re
from collections.abc import Mapping, Sequence

from longshore.domain.checks import Json, check_count, require
from longshore.domain.fair_share import ACTIVE_MAX, WEIGHT_DEFAULT, SharePolicy

DECAY_MAX_SECONDS = 604_800
RESERVATION_MAX = 99
WEIGHT_MIN = 0.0001
WEIGHT_MAX = 999.9999

#: What identifies a share.
SHARE = re.compile(r"[0-9A-Za-z]{1,255}")
_ENTRY = re.compile(r"[0-9A-Za-z]{1,255}\*?")
_DISTRIBUTION = "fairsharePolicy.shareDistribution"


def fairshare_of(request: Json) -> Json | None:
    """The fair-share policy in a request, in AWS's shape; None if it has none.

    Raises:
        InvalidRequest: a member is wrong.
    """
    if "fairsharePolicy" not in request:
        return None
    fairshare: Json = request["fairsharePolicy"]
    _check_range(fairshare, "shareDecaySeconds", DECAY_MAX_SECONDS)
    _check_range(fairshare, "computeReservation", RESERVATION_MAX)
    entries: Sequence[Json] = fairshare.get("shareDistribution", [])
    check_count(entries, ACTIVE_MAX, _DISTRIBUTION)
    for index, entry in enumerate(entries):
        _check_entry(entry, f"{_DISTRIBUTION}[{index}]")
    _check_overlap([entry["shareIdentifier"] for entry in entries])
    return fairshare


def _check_range(fairshare: Json, name: str, most: int) -> None:
    member = f"fairsharePolicy.{name}"
    require(0 <= fairshare.get(name, 0) <= most, f"{member} must be from 0 to {most}.", member)


def _check_entry(entry: Json, member: str) -> None:
    require(
        _ENTRY.fullmatch(entry["shareIdentifier"]),
        f"{member}.shareIdentifier must have 1 to 255 letters and digits, and may end in *.",
        f"{member}.shareIdentifier",
    )
    weight = entry.get("weightFactor", WEIGHT_DEFAULT)
    require(
        math.isfinite(weight) and WEIGHT_MIN <= weight <= WEIGHT_MAX,
        f"{member}.weightFactor must be from {WEIGHT_MIN} to {WEIGHT_MAX}.",
        f"{member}.weightFactor",
    )


def _check_overlap(names: Sequence[str]) -> None:
    """Refuses entries of which more than one fits a share."""
    seen: set[str] = set()
    prefixes = {name[:-1] for name in names if name.endswith("*")}
    for index, name in enumerate(names):
        stem = name.removesuffix("*")
        # A prefix meets all that begins like it, itself aside.
        lengths = range(len(stem) if name.endswith("*") else len(stem) + 1)
        fits = next((stem[:n] + "*" for n in lengths if stem[:n] in prefixes), None)
        if name in seen:
            fits = name
        seen.add(name)
        require(
            fits is None,
            f"{_DISTRIBUTION}[{index}].shareIdentifier {name} overlaps with {fits}.",
            f"{_DISTRIBUTION}[{index}].shareIdentifier",
        )


def check_share(share: str) -> None:
    """The share of a job."""
    require(
        SHARE.fullmatch(share),
        "shareIdentifier must have 1 to 255 letters and digits.",
        "shareIdentifier",
    )


def share_policy(fairshare: Mapping[str, object]) -> SharePolicy:
    """What a stored policy decides."""
    decay, reservation = fairshare.get("shareDecaySeconds"), fairshare.get("computeReservation")
    entries = fairshare.get("shareDistribution")
    return SharePolicy(
        decay_seconds=decay if isinstance(decay, int) else 0,
        compute_reservation=reservation if isinstance(reservation, int) else 0,
        weights={
            entry["shareIdentifier"]: float(entry.get("weightFactor", WEIGHT_DEFAULT))
            for entry in (entries if isinstance(entries, list) else ())
        },
    )
