"""Reading what attempts print."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from longshore.backoff import Backoff
from longshore.v1 import ecs_pb2, job_pb2, log_service_pb2
from longshore_client import build
from longshore_client.call import BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS
from longshore_client.errors import InvalidRequest, NotFound, Timeout, Unavailable
from longshore_client.jobs import FINAL, POLL_FIRST_SECONDS, POLL_LAST_SECONDS, JobCalls

#: Seconds without a line after which no more is expected of a log whose attempt has ended: its
#: agent may be gone for good.
REST_SECONDS = 15.0
#: Where agents and container engines log.
AGENTS_GROUP = "/longshore/agent"
#: The only container of a job, as AWS Batch names it.
DEFAULT_CONTAINER = "default"
#: Seconds from a job's end for which the last of its log may be on its way.
RECENT_SECONDS = 60.0
#: What is said in the place of the rest then.
NO_REST = "longshore: the rest of this log has not arrived; its instance may be lost"


@dataclass(frozen=True)
class LogLine:
    """One line that an attempt printed."""

    #: When it was printed.
    printed_at: datetime
    #: Whether it came from standard error.
    is_stderr: bool
    #: The text without its line end; bytes that are not UTF-8 are replaced.
    text: str
    #: Whether the line goes on in the next entry.
    partial: bool
    #: Number of the attempt, from 1; 0 if the log was read by its own name.
    attempt: int = 0

    @classmethod
    def from_entry(cls, entry: log_service_pb2.LogEntry, attempt: int = 0) -> "LogLine":
        """The line of a log service's entry."""
        return cls(
            printed_at=entry.time.ToDatetime(UTC),
            is_stderr=entry.source == log_service_pb2.LOG_SOURCE_STDERR,
            text=entry.text.decode(errors="replace"),
            partial=entry.partial,
            attempt=attempt,
        )


