"""JobControlService on the wire: check, call, convert."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from longshore.domain.arn import JOB_QUEUE, parse_definition, parse_name
from longshore.domain.checks import require
from longshore.domain.errors import InvalidRequest
from longshore.domain.request.selection import Selection
from longshore.domain.request.update import JobUpdate
from longshore.submission.check import check_request
from longshore.submission.convert import token_of
from longshore.submission.rerunning import Rerunning
from longshore.submission.stopping import Stopping
from longshore.submission.updating import Updating
from longshore.v1 import job_control_service_pb2 as pb
from longshore.v1 import job_control_service_pb2_grpc


class JobControlServicer(job_control_service_pb2_grpc.JobControlServiceServicer):
    """What AWS has not for people with many jobs."""

    def __init__(self, stopping: Stopping, rerunning: Rerunning, updating: Updating) -> None:
        self._stopping = stopping
        self._rerunning = rerunning
        self._updating = updating

    async def StopJobs(
        self, request: pb.StopJobsRequest, context: object
    ) -> AsyncIterator[pb.StopJobsResponse]:
        """Cancels, terminates or counts the jobs that a selection means."""
        check_request(request)
        require(
            request.action in (pb.STOP_ACTION_CANCEL, pb.STOP_ACTION_TERMINATE),
            "action must be STOP_ACTION_CANCEL or STOP_ACTION_TERMINATE.",
            "action",
        )
        async for told in self._stopping.stop(
            _selection(request.selection),
            terminate=request.action == pb.STOP_ACTION_TERMINATE,
            reason=request.reason,
            dry_run=request.dry_run,
        ):
            yield pb.StopJobsResponse(
                jobs=told.jobs, children=told.children, complete=told.complete
            )

    async def RerunJob(self, request: pb.RerunJobRequest, context: object) -> pb.RerunJobResponse:
        """Runs the failed children of an array again."""
        check_request(request)
        token = (
            token_of(request, request.client_token) if request.HasField("client_token") else None
        )
        await self._rerunning.check(request.job_id)
        made = await self._rerunning.rerun(request.job_id, token)
        return pb.RerunJobResponse(job_id=str(made.job_id), size=made.size)

    async def UpdateJob(
        self, request: pb.UpdateJobRequest, context: object
    ) -> pb.UpdateJobResponse:
        """Changes a job that waits."""
        check_request(request)
        await self._updating.check(request.job_id, request.job_queue)
        await self._updating.update(request.job_id, _update(request))
        return pb.UpdateJobResponse()


def _update(given: pb.UpdateJobRequest) -> JobUpdate:
    return JobUpdate(
        job_queue=(
            parse_name(JOB_QUEUE, given.job_queue, member="jobQueue")
            if given.HasField("job_queue")
            else None
        ),
        share=given.share_identifier if given.HasField("share_identifier") else None,
        priority=given.scheduling_priority if given.HasField("scheduling_priority") else None,
        timeout_seconds=(
            given.attempt_duration_seconds if given.HasField("attempt_duration_seconds") else None
        ),
        requirements=tuple(
            {"type": need.type, "value": need.value} for need in given.resource_requirements
        ),
    )


def _selection(given: pb.JobSelection) -> Selection:
    return Selection(
        job_queue=(
            parse_name(JOB_QUEUE, given.job_queue, member="selection.jobQueue")
            if given.HasField("job_queue")
            else None
        ),
        job_name=given.job_name if given.HasField("job_name") else None,
        statuses=tuple(given.statuses),
        definition=(
            parse_definition(given.job_definition, member="selection.jobDefinition")
            if given.HasField("job_definition")
            else None
        ),
        submitted_after=(
            _time(given.submitted_after, "selection.submittedAfter")
            if given.HasField("submitted_after")
            else None
        ),
        submitted_before=(
            _time(given.submitted_before, "selection.submittedBefore")
            if given.HasField("submitted_before")
            else None
        ),
        tags=dict(given.tags),
        share=given.share_identifier if given.HasField("share_identifier") else None,
    )


def _time(given: Timestamp, member: str) -> datetime:
    try:
        return given.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{member} is no time of any calendar.", member=member) from None
