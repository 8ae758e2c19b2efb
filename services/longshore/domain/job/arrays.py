"""Array jobs: which children wait for what.

A child waits for the child of the same index of every N_TO_N dependency, and in a SEQUENTIAL array
for the child before it. Both are edges from one child to another that fire when it ended as their
condition says, so they are counted alike.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArrayRules:
    """How the children of an array wait once the array is spawned."""

    size: int
    n_to_n: int
    sequential: bool
    #: In a SEQUENTIAL array: whether a child may also run where the one before has failed.
    on_any_end: bool = False

    def waits(self, index: int) -> int:
        """How many edges must fire before the child may run."""
        return self.n_to_n + (1 if self.sequential and index > 0 else 0)

    @property
    def ready_at_spawn(self) -> tuple[int, int]:
        """Range of children that wait for nothing, end exclusive."""
        if self.n_to_n:
            return (0, 0)
        return (0, 1) if self.sequential else (0, self.size)


#: Most ranges of indexes that are told of an array.
RANGES_TOLD = 1_000


@dataclass(frozen=True, slots=True)
class Origins:
    """What children of an array see as their index: that which they had in another array.

    `pairs` has a child's index and what it sees, for the first of each run of children that see
    one index after the other; `size` is what they see as the size of their array.
    """

    size: int
    pairs: Sequence[int]

    def of(self, index: int) -> int:
        """What a child sees as its index."""
        pairs = self.pairs
        position = bisect_right(range(len(pairs) // 2), index, key=lambda run: pairs[2 * run]) - 1
        return pairs[2 * position + 1] + index - pairs[2 * position]


def origins(
    runs: Iterable[tuple[int, int]], size: int, before: Origins | None = None
) -> tuple[Origins, int]:
    """The origins of an array made of some children of another one.

    Args:
        runs: of the children, in order: the first, and how many one after the other.
        size: of the other array.
        before: of the children of the other array, if that was made so itself.

    Returns:
        The origins, and how many children there are.
    """
    pairs = array("i")
    count = 0
    for first, length in runs:
        for begin, seen in _pieces(first, length, before):
            new = count + begin - first
            # What goes on where the run before ended is one with it.
            if not pairs or seen - new != pairs[-1] - pairs[-2]:
                pairs.extend((new, seen))
        count += length
    return Origins(before.size if before else size, pairs), count


def _pieces(first: int, length: int, before: Origins | None) -> Iterator[tuple[int, int]]:
    """Of a run of children: the first of each part that sees one index after the other, and it."""
    if before is None:
        yield first, first
        return
    yield first, before.of(first)
    pairs = before.pairs
    starts = range(len(pairs) // 2)
    run = bisect_right(starts, first, key=lambda position: pairs[2 * position])
    while run in starts and pairs[2 * run] < first + length:
        yield pairs[2 * run], pairs[2 * run + 1]
        run += 1


def told(pairs: Sequence[int], count: int) -> list[str]:
    """Indexes that children see, in words: `4` or `7-9`.

    Args:
        pairs: of origins, all or the first of them.
        count: of the children, or where the pairs given end.
    """
    ends = [*pairs[2::2], count]
    return [
        str(seen) if end - new == 1 else f"{seen}-{seen + end - new - 1}"
        for new, seen, end in zip(pairs[::2], pairs[1::2], ends, strict=True)
    ]


def ranges(indexes: list[int]) -> list[tuple[int, int]]:
    """Joins indexes into ranges, ends exclusive, in order."""
    result: list[tuple[int, int]] = []
    for index in sorted(indexes):
        if result and result[-1][1] == index:
            result[-1] = (result[-1][0], index + 1)
        else:
            result.append((index, index + 1))
    return result
