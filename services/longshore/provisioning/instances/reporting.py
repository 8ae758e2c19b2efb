"""What users ask about instances: which there are, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.job.job import JobKey
from longshore.domain.page import ANY_NAME, NUMBER_64, Page, decode_token, encode_token
from longshore.state.pool import Pool, connection
from longshore.state.views import instance_report
from longshore.state.views.instance_report import Cost, InstanceDetail

#: In a listing: when an instance ended and was ordered, in microseconds, and its id.
_POSITION = (NUMBER_64, NUMBER_64, ANY_NAME)


@dataclass(frozen=True, slots=True)
class InstanceFilter:
    """Which instances to list; empty members hold for all."""

    environment: str
    instance_id: str
    ended: bool

    @property
    def scope(self) -> str:
        """Names the listing in its tokens."""
        return f"instances:{self.environment}:{self.instance_id}:{self.ended}"


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs so far."""

    environments: list[Cost]
    queues: list[Cost]
    jobs: list[Cost]


class InstanceReports:
    """Reads what is on record."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def instances(
        self, wanted: InstanceFilter, limit: int, token: str
    ) -> Page[InstanceDetail]:
        """A page of instances.

        Raises:
            InvalidRequest: the token is not of this listing.
        """
        after = decode_token(token, wanted.scope, _POSITION) if token else None
        async with connection(self._pool) as conn:
            found = await instance_report.list_instances(
                conn,
                environment=wanted.environment or None,
                instance_id=wanted.instance_id or None,
                ended=wanted.ended,
                after=after,
                limit=limit + 1,
            )
        if len(found) <= limit:
            return Page(found)
        return Page(found[:limit], encode_token(wanted.scope, found[limit - 1].position))

    async def costs(
        self, environments: Sequence[str], queues: Sequence[str], jobs: Sequence[JobKey]
    ) -> Costs:
        """What compute environments, queues and jobs cost so far."""
        async with connection(self._pool) as conn:
            return Costs(
                await instance_report.environment_costs(conn, environments),
                await instance_report.queue_costs(conn, queues),
                await instance_report.job_costs(conn, jobs) if jobs else [],
            )
