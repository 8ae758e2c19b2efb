"""Makes the events that somebody may get, of many things that happened with few reads."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.errors import Unavailable
from longshore.domain.events.envelope import Sketch, Writer
from longshore.domain.events.matching import MatchedRule, Step
from longshore.domain.events.occurrence import JobMoved, Kind, Position, Told
from longshore.domain.job.job import JobKey
from longshore.domain.request.reading import DescribedJob
from longshore.state.pool import Connection, savepoint
from longshore.state.views import job_reading

log = structlog.get_logger()

SET_ASIDE = Counter("longshore_events_set_aside_total", "Events that could not be made.")


@dataclass(frozen=True, slots=True)
class Composed:
    """An event, with the rules that get it."""

    #: Behind what it tells of.
    after: Position
    event: Json
    rules: tuple[MatchedRule, ...]

    @property
    def event_id(self) -> uuid.UUID:
        """Its id, the same whenever it is made."""
        return uuid.UUID(self.event["id"])

    @property
    def text(self) -> str:
        """The event as JSON."""
        return text_of(self.event)


def text_of(event: Json) -> str:
    """An event as JSON."""
    return json.dumps(event, separators=(",", ":"))


async def compose(
    conn: Connection, arns: Arns, namespace: uuid.UUID, steps: Sequence[Step]
) -> list[Composed]:
    """The events of some steps that rules get, in their order."""
    writer = Writer(arns, namespace)
    sketches = [sketch for step in steps for sketch, _ in step.candidates]
    jobs = await _described(conn, filter(None, map(_job_of, sketches)))
    found = []
    for step in steps:
        for sketch, candidates in step.candidates:
            key = _job_of(sketch)
            described = None if key is None else jobs.get(key)
            if key is not None and described is None:
                log.warning("event.job_gone", job_id=str(key), position=str(step.after))
            try:
                event = writer.write(sketch, described)
                rules = _matching(event, candidates)
            except Exception:
                # One that cannot be told of holds back no other.
                log.exception("event.set_aside", job_id=str(key), position=str(step.after))
                SET_ASIDE.inc()
                continue
            if event is not None and rules:
                found.append(Composed(step.after, event, rules))
    return found


def _matching(event: Json | None, candidates: Sequence[MatchedRule]) -> tuple[MatchedRule, ...]:
    """The rules that get an event."""
    if event is None:
        return ()
    return tuple(rule for rule in candidates if rule.matcher.pattern.matches(event))


async def _described(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, DescribedJob]:
    """Jobs as they are now; one that cannot be read is left out by itself."""
    wanted = list(dict.fromkeys(keys))
    if not wanted:
        return {}
    try:
        async with savepoint(conn):
            return {one.job.key: one for one in await job_reading.describe_jobs(conn, wanted)}
    except Unavailable:
        raise
    except Exception:
        if len(wanted) == 1:
            log.exception("event.job_unreadable", job_id=str(wanted[0]))
            return {}
    half = len(wanted) // 2
    return await _described(conn, wanted[:half]) | await _described(conn, wanted[half:])


def _job_of(sketch: Sketch) -> JobKey | None:
    """The job that an event is about."""
    match sketch.happened:
        case JobMoved(key=key):
            return key
        case Told(kind=Kind.QUEUE_BLOCKED, body=body):
            return JobKey(uuid.UUID(body["job_id"]), body["array_index"])
    return None
