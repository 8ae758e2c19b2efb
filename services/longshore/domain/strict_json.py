"""JSON as others read it: Python's own reading takes more, and writes what nobody else reads."""

import json
import math
from typing import Any


def decode(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, or has a number beyond what is kept, which would become Infinity.
        RecursionError: it nests too deep.
    """
    return json.loads(text, parse_constant=_no_constant, parse_float=_finite)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
