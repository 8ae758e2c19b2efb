"""Spans of time as users write them, and distributions to draw them from."""

import math
import re
import zlib
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

#: Virtual time is counted in whole microseconds, so that sums are exact.
SECOND = 1_000_000
LONGEST_SECONDS = 10 * 366 * 86_400.0
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)")

#: Seconds as a number, or a text with a unit: `90`, `90s`, `1.5h`.
Span = float | str


def seconds(span: Span, member: str) -> float:
    """The seconds of a span.

    Raises:
        ValueError: it is none, or not from 0 to ten years.
    """
    if isinstance(span, str):
        match = _SPAN.fullmatch(span.strip())
        if match is None:
            raise ValueError(
                f"{member} is {span[:40]!r}, which is no duration such as 90, 90s, 5m, 2h or 1d"
            )
        value = float(match.group(1)) * _UNITS[match.group(2)]
    else:
        value = float(span)
    if not 0 <= value <= LONGEST_SECONDS:
        raise ValueError(f"{member} must be from 0 to ten years")
    return value


def microseconds(span: Span, member: str) -> int:
    """The same in whole microseconds."""
    return round(seconds(span, member) * SECOND)


class _Distribution(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="distribution"
):
    """One of the distributions; each is named in lower case."""


class Constant(_Distribution, tag="constant", frozen=True):
    """Always the same."""

    value: Span

    def __post_init__(self) -> None:
        seconds(self.value, "value")

    def draw(self, source: np.random.Generator, count: int) -> NDArray[np.float64]:
        """Seconds for so many jobs."""
        del source
        return np.full(count, seconds(self.value, "value"))


class Uniform(_Distribution, tag="uniform", frozen=True):
    """Evenly between two bounds."""

    low: Span
    high: Span

    def __post_init__(self) -> None:
        if seconds(self.low, "low") > seconds(self.high, "high"):
            raise ValueError("low is above high")

    def draw(self, source: np.random.Generator, count: int) -> NDArray[np.float64]:
        """Seconds for so many jobs."""
        return source.uniform(seconds(self.low, "low"), seconds(self.high, "high"), count)


class Exponential(_Distribution, tag="exponential", frozen=True):
    """Many short, a few long."""

    mean: Span

    def __post_init__(self) -> None:
        seconds(self.mean, "mean")

    def draw(self, source: np.random.Generator, count: int) -> NDArray[np.float64]:
        """Seconds for so many jobs."""
        return source.exponential(seconds(self.mean, "mean"), count)


class Lognormal(_Distribution, tag="lognormal", frozen=True):
    """Around a median, with a tail of long ones; `sigma` of the logarithm says how long a tail."""

    median: Span
    sigma: float = 0.5

    def __post_init__(self) -> None:
        if seconds(self.median, "median") <= 0:
            raise ValueError("median must be above 0")
        if not 0 <= self.sigma <= 3:
            raise ValueError("sigma must be from 0 to 3")

    def draw(self, source: np.random.Generator, count: int) -> NDArray[np.float64]:
        """Seconds for so many jobs."""
        return source.lognormal(math.log(seconds(self.median, "median")), self.sigma, count)


Duration = float | str | Constant | Uniform | Exponential | Lognormal


def source(seed: int, *names: Any) -> np.random.Generator:
    """A stream of random numbers of its own for what is named."""
    words = [zlib.crc32(str(name).encode()) for name in names]
    return np.random.default_rng([seed, *words])


def draw(duration: Duration, random: np.random.Generator, count: int) -> NDArray[np.int64]:
    """Microseconds for so many jobs, never below one."""
    if isinstance(duration, float | int | str):
        duration = Constant(duration)
    values = np.clip(duration.draw(random, count), 1 / SECOND, LONGEST_SECONDS)
    return np.rint(values * SECOND).astype(np.int64)
