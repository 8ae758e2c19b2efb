"""Nodes of multi-node jobs: which range each one belongs to, and where each one is in its life.

Simple meaning: a job's nodes are 0 to numNodes - 1. Ranges say what runs on which of them: `a:b`
with both ends included, `:b` from 0, `a:` to the last, `:` all, `a` that node alone. Where one
range lies within another the narrower one holds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.errors import InvalidRequest
from longshore.domain.job.job import JobStatus

NODES_MAX = 1000
_INDEX = "(0|[1-9][0-9]{0,3})"
_TARGETS = re.compile(f"{_INDEX}?(?P<colon>:{_INDEX}?)?")
#: Statuses in which a job has no node anywhere.
_NOWHERE = (JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE)


@dataclass(frozen=True, slots=True)
class NodeRange:
    """Nodes from `first` to `last`, both included; without a last one, to the end."""

    first: int
    last: int | None

    @classmethod
    def parse(cls, text: str, member: str) -> "NodeRange":
        """Reads `targetNodes`.

        Raises:
            InvalidRequest: it has another form, or ends before it begins; it names the member.
        """
        match = _TARGETS.fullmatch(text)
        if match is None or not text:
            raise InvalidRequest(
                f"{member} is {text[:64]!r}; it must be a range of nodes such as 0:3, :3, 4: or :, "
                "or one node such as 0.",
                member=member,
            )
        first, last = match[1], match[3]
        if match["colon"] is None:
            last = first
        found = cls(int(first or 0), None if last is None else int(last))
        if found.last is not None and found.last < found.first:
            raise InvalidRequest(
                f"{member} is {text!r}, which ends before it begins.", member=member
            )
        return found

    @property
    def is_open(self) -> bool:
        """Whether it goes to the last node, however many there are."""
        return self.last is None

    def nodes(self, num_nodes: int) -> range:
        """Its nodes in a job of so many."""
        end = num_nodes if self.last is None else min(self.last + 1, num_nodes)
        return range(min(self.first, end), end)


def range_of_each(ranges: Sequence[NodeRange], num_nodes: int) -> list[int]:
    """For each node the position of the range that holds for it; -1 for none.

    Of ranges with equally many nodes, since the job has fewer than the definition thought of, the
    one holds that was written narrower.
    """

    def width(position: int) -> tuple[int, int]:
        found = ranges[position]
        last = NODES_MAX if found.last is None else found.last
        return len(found.nodes(num_nodes)), last - found.first

    holds = [-1] * num_nodes
    for position in sorted(range(len(ranges)), key=width, reverse=True):
        for node in ranges[position].nodes(num_nodes):
            holds[node] = position
    return holds


def ranges_of(targets: Sequence[str], member: str = "nodeProperties") -> list[NodeRange]:
    """The ranges of `nodeRangeProperties`, from their `targetNodes`.

    Raises:
        InvalidRequest: one has a wrong form.
    """
    return [
        NodeRange.parse(text, f"{member}.nodeRangeProperties[{position}].targetNodes")
        for position, text in enumerate(targets)
    ]


def node_status(job: JobStatus, tried: str | None, exit_code: int | None) -> JobStatus:
    """Where a node is in its life.

    Args:
        job: where its job is.
        tried: status of the node's attempt in the job's latest try, None if it has none.
        exit_code: of that attempt.
    """
    if job in _NOWHERE or tried is None:
        return job
    if tried != "ENDED":
        return JobStatus(tried)
    return JobStatus.SUCCEEDED if exit_code == 0 else JobStatus.FAILED
