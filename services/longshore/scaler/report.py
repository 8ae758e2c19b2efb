"""What compute environments have, and the history of decisions: use cases that only read."""

from collections.abc import Sequence

from longshore.domain.arn import COMPUTE_ENVIRONMENT, parse_name
from longshore.domain.checks import NAMES_MAX, check_count
from longshore.domain.page import (
    LIST_DEFAULT,
    LIST_MOST,
    NUMBER_64,
    Page,
    decode_token,
    encode_token,
    page_size,
)
from longshore.state.pool import Pool, connection
from longshore.state.views import capacity_report
from longshore.state.views.capacity_report import EnvironmentCapacity, ScalingActivity

_SCOPE = "scaling-activities"
_BEYOND_ACTIVITIES = 2**63 - 1


class CapacityReports:
    """Reads what whoever watches capacity wants to know."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def capacity(self, environments: Sequence[str]) -> list[EnvironmentCapacity]:
        """What compute environments have, by name or ARN, or all; unknown ones are left out.

        Raises:
            InvalidRequest: too many names, or one that cannot be a name.
        """
        check_count(environments, NAMES_MAX, "computeEnvironments")
        names = [
            parse_name(COMPUTE_ENVIRONMENT, text, member=f"computeEnvironments[{number}]")
            for number, text in enumerate(environments)
        ]
        async with connection(self._pool) as conn:
            return await capacity_report.capacity(conn, names)

    async def activities(
        self, environment: str, asked: int | None, token: str
    ) -> Page[ScalingActivity]:
        """Decisions that changed something, newest first.

        Args:
            environment: name or ARN; only those about this one; empty: all.
            asked: how many at most.
            token: from the page before; empty: from the newest on.

        Raises:
            InvalidRequest: a page of that size or of that token cannot be.
        """
        if environment:
            environment = parse_name(COMPUTE_ENVIRONMENT, environment, member="computeEnvironment")
        size = LIST_DEFAULT if asked is None else page_size(asked, LIST_MOST)
        before = int(decode_token(token, _SCOPE, [NUMBER_64])[0]) if token else _BEYOND_ACTIVITIES
        async with connection(self._pool) as conn:
            found = await capacity_report.activities(
                conn, environment or None, before=before, limit=size + 1
            )
        more = len(found) > size
        return Page(
            found[:size], encode_token(_SCOPE, [found[size - 1].activity_id]) if more else None
        )
