"""Regular expressions of filter patterns: in time that grows with the message alone."""

import re2

from longshore.domain.log_pattern import Matcher

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def compile_regex(text: str) -> Matcher:
    """Whether an expression is found in a message.

    Raises:
        ValueError: it is none.
    """
    try:
        pattern = re2.compile(text, _OPTIONS)
    except re2.error as error:
        raise ValueError(text) from error
    return lambda message: pattern.search(message) is not None
