"""Jobs that are there: described, listed, cancelled, terminated."""

from collections.abc import Sequence
from dataclasses import dataclass

from longshore.domain.arn import JOB_QUEUE, parse_name
from longshore.domain.checks import (
    check_count,
    check_not_empty,
    check_reason,
    require,
)
from longshore.domain.errors import InvalidRequest, LongshoreError, NotFound
from longshore.domain.job.job import JobKey, JobStatus
from longshore.domain.job.nodes import NODES_MAX
from longshore.domain.limits import LONGSHORE
from longshore.domain.page import (
    ANY_NAME,
    NUMBER_32,
    NUMBER_64,
    Page,
    Part,
    decode_token,
    encode_token,
    page_size,
)
from longshore.domain.request.listing import ListRequest, job_filter
from longshore.domain.request.reading import DescribedJob, JobRecord, NamePlace
from longshore.state.pool import Connection, Pool, connection, transaction
from longshore.state.submission import job_control, job_queue
from longshore.state.views import job_reading
from longshore.submission.job_access import check_jobs

DESCRIBE_MAX = 100
LIST_MAX = 1000
FILTERED_MAX = 100
REQUESTS_MAX = 50
#: Scope of the tokens of a listing by name.
_BY_NAME = "jobs-by-name"
_NAME_PLACE: tuple[Part, ...] = (ANY_NAME, ANY_NAME, NUMBER_32, NUMBER_64)


@dataclass(frozen=True, slots=True)
class BulkFailure:
    """One job of a bulk request that was refused; `code` is AWS's."""

    job: str
    code: str
    message: str


