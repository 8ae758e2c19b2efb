"""Makes the events that somebody may get, of many things that happened with few reads."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.events.envelope import Sketch, Writer
from longshore.domain.events.matching import MatchedRule, Step
from longshore.domain.events.occurrence import JobMoved, Kind, Position, Told
from longshore.domain.job.job import JobKey
from longshore.domain.request.reading import DescribedJob
from longshore.state.pool import Connection
from longshore.state.views import job_reading

log = structlog.get_logger()


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
        return json.dumps(self.event, separators=(",", ":"))


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
            event = writer.write(sketch, described)
            if event is None:
                continue
            rules = tuple(rule for rule in candidates if rule.matcher.pattern.matches(event))
            if rules:
                found.append(Composed(step.after, event, rules))
    return found


async def _described(conn: Connection, keys: Iterable[JobKey]) -> dict[JobKey, DescribedJob]:
    wanted = list(dict.fromkeys(keys))
    if not wanted:
        return {}
    return {one.job.key: one for one in await job_reading.describe_jobs(conn, wanted)}


def _job_of(sketch: Sketch) -> JobKey | None:
    """The job that an event is about."""
    match sketch.happened:
        case JobMoved(key=key):
            return key
        case Told(kind=Kind.QUEUE_BLOCKED, body=body):
            return JobKey(uuid.UUID(body["job_id"]), body["array_index"])
    return None
