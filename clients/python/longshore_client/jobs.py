"""Jobs: submit, look, wait, stop."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime

from longshore.backoff import Backoff
from longshore.v1 import job_control_service_pb2, job_pb2, key_value_pb2, scheduler_service_pb2
from longshore_client import build
from longshore_client.call import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS, new_request_id
from longshore_client.connection import Connection
from longshore_client.errors import NotFound, Timeout, Unavailable

#: Most ids of one DescribeJobs call.
DESCRIBE_MAXIMUM = 100
STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
FINAL = frozenset({"SUCCEEDED", "FAILED"})
POLL_FIRST_SECONDS = 0.1
POLL_LAST_SECONDS = 2.0


def _trace() -> tuple[tuple[str, str], ...]:
    """This process's place in a trace, as a job has it in its environment: its jobs go on with it.

    What is not of the form is sent along as it is, and no fault of the call.
    """
    found = ((key, os.environ.get(key.upper(), "")) for key in ("traceparent", "tracestate"))
    return tuple(
        (key, text) for key, text in found if text.isascii() and text.isprintable() and text
    )


class JobCalls(Connection):
    """The calls about jobs."""

    async def submit(
        self,
        request: job_pb2.SubmitJobRequest,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it becomes the call's deadline
    ) -> job_pb2.SubmitJobResponse:
        """Submits a job that is described by the whole message.

        The submission carries an id of its own, so that a repetition after a lost answer is the
        same job and never a second one; where the message has a `client_token`, that does it.
        """
        return await self._caller.unary(
            self._submission.SubmitJob,
            request,
            timeout=timeout,
            metadata=(("x-longshore-request-id", new_request_id()), *_trace()),
        )

    async def submit_job(  # noqa: PLR0913 - a job has that many sides
        self,
        name: str,
        *,
        queue: str,
        definition: str,
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        vcpus: float | None = None,
        memory_mib: int | None = None,
        parameters: Mapping[str, str] | None = None,
        array_size: int | None = None,
        max_running: int | None = None,
        num_nodes: int | None = None,
        depends_on: Sequence[str | job_pb2.JobDependency] = (),
        attempts: int | None = None,
        timeout_seconds: int | None = None,
        share: str | None = None,
        priority: int | None = None,
        consumables: Mapping[str, int] | None = None,
        tags: Mapping[str, str] | None = None,
        client_token: str | None = None,
        oom_memory_factor: float | None = None,
        oom_memory_max_mib: int | None = None,
    ) -> str:
        """Submits a job from plain values; what is not given is as in the definition.

        Args:
            name: the job's name.
            queue: name or ARN of a job queue.
            definition: `name`, `name:revision` or ARN of a job definition.
            command: replaces the definition's.
            env: merged over the definition's environment.
            vcpus: replaces the definition's.
            memory_mib: replaces the definition's.
            parameters: values for `Ref::name` in the command.
            array_size: number of children, 1 to 1,000,000; None for a single job.
            max_running: how many children run at one time; None: any number.
            num_nodes: number of nodes, in place of a multi-node definition's.
            depends_on: ids of jobs that must have succeeded before, or dependencies with a type.
            attempts: tries in all, 1 to 10.
            timeout_seconds: longest time that an attempt may run, from 1.
            share: whose job it is, in queues with a scheduling policy, and only there.
            priority: how soon it goes among the jobs of its share, 0 to 9999.
            consumables: units that it needs of consumable resources, by their names or ARNs, in
                place of all that the definition says.
            tags: the user's own labels.
            client_token: for 24 hours the same token and request are answered with the same job.
            oom_memory_factor: after an attempt that had too little memory the next one has so many
                times as much; with `attempts` and the next one.
            oom_memory_max_mib: the most that it gets so.

        Returns:
            The job's id.
        """
        with build.well_formed():
            request = job_pb2.SubmitJobRequest(
                job_name=name,
                job_queue=queue,
                job_definition=definition,
                parameters=parameters,
                depends_on=build.dependencies(depends_on),
                share_identifier=share,
                tags=tags,
                client_token=client_token,
                consumable_resource_properties_override=build.units(consumables),
            )
            overrides = job_pb2.ContainerOverrides(
                command=command or (),
                environment=build.environment(env or {}),
                resource_requirements=build.requirements(vcpus, memory_mib),
            )
        if overrides.ByteSize():
            request.container_overrides.CopyFrom(overrides)
        if array_size is not None:
            with build.well_formed("arrayProperties.size"):
                request.array_properties.size = array_size
        if max_running is not None:
            with build.well_formed("arrayProperties.maxRunning"):
                request.array_properties.max_running = max_running
        if num_nodes is not None:
            with build.well_formed("nodeOverrides.numNodes"):
                request.node_overrides.num_nodes = num_nodes
        if attempts is not None:
            with build.well_formed("retryStrategy.attempts"):
                request.retry_strategy.attempts = attempts
        if oom_memory_factor is not None:
            with build.well_formed("retryStrategy.oomMemoryFactor"):
                request.retry_strategy.oom_memory_factor = oom_memory_factor
        if oom_memory_max_mib is not None:
            with build.well_formed("retryStrategy.oomMemoryMaxMib"):
                request.retry_strategy.oom_memory_max_mib = oom_memory_max_mib
        if timeout_seconds is not None:
            with build.well_formed("timeout.attemptDurationSeconds"):
                request.timeout.attempt_duration_seconds = timeout_seconds
        if priority is not None:
            with build.well_formed("schedulingPriorityOverride"):
                request.scheduling_priority_override = priority
        return (await self.submit(request)).job_id

    async def describe_jobs(self, job_ids: Iterable[str]) -> list[job_pb2.JobDetail]:
        """Everything known of the jobs, in the order asked for; unknown ids are left out."""
        ids = list(dict.fromkeys(job_ids))
        found: dict[str, job_pb2.JobDetail] = {}
        for start in range(0, len(ids), DESCRIBE_MAXIMUM):
            response = await self._caller.unary(
                self._submission.DescribeJobs,
                job_pb2.DescribeJobsRequest(jobs=ids[start : start + DESCRIBE_MAXIMUM]),
            )
            found.update((job.job_id, job) for job in response.jobs)
        return [found[job_id] for job_id in ids if job_id in found]

    async def describe_job(self, job_id: str) -> job_pb2.JobDetail:
        """Everything known of one job.

        Raises:
            NotFound: no such job.
        """
        for job in await self.describe_jobs([job_id]):
            return job
        raise await self.missing_job(job_id)

    async def missing_job(self, job_id: str) -> NotFound:
        """What to say of an id that no job has: it may be of a child that is yet to be made."""
        array_id, _, index = job_id.partition(":")
        if re.fullmatch(r"[0-9]{1,9}", index):
            for array in await self.describe_jobs([array_id]):
                if int(index) < array.array_properties.size and array.status not in FINAL:
                    return NotFound(
                        f"Array job {array_id} is {array.status} and has no children yet: {job_id} "
                        "is there once what the array waits for is over.",
                        job_id=job_id,
                    )
        return NotFound(
            f"There is no job {job_id}; `longshore jobs` lists those there are.", job_id=job_id
        )

    async def list_jobs(
        self,
        queue: str | None = None,
        *,
        array_job: str | None = None,
        multi_node_job: str | None = None,
        status: str | None = None,
        filters: Mapping[str, str] | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[job_pb2.JobSummary]:
        """Jobs of a queue, newest first, or children or nodes by index, page after page.

        Args:
            queue: name or ARN of the job queue; either this or one of the next two.
            array_job: id of the array job whose children to list.
            multi_node_job: id of the multi-node job whose nodes to list.
            status: one of `STATUSES`; None means RUNNING, as in AWS, unless there are filters.
            filters: at most one, by name: JOB_NAME, JOB_DEFINITION, BEFORE_CREATED_AT, ...
            page_size: entries of a page.
        """
        with build.well_formed():
            request = job_pb2.ListJobsRequest(
                job_queue=queue,
                array_job_id=array_job,
                multi_node_job_id=multi_node_job,
                job_status=status,
                max_results=page_size,
                filters=[
                    key_value_pb2.KeyValuesPair(name=name, values=[value])
                    for name, value in (filters or {}).items()
                ],
            )
        while True:
            response = await self._caller.unary(self._submission.ListJobs, request)
            for job in response.job_summary_list:
                yield job
            if not response.next_token:
                return
            request.next_token = response.next_token

    async def watch(self, job_ids: Iterable[str]) -> AsyncIterator[list[job_pb2.JobDetail]]:
        """Describes the jobs again and again, with growing pauses while nothing changes.

        Ends after the description in which every job is SUCCEEDED or FAILED.

        Raises:
            NotFound: one of the ids is unknown.
        """
        ids = list(dict.fromkeys(job_ids))
        pause = Backoff(POLL_FIRST_SECONDS, POLL_LAST_SECONDS)
        last: list[object] = []
        while True:
            jobs = await self.describe_jobs(ids)
            if len(jobs) < len(ids):
                missing = (set(ids) - {job.job_id for job in jobs}).pop()
                raise await self.missing_job(missing)
            yield jobs
            if all(job.status in FINAL for job in jobs):
                return
            seen: list[object] = [
                (job.status, dict(job.array_properties.status_summary)) for job in jobs
            ]
            if seen != last:
                pause.reset()
            last = seen
            await asyncio.sleep(pause.delay())

    async def wait(
        self,
        job_ids: Iterable[str],
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - a job may take days, so None is no limit
        seen: Callable[[list[job_pb2.JobDetail]], None] | None = None,
    ) -> list[job_pb2.JobDetail]:
        """Waits until every job is SUCCEEDED or FAILED and describes them, in the order asked for.

        Args:
            job_ids: which jobs.
            timeout: seconds; None for as long as it takes.
            seen: called with each description on the way, the last one included.

        Raises:
            Timeout: some are neither after `timeout` seconds.
            NotFound: one of the ids is unknown.
        """
        jobs: list[job_pb2.JobDetail] = []
        try:
            async with asyncio.timeout(timeout):
                async for described in self.watch(job_ids):
                    jobs = described
                    if seen is not None:
                        seen(jobs)
        except TimeoutError:
            waiting = [job for job in jobs if job.status not in FINAL]
            which = f"{waiting[0].job_id} is {waiting[0].status}" if waiting else "nothing is known"
            raise Timeout(f"Not all jobs ended within {timeout:g} s: {which}.") from None
        return jobs

    async def cancel_job(self, job_id: str, reason: str) -> None:
        """Asks that a job which has not started does not run."""
        await self._caller.unary(
            self._submission.CancelJob, job_pb2.CancelJobRequest(job_id=job_id, reason=reason)
        )

    async def terminate_job(self, job_id: str, reason: str) -> None:
        """Ends a job in whatever unfinished status it is."""
        await self._caller.unary(
            self._submission.TerminateJob, job_pb2.TerminateJobRequest(job_id=job_id, reason=reason)
        )

    async def stop_jobs(  # noqa: PLR0913 - jobs have that much in common
        self,
        *,
        terminate: bool,
        reason: str = "",
        dry_run: bool = False,
        queue: str | None = None,
        name: str | None = None,
        statuses: Sequence[str] = (),
        definition: str | None = None,
        submitted_after: datetime | None = None,
        submitted_before: datetime | None = None,
        tags: Mapping[str, str] | None = None,
        share: str | None = None,
    ) -> AsyncIterator[job_control_service_pb2.StopJobsResponse]:
        """Cancels or terminates all jobs that have something in common, or only counts them.

        The service does it; a stream that breaks off is begun again, and goes on where it broke.

        Args:
            terminate: end them in whatever status they are; else only those that have not started.
            reason: becomes the status reason of the jobs that this ends.
            dry_run: only count.
            queue: name or ARN of their job queue.
            name: their names, with `*` for any text and `?` for any character.
            statuses: any of these statuses; empty: all that can be stopped.
            definition: name, `name:revision` or ARN of their job definition.
            submitted_after: submitted at this time or later.
            submitted_before: submitted before this time.
            tags: tags that they have.
            share: their share of a queue with a scheduling policy.

        Returns:
            How far it is, again and again; the last one is `complete`.
        """
        action = (
            job_control_service_pb2.STOP_ACTION_TERMINATE
            if terminate
            else job_control_service_pb2.STOP_ACTION_CANCEL
        )
        with build.well_formed():
            request = job_control_service_pb2.StopJobsRequest(
                selection=job_control_service_pb2.JobSelection(
                    job_queue=queue,
                    job_name=name,
                    statuses=statuses,
                    job_definition=definition,
                    submitted_after=build.instant(submitted_after),
                    submitted_before=build.instant(submitted_before),
                    tags=tags,
                    share_identifier=share,
                ),
                action=action,
                reason=reason,
                dry_run=dry_run,
            )
        before = job_control_service_pb2.StopJobsResponse()
        backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS)
        deadline = asyncio.get_running_loop().time() + self._caller.timeout
        while True:
            told = job_control_service_pb2.StopJobsResponse()
            try:
                async for told in self._caller.stream(self._control.StopJobs, request):
                    deadline = asyncio.get_running_loop().time() + self._caller.timeout
                    yield job_control_service_pb2.StopJobsResponse(
                        jobs=before.jobs + told.jobs,
                        children=before.children + told.children,
                        complete=told.complete,
                    )
                    if told.complete:
                        return
            except Unavailable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            if not dry_run:
                before.jobs += told.jobs
                before.children += told.children
            await asyncio.sleep(backoff.delay())

    async def rerun_job(
        self, job_id: str, *, client_token: str | None = None
    ) -> job_control_service_pb2.RerunJobResponse:
        """Runs the failed children of an array that is over again, as a new array.

        Args:
            job_id: the array job.
            client_token: for 24 hours the same token and job are answered with the same new job.
                None: each call makes one.

        Raises:
            NotFound: no such job.
            InvalidRequest: it is no array job.
            PreconditionFailed: it is not over, or none of its children failed.
        """
        with build.well_formed():
            request = job_control_service_pb2.RerunJobRequest(
                job_id=job_id, client_token=client_token or new_request_id()
            )
        return await self._caller.unary(self._control.RerunJob, request)

    async def update_job(
        self,
        job_id: str,
        *,
        queue: str | None = None,
        share: str | None = None,
        priority: int | None = None,
        timeout_seconds: int | None = None,
        vcpus: float | None = None,
        memory_mib: int | None = None,
        gpus: int | None = None,
    ) -> None:
        """Changes a job that waits; of an array, its children that wait.

        Args:
            job_id: a single, multi-node or array job.
            queue: name or ARN of the job queue that it waits in from now on.
            share: whose job it is, in queues with a scheduling policy.
            priority: how soon it goes among the jobs of its share, 0 to 9999.
            timeout_seconds: longest time that an attempt may run.
            vcpus: that it needs instead.
            memory_mib: that it needs instead.
            gpus: that it needs instead.

        Raises:
            NotFound: no such job or queue.
            PreconditionFailed: it has started or is over.
            Unavailable: the scheduler did not act in time; nothing was changed.
        """
        with build.well_formed():
            request = job_control_service_pb2.UpdateJobRequest(
                job_id=job_id,
                job_queue=queue,
                share_identifier=share,
                scheduling_priority=priority,
                attempt_duration_seconds=timeout_seconds,
                resource_requirements=build.requirements(vcpus, memory_mib, gpus),
            )
        await self._caller.unary(self._control.UpdateJob, request)

    async def explain_job(self, job_id: str) -> scheduler_service_pb2.ExplainJobResponse:
        """Why a job is where it is.

        Raises:
            NotFound: no such job.
        """
        return await self._caller.unary(
            self._scheduler.ExplainJob, scheduler_service_pb2.ExplainJobRequest(job_id=job_id)
        )
