"""Job definitions: registered, deregistered, described."""

from collections.abc import Sequence

from longshore.contract import MESSAGE_BYTES
from longshore.domain.arn import NAME, DefinitionName
from longshore.domain.checks import NAMES_MAX, Json, check_count, require
from longshore.domain.errors import NotFound
from longshore.domain.limits import Limits
from longshore.domain.page import NUMBER_32, Page, decode_token, encode_token, page_size
from longshore.domain.request.definition import new_definition
from longshore.domain.request.submission import missing_definition
from longshore.state.pool import Pool, connection, transaction
from longshore.state.submission import job_definition
from longshore.state.submission.job_definition import DefinitionRecord

#: Of a page of definitions; half a message.
ANSWER_BYTES = MESSAGE_BYTES // 2
_SCOPE = "definitions"
_BEYOND_REVISIONS = 2**31 - 1


class Definitions:
    """Use cases of job definitions."""

    def __init__(self, pool: Pool, limits: Limits) -> None:
        self._pool = pool
        self.limits = limits

    async def register(self, request: Json) -> tuple[str, int]:
        """Stores the next revision of a name; returns both."""
        detail = new_definition(request, self.limits)
        name, tags = request["jobDefinitionName"], request.get("tags", {})
        async with transaction(self._pool) as conn:
            revision = await job_definition.insert_revision(
                conn, name, request["type"], detail, tags
            )
        return name, revision

    async def deregister(self, definition: DefinitionName) -> None:
        """Makes a revision INACTIVE; one that is so already stays so.

        A name alone means what it means to a submission: the newest ACTIVE revision.
        """
        async with transaction(self._pool) as conn:
            if await job_definition.deregister(conn, definition.name, definition.revision):
                return
        if definition.revision is None:
            raise missing_definition(definition)
        raise NotFound(f"JobDefinition {definition.text} not found.", member="jobDefinition")

    async def read(self, wanted: Sequence[DefinitionName]) -> Page[DefinitionRecord]:
        """Named revisions; a name alone means all of its revisions."""
        check_count(wanted, NAMES_MAX, "jobDefinitions")
        async with connection(self._pool) as conn:
            found = await job_definition.read_revisions(
                conn, [(entry.name, entry.revision or 0) for entry in wanted]
            )
        return Page(found)

    async def search(
        self, name: str | None, status: str | None, asked: int | None, token: str | None
    ) -> Page[DefinitionRecord]:
        """Revisions by name and status, page by page."""
        require(
            status in (None, "ACTIVE", "INACTIVE"),
            "status must be ACTIVE or INACTIVE.",
            "status",
        )
        size = page_size(asked, NAMES_MAX)
        after = ("", _BEYOND_REVISIONS)
        if token:
            last_name, last_revision = decode_token(token, _SCOPE, [NAME, NUMBER_32])
            after = str(last_name), int(last_revision)
        async with connection(self._pool) as conn:
            found = await job_definition.list_revisions(
                conn, name=name, status=status, after=after, limit=size + 1
            )
        return _page(found[:size], more=len(found) > size)


def cut(page: Page[DefinitionRecord], fitting: int) -> Page[DefinitionRecord]:
    """As much of a page as goes into one answer.

    Args:
        page: as it was asked for.
        fitting: how many of its revisions do.
    """
    return page if fitting >= len(page.items) else _page(page.items[:fitting], more=True)


def _page(found: Sequence[DefinitionRecord], *, more: bool) -> Page[DefinitionRecord]:
    last = found[-1] if more else None
    return Page(found, encode_token(_SCOPE, [last.name, last.revision]) if last else None)
