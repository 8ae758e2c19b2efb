"""Decisions of scaling in plain words: made at the end, and read by people alone."""

from collections import Counter
from collections.abc import Iterable, Mapping

from longshore.domain.scaling.capacity import Offer
from longshore.domain.scaling.decision import GiveBack, Leave
from longshore.domain.scaling.refusal import Refusal, Refused

#: Instance types that a reason names.
_NAMES_LIMIT = 6
#: Instances, and types that the provider is short of, that a reason names.
_NAMED = 3

_LEAVES = {
    Leave.NO_JOB: "No job is left for this slot.",
    Leave.REPLACED: "Replaced by the infrastructure update of its compute environment.",
    Leave.CONSOLIDATED: "Less than half full, and its work fits on other instances.",
    Leave.DELETED: "Its compute environment is being deleted.",
    Leave.LOST: "It was lost.",
    Leave.LATE: "It did not register in time.",
}
#: What was decided about instances that could stay; in this order.
_GIVEN_BACK = {
    Leave.IDLE: "Giving back {}.",
    Leave.NO_JOB: "Giving back {} that no job is left for.",
    Leave.REPLACED: "Replacing {} after an infrastructure update.",
    Leave.CONSOLIDATED: "Draining {} whose work fits on others.",
    Leave.DELETED: "Giving back {}: the compute environment is being deleted.",
}
#: What befell instances that nothing could keep: one, or several.
_GONE = {
    Leave.LOST: ("was lost", "were lost"),
    Leave.LATE: ("did not register in time", "did not register in time"),
}
_REFUSALS = {
    Refusal.SHORT: "The provider is short of {types}, which {jobs} would need.",
    Refusal.SHORT_OF_SLOTS: "The provider is short of Fargate slots for {jobs}.",
    Refusal.TOO_LARGE: "No instance type is large enough for {jobs}.",
    Refusal.TOO_LARGE_FOR_TYPE: "It has no {types} that is large enough for {jobs}.",
    Refusal.NO_SLOT_SIZE: "Fargate has no slot of the size of {jobs}.",
    Refusal.NO_NODES: "Multi-node jobs run on on-demand instances only: none for {jobs}.",
}


def leave(give: GiveBack) -> str:
    """Why an instance is given back."""
    if give.why is Leave.IDLE:
        return f"Idle for {int(give.idle.total_seconds()):,} s or more."
    return _LEAVES[give.why]


def given_back(given: Iterable[GiveBack]) -> list[str]:
    """Instances that are given back although they could stay, by reason."""
    counts = Counter(give.why for give in given)
    return [
        text.format(count_of(counts[why], "idle instance" if why is Leave.IDLE else "instance"))
        for why, text in _GIVEN_BACK.items()
        if counts[why]
    ]


def gone(given: Iterable[GiveBack]) -> list[str]:
    """Instances that are given back because nothing could keep them, by what befell them."""
    names: dict[Leave, list[str]] = {}
    for give in given:
        if give.why in _GONE:
            names.setdefault(give.why, []).append(give.instance_id)
    return [
        f"Instance {ids[0]} {_GONE[why][0]}."
        if len(ids) == 1
        else f"{len(ids):,} instances ({', '.join(ids[:_NAMED])}"
        f"{', ...' if len(ids) > _NAMED else ''}) {_GONE[why][1]}."
        for why, ids in names.items()
    ]


def refused(refusal: Refused, jobs: int, maxv_cpus: float, *, went_on: bool = False) -> str:
    """Why jobs got no instances, and that they wait, or went on to another environment."""
    who = count_of(jobs, "job")
    if refusal.why is Refusal.AT_MAXIMUM:
        left = "to another compute environment" if went_on else "waiting"
        return f"maxvCpus of {maxv_cpus} leaves {who} {left}."
    types = refusal.instance_types
    shown = ", ".join(types[:_NAMED]) + (" and others" if len(types) > _NAMED else "")
    return _REFUSALS[refusal.why].format(jobs=who, types=shown)


def turned_invalid(status_reason: str) -> str:
    """An environment is INVALID from now on."""
    return f"INVALID: {status_reason}"


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
