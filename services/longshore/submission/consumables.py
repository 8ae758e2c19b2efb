"""Consumable resources: created, changed, deleted, described, listed; the jobs that need them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from longshore.domain.arn import NAME
from longshore.domain.checks import NAMES_MAX, Json, check_name, check_tags, require
from longshore.domain.consumable import REPLENISHABLE
from longshore.domain.environment import ConsumableResource
from longshore.domain.errors import NotFound, PreconditionFailed
from longshore.domain.job.job import JobStatus
from longshore.domain.page import NUMBER_64, Page, decode_token, encode_token, page_size
from longshore.domain.request.consumable import (
    SET,
    changed,
    check_kind,
    check_operation,
    check_quantity,
    check_token,
)
from longshore.domain.request.listing import like, only_filter, unknown_filter
from longshore.domain.request.reading import NeedingJob
from longshore.state.pool import Connection, Pool, connection, transaction
from longshore.state.submission import consumable_resource as state
from longshore.state.views import job_reading

_SCOPE = "consumables"
_JOBS = "jobs of a consumable"
_MEMBER = "consumableResource"
#: For so long a change that is asked for again under its token is the same one.
TOKEN_SECONDS = 8 * 3600

Filters = Sequence[tuple[str, Sequence[str]]]


class Consumables:
    """Use cases of consumable resources, by name: ARNs are for the servicer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, request: Json) -> str:
        """Stores a resource and returns its name."""
        name: str = request["consumableResourceName"]
        check_name(name, "consumableResourceName")
        check_tags(request.get("tags", {}))
        total = int(request.get("totalQuantity", 0))
        check_quantity(total, "totalQuantity")
        kind: str = request.get("resourceType", REPLENISHABLE)
        check_kind(kind)
        resource = ConsumableResource(
            name, kind, total, 0, datetime.now(UTC), request.get("tags", {})
        )
        async with transaction(self._pool) as conn:
            if not await state.insert_resource(conn, resource):
                raise PreconditionFailed(f"Object already exists: consumable resource {name}.")
        return name

    async def update(self, name: str, request: Json) -> int:
        """Changes how many units there are, and returns that; what is held stays held."""
        token: str | None = request.get("clientToken")
        check_token(token)
        asked = int(request["quantity"]) if "quantity" in request else None
        if asked is not None:
            check_quantity(asked, "quantity")
        update = state.ResourceUpdate(request.get("operation", SET), asked)
        check_operation(update.operation)
        async with transaction(self._pool) as conn:
            total = await state.lock_total(conn, name)
            if total is None:
                raise _missing(request[_MEMBER])
            if token is not None:
                await state.forget_updates(conn, name, TOKEN_SECONDS)
                if (known := await state.find_update(conn, name, token)) is not None:
                    return _repeated(update, *known)
            if asked is not None:
                total = changed(name, total, update.operation, asked)
                await state.write_total(conn, name, total)
            if token is not None:
                await state.insert_update(conn, name, token, update, total)
        return total

    async def delete(self, name: str, given: str) -> None:
        """Deletes a resource, also while jobs need it or hold some of it."""
        async with transaction(self._pool) as conn:
            if not await state.delete_resource(conn, name):
                raise _missing(given)

    async def describe(self, name: str, given: str) -> ConsumableResource:
        """A resource."""
        async with connection(self._pool) as conn:
            return await _read(conn, name, given)

    async def list_resources(
        self, filters: Filters, asked: int | None, token: str | None
    ) -> Page[ConsumableResource]:
        """All resources, or those of a name, page by page."""
        size = page_size(asked, NAMES_MAX)
        pattern = None
        if (wanted := only_filter(filters)) is not None:
            if wanted[0] != "CONSUMABLE_RESOURCE_NAME":
                raise unknown_filter(wanted[0], "CONSUMABLE_RESOURCE_NAME")
            pattern = like(wanted[1].lower())
        after = str(decode_token(token, _SCOPE, [NAME])[0]) if token else ""
        async with connection(self._pool) as conn:
            found = await state.list_resources(conn, after=after, pattern=pattern, limit=size + 1)
        more = encode_token(_SCOPE, [found[size - 1].name]) if len(found) > size else None
        return Page(found[:size], more)

    async def list_jobs(
        self, name: str, given: str, filters: Filters, asked: int | None, token: str | None
    ) -> Page[NeedingJob]:
        """The jobs that need a resource, the newest first, page by page.

        A page may have fewer than asked for, or none, although others follow: where few are as the
        filter asks, it ends once it has looked at so many.
        """
        size = page_size(asked, NAMES_MAX)
        status = pattern = None
        if (wanted := only_filter(filters)) is not None:
            match wanted:
                case "JOB_STATUS", value:
                    require(
                        value in list(JobStatus),
                        f"filters[0].values[0] must be one of {', '.join(JobStatus)}.",
                        "filters[0].values[0]",
                    )
                    status = value
                case "JOB_NAME", value:
                    pattern = like(value.lower())
                case other, _:
                    raise unknown_filter(other, "JOB_STATUS, JOB_NAME")
        before = int(decode_token(token, _JOBS, [NUMBER_64])[0]) if token else None
        async with connection(self._pool) as conn:
            await _read(conn, name, given)
            found, end = await job_reading.list_needing(
                conn, name, status=status, pattern=pattern, before_seq=before, limit=size + 1
            )
        if len(found) > size:
            end = found[size - 1].job.seq
        return Page(found[:size], None if end is None else encode_token(_JOBS, [end]))


async def _read(conn: Connection, name: str, given: str) -> ConsumableResource:
    found = await state.read_resource(conn, name)
    if found is None:
        raise _missing(given)
    return found


def _missing(given: str) -> NotFound:
    return NotFound(f"{given} does not exist", member=_MEMBER)


def _repeated(update: state.ResourceUpdate, before: state.ResourceUpdate, total: int) -> int:
    """What a change came to that was made before under the same token."""
    if update != before:
        raise PreconditionFailed(
            "clientToken was used for another change of the consumable resource; use a new one."
        )
    return total
