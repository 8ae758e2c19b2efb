"""Settings of a compute environment that AWS has no member for: tags under a prefix of our own.

So they are made, changed, shown and removed by what AWS's clients have for tags, and AWS's shapes
stay as they are. A tag under the prefix that means nothing is refused: it would have no effect.
"""

import re
from collections.abc import Iterable, Mapping

from longshore.domain.checks import require

PREFIX = "longshore:"
#: Seconds of silence of an agent that are borne before its instance is given up as lost.
LOST_AFTER = f"{PREFIX}lost-after-seconds"
LOST_AFTER_LEAST, LOST_AFTER_MOST = 10, 604_800
_NUMBER = re.compile(r"[0-9]{1,6}")


def check_settings(tags: Mapping[str, str], member: str = "tags") -> None:
    """Tags of a compute environment, of those that are settings."""
    for key, value in tags.items():
        if not key.startswith(PREFIX):
            continue
        require(key == LOST_AFTER, f"{member}: {key} is no setting; {LOST_AFTER} is one.", member)
        require(
            _NUMBER.fullmatch(value) and LOST_AFTER_LEAST <= int(value) <= LOST_AFTER_MOST,
            f"{member}: {key} is {value!r}; it must be a whole number of seconds from "
            f"{LOST_AFTER_LEAST} to {LOST_AFTER_MOST}.",
            member,
        )


def has_settings(keys: Iterable[str]) -> bool:
    """Whether some of the keys of tags are those of settings."""
    return any(key.startswith(PREFIX) for key in keys)


def lost_after(tags: Mapping[str, str]) -> int | None:
    """The silence in seconds that is borne; None if the environment does not say."""
    value = tags.get(LOST_AFTER, "")
    # One from before it was a setting may be anything.
    return int(value) if _NUMBER.fullmatch(value) else None
