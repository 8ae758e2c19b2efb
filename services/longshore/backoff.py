"""Pauses between tries, for services and clients alike: no other package of ours is needed here."""

import random


class Backoff:
    """Pauses that grow to a bound: the longest one doubles with each try.

    Each is drawn from the upper half of that, so that those who failed together do not come again
    together.
    """

    def __init__(self, first: float, last: float) -> None:
        """Makes one that begins.

        Args:
            first: seconds of the first pause, at most.
            last: seconds of any pause, at most.
        """
        self._first = first
        self._last = last
        self._longest = min(first, last)
        #: Tries that failed in a row: pauses since it began.
        self.failures = 0

    def reset(self) -> None:
        """Begins again with the shortest pause: a try went well."""
        self._longest = min(self._first, self._last)
        self.failures = 0

    def delay(self) -> float:
        """Seconds to wait after a further failure."""
        self.failures += 1
        longest = self._longest
        self._longest = min(longest * 2, self._last)
        return longest * random.uniform(0.5, 1.0)