class LogCalls(JobCalls):
    """The calls about logs."""

    async def tail_logs(
        self,
        log_stream_name: str,
        *,
        log_group_name: str = "",
        follow: bool = False,
        tail_lines: int = 0,
        attempt: int = 0,
    ) -> AsyncGenerator[LogLine, None]:
        """Lines of one log; a broken stream goes on where it broke.

        Args:
            log_stream_name: the log's name, from a job's container or attempt.
            log_group_name: the group that the job's log configuration names; '' for that of jobs.
            follow: go on until the attempt has ended and everything is read.
            tail_lines: only the last so many of what is there; 0 for all.
            attempt: put on every line.

        Raises:
            NotFound: nothing is known of that log, and `follow` is not set.
            Unavailable: the log service is away; while following, only after several tries.
            Timeout: the log service said nothing for as long as a call may take.
        """
        with build.well_formed():
            request = log_service_pb2.TailLogsRequest(
                log_stream_name=log_stream_name,
                log_group_name=log_group_name,
                follow=follow,
                tail_lines=tail_lines,
            )
        parts = self._parts(request)
        async with contextlib.aclosing(parts):
            async for part in parts:
                for entry in part.entries:
                    yield LogLine.from_entry(entry, attempt)

    async def _parts(
        self, request: log_service_pb2.TailLogsRequest
    ) -> AsyncGenerator[log_service_pb2.TailLogsResponse, None]:
        """Parts of one log; the request is kept at the position after the last one."""
        backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LAST_SECONDS)
        failures = 0
        follow = request.follow
        while True:
            offset = request.offset
            try:
                timeout = None if follow else self._caller.timeout
                async for part in self._caller.stream(
                    self._logs.TailLogs, request, timeout=timeout
                ):
                    backoff.reset()
                    request.offset = part.next_offset
                    request.tail_lines = 0
                    yield part
                    if part.complete:
                        return
            except (Unavailable, Timeout) as error:
                failures = 0 if request.offset > offset else failures + 1
                # A long log takes longer than one call may, and goes on as long as it gets on.
                if failures > (0 if isinstance(error, Timeout) else 8):
                    raise
                await asyncio.sleep(backoff.delay())
            else:
                if not follow:
                    return
                # The service ended the stream in good order while the log goes on: it is stopping.
                await asyncio.sleep(backoff.delay())

    async def job_logs(
        self,
        job_id: str,
        *,
        follow: bool = False,
        attempt: int | None = None,
        tail_lines: int = 0,
        container: str | None = None,
    ) -> AsyncGenerator[LogLine, None]:
        """Lines that a job printed, attempt after attempt.

        Args:
            job_id: a single job, a child as `id:index`, a node as `id#index`, or a multi-node job,
                of which the main node is read.
            follow: wait for the job to start, and go on until it has ended.
            attempt: only this one, from 1; None for all, in order.
            tail_lines: only the last so many of what is there of each attempt; 0 for all.
            container: of a multi-container job, which one; None for its first essential one.

        Raises:
            InvalidRequest: the job is an array job, which prints nothing itself.
            NotFound: no such job, or no such attempt or container of it.
        """
        read = 0
        pause = Backoff(POLL_FIRST_SECONDS, POLL_LAST_SECONDS)
        while True:
            job, final = await self._printing(job_id)
            job_id = job.job_id
            streams, group = _streams(job, container), _group(job, container)
            if read < len(streams):
                pause.reset()
                name = streams[read]
                read += 1
                if name and attempt in (None, read):
                    lines = (
                        self._followed_lines(job_id, group, name, read, tail_lines)
                        if follow
                        else self._stored_lines(group, name, read, tail_lines)
                    )
                    async with contextlib.aclosing(lines):
                        async for line in lines:
                            yield line
                continue
            if final or not follow:
                if attempt is not None and attempt > read:
                    raise NotFound(f"{job_id} has no attempt {attempt}; it has had {read}.")
                return
            await asyncio.sleep(pause.delay())

    async def agent_logs(
        self, instance_id: str, kind: str = "agent", *, since: datetime, follow: bool = False
    ) -> AsyncGenerator[LogLine, None]:
        """What an agent has said of itself, or the engine of its instance.

        Args:
            instance_id: whose.
            kind: `agent` or `engine`.
            since: what was said at this time or later.
            follow: go on with what is said from now on, without end.

        Raises:
            NotFound: nothing is known of it since then, and `follow` is not set.
        """
        day, known = since.astimezone(UTC).date(), False
        while follow or day <= datetime.now(UTC).date():
            # A day's log that is not there yet is waited for; an earlier one has all it will have.
            is_last = follow and day >= datetime.now(UTC).date()
            name = f"{instance_id}/{kind}/{day.isoformat()}"
            lines = self.tail_logs(name, log_group_name=AGENTS_GROUP, follow=is_last)
            async with contextlib.aclosing(lines):
                with contextlib.suppress(NotFound):
                    async for line in lines:
                        known = True
                        if line.printed_at >= since:
                            yield line
            day += timedelta(days=1)
        if not known:
            raise NotFound(
                f"Nothing is known of what the {kind} of {instance_id} has said since "
                f"{since:%Y-%m-%d %H:%M}."
            )

    async def copy_logs(
        self, job: job_pb2.JobDetail, write: Callable[[bytes], Awaitable[object]]
    ) -> bool:
        """Hands on what a job printed, attempt after attempt, byte by byte as it was printed.

        Args:
            job: as it was described; not an array or multi-node job.
            write: called with one piece after the other.

        Returns:
            Whether that was everything: the job is over, and the logs of its attempts are complete.

        Raises:
            Unavailable: the log service is away.
        """
        final = job.status in FINAL
        age = datetime.now(UTC).timestamp() - job.stopped_at / 1000
        whole = final
        for name in filter(None, _streams(job)):
            request = log_service_pb2.TailLogsRequest(
                log_stream_name=name, log_group_name=_group(job)
            )
            whole &= await self._copy_log(request, write, await_rest=final and age < RECENT_SECONDS)
        return whole

    async def _copy_log(
        self,
        request: log_service_pb2.TailLogsRequest,
        write: Callable[[bytes], Awaitable[object]],
        *,
        await_rest: bool,
    ) -> bool:
        """Hands on one log, with what is on its way if need be; returns whether it is complete."""
        with contextlib.suppress(NotFound):
            async for part in self._parts(request):
                await write(_printed(part))
                if part.complete:
                    return True
        if not await_rest:
            return False
        request.follow = True
        parts = self._parts(request)
        async with contextlib.aclosing(parts):
            with contextlib.suppress(TimeoutError):
                while True:
                    async with asyncio.timeout(REST_SECONDS):
                        part = await anext(parts)
                    await write(_printed(part))
                    if part.complete:
                        return True
        return False

    async def _printing(self, job_id: str) -> tuple[job_pb2.JobDetail, bool]:
        """The job or node that prints, and whether it will never have another attempt.

        Raises:
            InvalidRequest: it is an array job.
            NotFound: no such job.
        """
        # A node goes on when its job is tried again, whatever became of it before.
        whole_id = job_id.partition("#")[0]
        found = {job.job_id: job for job in await self.describe_jobs([job_id, whole_id])}
        if job_id not in found or whole_id not in found:
            raise await self.missing_job(job_id)
        job, final = found[job_id], found[whole_id].status in FINAL
        if job.array_properties.size and not job.array_properties.HasField("index"):
            raise InvalidRequest(
                f"{job_id} is an array job, whose children print; name one, as in {job_id}:0."
            )
        if job.HasField("node_properties"):
            return await self.describe_job(f"{job_id}#{job.node_properties.main_node}"), final
        return job, final

    async def _stored_lines(
        self, group: str, name: str, attempt: int, tail_lines: int
    ) -> AsyncGenerator[LogLine, None]:
        """What there is of an attempt's log; nothing if it is not known."""
        lines = self.tail_logs(name, log_group_name=group, tail_lines=tail_lines, attempt=attempt)
        async with contextlib.aclosing(lines):
            with contextlib.suppress(NotFound):
                async for line in lines:
                    yield line

    async def _followed_lines(
        self, job_id: str, group: str, name: str, attempt: int, tail_lines: int
    ) -> AsyncGenerator[LogLine, None]:
        """Lines of one attempt to the end of its log.

        That may never come, if its instance was lost: then the last line says so.
        """
        lines = self.tail_logs(
            name, log_group_name=group, follow=True, tail_lines=tail_lines, attempt=attempt
        )
        ended = asyncio.create_task(self._attempt_ended(job_id, attempt))
        line: asyncio.Future[LogLine] | None = None
        printed_at = datetime.now(UTC)
        try:
            while True:
                line = asyncio.ensure_future(anext(lines))
                await asyncio.wait({line, ended}, return_when=asyncio.FIRST_COMPLETED)
                if not line.done():
                    ended.result()
                    await asyncio.wait({line}, timeout=REST_SECONDS)
                if not line.done():
                    yield LogLine(printed_at, True, NO_REST, False, attempt)
                    return
                printed_at = line.result().printed_at
                yield line.result()
        except StopAsyncIteration:
            return
        finally:
            # The generator can be closed only when nobody reads from it, also after an interrupt.
            unfinished: list[asyncio.Future[Any]] = [ended] if line is None else [line, ended]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
            await lines.aclose()

    async def _attempt_ended(self, job_id: str, attempt: int) -> None:
        """Returns when an attempt has ended."""
        async for (job,) in self.watch([job_id]):
            if len(job.attempts) >= attempt:
                break