class Jobs:
    """Use cases of jobs that are there."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self, ids: Sequence[str]) -> None:
        """Checks that the caller may do what he asks for with jobs.

        Raises:
            PermissionDenied: he may not with one of them.
        """
        await check_jobs(self._pool, ids)

    async def describe(self, ids: Sequence[str]) -> list[DescribedJob]:
        """Jobs by id; unknown ones, and what cannot be an id, are left out.

        Raises:
            InvalidRequest: there are too many, or one is empty.
        """
        require(
            len(ids) <= DESCRIBE_MAX,
            f"Maximum number of jobs supported is  {DESCRIBE_MAX} .",
            "jobs",
        )
        for index, text in enumerate(ids):
            check_not_empty(text, f"jobs[{index}]")
        keys = [key for text in ids if (key := _parse_or_none(text))]
        async with connection(self._pool) as conn:
            return await job_reading.describe_jobs(conn, keys)

    async def list_jobs(self, request: ListRequest) -> Page[JobRecord]:
        """Jobs of a queue, newest first, or children of an array job or nodes, by index."""
        match request.job_queue, request.array_job_id, request.multi_node_job_id:
            case str(queue), None, None:
                return await self._list_queue(request, queue)
            case None, str(array), None:
                return await self._list_children(request, array)
            case None, None, str(multi_node):
                return await self._list_nodes(request, multi_node)
        raise InvalidRequest(
            "Exactly one of jobQueue, arrayJobId and multiNodeJobId is required.",
            member="jobQueue",
        )

    async def _list_queue(self, request: ListRequest, queue: str) -> Page[JobRecord]:
        name = parse_name(JOB_QUEUE, queue, member="jobQueue")
        wanted = job_filter(request)
        size = page_size(request.max_results, FILTERED_MAX if request.filters else LIST_MAX)
        if wanted.name_pattern is not None:
            return await self._list_named(request, name, wanted.name_pattern, size)
        before = int(decode_token(request.token, "jobs", [NUMBER_64])[0]) if request.token else None
        async with connection(self._pool) as conn:
            await _require_queue(conn, name)
            found = await job_reading.list_queue(
                conn, name, wanted, before_seq=before, limit=size + 1
            )
        token = encode_token("jobs", [found[size - 1].seq]) if len(found) > size else None
        return Page(found[:size], token)

    async def _list_named(
        self, request: ListRequest, queue: str, pattern: str, size: int
    ) -> Page[JobRecord]:
        """Jobs of like names, as AWS has them: by name and revision."""
        after = None
        if request.token:
            text, definition, revision, seq = decode_token(request.token, _BY_NAME, _NAME_PLACE)
            after = NamePlace(str(text), str(definition), int(revision), int(seq))
        async with connection(self._pool) as conn:
            await _require_queue(conn, queue)
            found = await job_reading.list_named(conn, queue, pattern, after=after, limit=size + 1)
        more = len(found) > size
        token = encode_token(_BY_NAME, [*NamePlace.of(found[size - 1])]) if more else None
        return Page(found[:size], token)

    async def _list_children(self, request: ListRequest, text: str) -> Page[JobRecord]:
        require(not request.filters, "filters do not apply to children of an array job.", "filters")
        key = JobKey.named(text, "arrayJobId")
        size = page_size(request.max_results, LIST_MAX)
        after = _after_index(request.token, "children", LONGSHORE.array_max)
        async with connection(self._pool) as conn:
            if not await job_reading.is_array(conn, key.job_id):
                raise NotFound(f"Array job {text} not found.", member="arrayJobId")
            found = await job_reading.list_children(
                conn,
                key.job_id,
                request.status or JobStatus.RUNNING,
                after_index=after,
                limit=size + 1,
            )
        last = found[size - 1].key.array_index if len(found) > size else None
        return Page(found[:size], encode_token("children", [last]) if last is not None else None)

    async def _list_nodes(self, request: ListRequest, text: str) -> Page[JobRecord]:
        require(
            not request.filters, "filters do not apply to nodes of a multi-node job.", "filters"
        )
        key = JobKey.named(text, "multiNodeJobId")
        size = page_size(request.max_results, LIST_MAX)
        after = _after_index(request.token, "nodes", NODES_MAX)
        async with connection(self._pool) as conn:
            if not await job_reading.is_multi_node(conn, key.job_id):
                raise NotFound(f"Multi-node job {text} not found.", member="multiNodeJobId")
            found = await job_reading.list_nodes(
                conn,
                key.job_id,
                request.status or JobStatus.RUNNING,
                after_node=after,
                limit=size + 1,
            )
        last = found[size - 1].key.node_index if len(found) > size else None
        return Page(found[:size], encode_token("nodes", [last]) if last is not None else None)

    async def cancel(self, job_id: str, reason: str) -> None:
        """Records that a job shall not run.

        Without effect on one that is STARTING or later, and, as at AWS, on what is no job's id.
        """
        await self._request(job_id, job_control.CANCEL, reason)

    async def terminate(self, job_id: str, reason: str) -> None:
        """Records that a job shall end; without effect on one that is over or not there."""
        await self._request(job_id, job_control.TERMINATE, reason)

    async def cancel_many(
        self, ids: Sequence[str], reason: str
    ) -> tuple[list[str], list[BulkFailure]]:
        """As `cancel` for many jobs; unknown ones count as successful."""
        return await self._request_many(ids, job_control.CANCEL, reason)

    async def terminate_many(
        self, ids: Sequence[str], reason: str
    ) -> tuple[list[str], list[BulkFailure]]:
        """As `terminate` for many jobs."""
        return await self._request_many(ids, job_control.TERMINATE, reason)

    async def _request(self, text: str, kind: str, reason: str) -> None:
        check_not_empty(text, "jobId")
        check_reason(reason)
        key = _parse_or_none(text)
        if key is not None:
            await self._record([_checked_target(key)], kind, reason)

    async def _request_many(
        self, ids: Sequence[str], kind: str, reason: str
    ) -> tuple[list[str], list[BulkFailure]]:
        check_count(ids, REQUESTS_MAX, "jobs")
        check_reason(reason)
        successful: list[str] = []
        failures: list[BulkFailure] = []
        keys: dict[JobKey, None] = {}
        for text in ids:
            try:
                keys[_checked_target(JobKey.parse(text))] = None
                successful.append(text)
            except InvalidRequest as error:
                failures.append(BulkFailure(text, "ValidationException", error.message))
        try:
            await self._record(list(keys), kind, reason)
        except LongshoreError as error:
            failures += [BulkFailure(t, "ServerException", error.message) for t in successful]
            successful = []
        return successful, failures

    async def _record(self, keys: Sequence[JobKey], kind: str, reason: str) -> None:
        """Records requests for those jobs that are there and not over."""
        async with transaction(self._pool) as conn:
            found = await job_control.find_targets(conn, keys)
            live = [key for key in keys if found.get(key) is False]
            if live:
                await job_control.insert_requests(conn, live, kind, reason)


async def _require_queue(conn: Connection, name: str) -> None:
    if not await job_queue.read_queues(conn, [name]):
        raise NotFound(f"JobQueue {name} not found.", member="jobQueue")


def _after_index(token: str | None, scope: str, most: int) -> int:
    """The index after which a page of children or nodes begins, of so many at most."""
    return int(decode_token(token, scope, [range(most)])[0]) if token else -1


def _checked_target(key: JobKey) -> JobKey:
    """What may be cancelled or terminated.

    Raises:
        InvalidRequest: it is a node.
    """
    require(
        not key.is_node,
        f"{key} is a node of a multi-node job, whose nodes end together; give the job's id, "
        f"{key.parent}.",
        "jobId",
    )
    return key


def _parse_or_none(text: str) -> JobKey | None:
    try:
        return JobKey.parse(text)
    except InvalidRequest:
        return None
