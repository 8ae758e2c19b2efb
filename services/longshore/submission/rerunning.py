"""Arrays that run the failed children of other arrays again."""

import asyncio
import json
import uuid
from dataclasses import dataclass

from longshore.domain.errors import LimitExceeded, PreconditionFailed
from longshore.domain.fair_share import ACTIVE_MAX
from longshore.domain.job.arrays import Origins, origins
from longshore.domain.limits import Limits
from longshore.domain.request.consumable import PROPERTIES, sum_up
from longshore.domain.request.consumable import missing as missing_resource
from longshore.domain.request.rerun import OldArray, check_array, check_old, check_size
from longshore.domain.request.submission import (
    TOKEN_SECONDS,
    Token,
    check_queue,
    check_token,
    dependency_json,
    needs_of_job,
    repeated_job,
)
from longshore.rpc.permission import current_user
from longshore.state.pool import Connection, Pool, transaction
from longshore.state.submission import job_rerun, job_submission, share, submission_token
from longshore.state.submission.job_submission import NewJob, ShapeKey
from longshore.submission.job_access import check_again
from longshore.submission.measuring import count_submitted


@dataclass(frozen=True, slots=True)
class Rerun:
    """The array that was made."""

    job_id: uuid.UUID
    size: int


class Rerunning:
    """Makes arrays of failed children."""

    def __init__(self, pool: Pool, limits: Limits) -> None:
        """Makes the use case.

        Args:
            pool: of the database.
            limits: how few children an array may have.
        """
        self._pool = pool
        self._limits = limits

    async def check(self, text: str) -> None:
        """Checks that the caller may run an array again.

        Raises:
            PermissionDenied: he may not.
        """
        await check_again(self._pool, text)

    async def rerun(self, text: str, token: Token | None) -> Rerun:
        """Stores an array of the failed children of another one.

        Raises:
            NotFound: there is no such job, or no more a consumable resource that it needs.
            InvalidRequest: it is no array.
            PreconditionFailed: it is not over, none failed or too few for an array, or its queue
                takes no jobs.
        """
        key = check_array(text)
        if token is not None:
            check_token(token.text)
        async with transaction(self._pool) as conn:
            new_id = uuid.uuid4()
            if token is not None:
                used = await submission_token.claim(conn, {token: new_id}, TOKEN_SECONDS)
                if token.text in used:
                    return await _made(conn, repeated_job(token, used[token.text]))
            old = check_old(key, await job_rerun.find(conn, key.job_id))
            runs = await job_rerun.failed_runs(conn, key.job_id)
            made, size = await asyncio.to_thread(origins, runs, old.size or 0, old.origins)
            if not size:
                raise PreconditionFailed(
                    f"Array job {key} failed before it had children; submit it again with "
                    "SubmitJob.",
                    member="jobId",
                )
            check_size(key, size, self._limits.array_min)
            await self._store(conn, new_id, old, made, size)
        count_submitted(old.job_queue, size)
        return Rerun(new_id, size)

    async def _store(
        self, conn: Connection, job_id: uuid.UUID, old: OldArray, made: Origins, size: int
    ) -> None:
        queues = await job_submission.lock_queues(conn, [old.job_queue])
        check_queue(old.job_queue, queues.get(old.job_queue))
        if old.share and await share.enter(conn, {(old.job_queue, old.share)}, ACTIVE_MAX):
            raise LimitExceeded(
                f"JobQueue {old.job_queue} has {ACTIVE_MAX} active shares, the most that there may "
                f"be; run {old.share}'s jobs again once another share's are over."
            )
        units = sum_up([(old.detail.get(PROPERTIES), 1)])
        if gone := await job_submission.missing_resources(conn, {name for name, _ in units}):
            raise missing_resource(min(gone))
        shape = ShapeKey.of(
            job_id,
            old.job_queue,
            needs_of_job(old.detail),
            priority=old.detail.get("schedulingPriority", 0),
            share=old.share,
            max_running=old.detail.get("arrayProperties", {}).get("maxRunning"),
            units=units,
        )
        shapes = await job_submission.find_or_add_shapes(conn, [shape])
        depends_on = old.depends_on
        detail = old.detail | {"dependsOn": [dependency_json(entry) for entry in depends_on]}
        job = NewJob(
            job_id=job_id,
            job_queue=old.job_queue,
            shape_id=shapes[shape],
            name=old.name,
            definition_name=old.definition_name,
            definition_revision=old.definition_revision,
            array_size=size,
            num_nodes=None,
            main_node=None,
            attempts_max=old.attempts_max,
            timeout_seconds=old.timeout_seconds,
            detail=json.dumps(detail, separators=(",", ":")),
            container=old.container,
            task=old.task,
            nodes=None,
            tags=old.tags,
            depends_on=depends_on,
            share=old.share,
            units=units,
            submitted_by=user.principal.user if (user := current_user()) else "",
        )
        await job_submission.insert_jobs(conn, [job])
        await job_rerun.mark(conn, job_id, old.job_id, made)


async def _made(conn: Connection, job_id: uuid.UUID) -> Rerun:
    """An array that was made before.

    Raises:
        PreconditionFailed: it is there no more.
    """
    found = await job_rerun.find(conn, job_id)
    if found is None or found.size is None:
        raise PreconditionFailed(
            f"Array job {job_id}, which this token has made, is there no more."
        )
    return Rerun(job_id, found.size)
