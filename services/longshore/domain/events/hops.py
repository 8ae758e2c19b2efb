"""How many jobs led to each other by events: what would go on for ever ends."""

from longshore.domain.checks import Json

#: A tag of jobs that events submitted: how many did so, one after the other.
HOPS_TAG = "longshore:event-hops"
HOPS_MAXIMUM = 8
#: A member beside `detail` of events of such jobs, and of those that were sent on to another bus.
HOPS_MEMBER = "longshore-hops"


def hops_of(event: Json) -> int:
    """How many jobs and buses led to an event."""
    detail = event.get("detail")
    tags = detail.get("tags") if isinstance(detail, dict) else None
    tagged = tags.get(HOPS_TAG) if isinstance(tags, dict) else None
    told = max(_number(tagged), _number(event.get(HOPS_MEMBER)))
    return min(told, HOPS_MAXIMUM)


def _number(value: object) -> int:
    text = str(value)
    return int(text[:3]) if text.isascii() and text.isdigit() else 0
