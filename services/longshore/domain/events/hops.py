"""How many jobs led to each other by events: what would go on for ever ends."""

from longshore.domain.checks import Json

#: A tag of jobs that events submitted: how many did so, one after the other.
HOPS_TAG = "longshore:event-hops"
HOPS_MAXIMUM = 8
#: A member beside `detail` of events of such jobs, and of those that were sent on to another bus.
HOPS_MEMBER = "longshore-hops"
#: And of the latter, the buses where they were before.
BUSES_MEMBER = "longshore-buses"


def hops_of(event: Json) -> int:
    """How many jobs and buses led to an event."""
    detail = event.get("detail")
    # The job that the event is about, or the call that submitted one.
    asked = detail.get("requestParameters") if isinstance(detail, dict) else None
    found = [_number(event.get(HOPS_MEMBER))]
    for said in (detail, asked):
        tags = said.get("tags") if isinstance(said, dict) else None
        found.append(_number(tags.get(HOPS_TAG)) if isinstance(tags, dict) else 0)
    return min(max(found), HOPS_MAXIMUM)


def _number(value: object) -> int:
    text = str(value)
    return int(text[:3]) if text.isascii() and text.isdigit() else 0
