"""Array jobs: which children wait for what.

A child waits for the child of the same index of every N_TO_N dependency, and in a SEQUENTIAL array
for the child before it. Both are edges from one child to another that fire when it ended as their
condition says, so they are counted alike.
"""

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


def ranges(indexes: list[int]) -> list[tuple[int, int]]:
    """Joins indexes into ranges, ends exclusive, in order."""
    result: list[tuple[int, int]] = []
    for index in sorted(indexes):
        if result and result[-1][1] == index:
            result[-1] = (result[-1][0], index + 1)
        else:
            result.append((index, index + 1))
    return result