def _printed(part: log_service_pb2.TailLogsResponse) -> bytes:
    return b"".join(entry.text + (b"" if entry.partial else b"\n") for entry in part.entries)


def _streams(job: job_pb2.JobDetail, container: str | None = None) -> list[str]:
    """Names of the logs of a job's attempts, in order; '' for an attempt that printed nothing.

    Raises:
        NotFound: the job has no such container.
    """
    if job.HasField("ecs_properties"):
        return _streams_of_container(job, container)
    if container not in (None, DEFAULT_CONTAINER):
        raise NotFound(f"{job.job_id} has one container alone, and none named {container}.")
    names = [ended.container.log_stream_name for ended in job.attempts]
    current = job.container.log_stream_name
    if current and current not in names:
        names.append(current)
    return names


def _group(job: job_pb2.JobDetail, container: str | None = None) -> str:
    """The group of the logs of one container of a job; '' for that of jobs."""
    configuration = job.container.log_configuration
    if job.HasField("ecs_properties"):
        configuration = _container(job, container).log_configuration
    if configuration.log_driver not in ("", "awslogs"):
        return ""
    return configuration.options.get("awslogs-group", "")


def _container(job: job_pb2.JobDetail, container: str | None) -> ecs_pb2.TaskContainerDetails:
    """One container of a multi-container job; if none is named, its first essential one.

    Raises:
        NotFound: the job has no such container.
    """
    containers = job.ecs_properties.task_properties[0].containers
    if container is None:
        return next(c for c in containers if c.essential or not c.HasField("essential"))
    found = {one.name: one for one in containers}
    if container not in found:
        raise NotFound(
            f"{job.job_id} has no container named {container}; it has {', '.join(found)}."
        )
    return found[container]


def _streams_of_container(job: job_pb2.JobDetail, container: str | None) -> list[str]:
    """Names of the logs of one container of a multi-container job."""
    wanted = _container(job, container)
    names = [
        one.log_stream_name
        for ended in job.attempts
        for task in ended.task_properties
        for one in task.containers
        if one.name == wanted.name
    ]
    current = wanted.log_stream_name
    if current and current not in names:
        names.append(current)
    return names
