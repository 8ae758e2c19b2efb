"""Reasons of scaling decisions, in plain words."""

from collections import Counter
from collections.abc import Iterable, Mapping

from longshore.domain.capacity import Offer
from longshore.domain.decision import GiveBack

#: Instance types that a reason names.
_NAMES_LIMIT = 6


def given_back(given: Iterable[GiveBack]) -> list[str]:
    """Instances that are given back, by reason."""
    counts = Counter(give.reason.partition(" ")[0] for give in given)
    texts = {
        "Idle": "Giving back {}.",
        "No": "Giving back {} that no job is left for.",
        "Replaced": "Replacing {} after an infrastructure update.",
        "Less": "Draining {} whose work fits on others.",
        "Its": "Giving back {}: the compute environment is being deleted.",
    }
    return [
        text.format(count_of(counts[word], "idle instance" if word == "Idle" else "instance"))
        for word, text in texts.items()
        if counts[word]
    ]


def names_of(launches: Mapping[Offer, int]) -> str:
    """What is ordered, the most numerous first."""
    counts: Counter[str] = Counter()
    for offer, count in launches.items():
        counts[offer.kind.name] += count
    names = [f"{count:,} x {name}" for name, count in counts.most_common()]
    if len(names) > _NAMES_LIMIT:
        names[_NAMES_LIMIT:] = [f"{len(names) - _NAMES_LIMIT} more types"]
    return ", ".join(names)


def count_of(number: int, noun: str) -> str:
    """A number of things: `1,000 jobs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
