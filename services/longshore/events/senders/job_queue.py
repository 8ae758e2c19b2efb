"""Job queues: an event submits a job.

The job's id follows from the event and the target, so that an event that is delivered twice submits
one job. A job that was submitted so carries a tag with how many events led to it, one after the
other: a rule that its own job sets off again ends there.
"""

import json
import uuid

import grpc
from google.protobuf.json_format import ParseDict, ParseError

from longshore.domain.arn import Arns
from longshore.domain.checks import Json
from longshore.domain.events.hops import HOPS_MAXIMUM, HOPS_TAG, hops_of
from longshore.domain.events.retrying import DeliveryFailed
from longshore.events.senders.failure import failure_of
from longshore.events.senders.text import sent_text
from longshore.state.events.delivery import Delivery, Lane, TargetRecord
from longshore.v1 import job_pb2, submission_service_pb2_grpc

CALL_SECONDS = 10.0
REQUEST_ID_KEY = "x-longshore-request-id"
#: Members of the text that is sent that say how the job differs, as at AWS.
_TAKEN = {"ContainerOverrides": "containerOverrides", "Parameters": "parameters"}


class JobQueues:
    """Submits jobs."""

    def __init__(
        self, submission: submission_service_pb2_grpc.SubmissionServiceStub, arns: Arns
    ) -> None:
        self._submission = submission
        self._arns = arns

    async def send(self, lane: Lane, target: TargetRecord, one: Delivery) -> None:
        """Submits the job of an event; see `Sender`."""
        event: Json = json.loads(one.event)
        hops = hops_of(event) + 1
        if hops > HOPS_MAXIMUM:
            message = (
                f"{HOPS_MAXIMUM} jobs led to each other by events: the rule matches the events of "
                "its own jobs. Narrow its pattern."
            )
            raise DeliveryFailed("LOOP", message, again=False)
        request = self._request(target, sent_text(self._arns, lane, target, one))
        request.tags[HOPS_TAG] = str(hops)
        # A replay is meant to submit once more.
        job_id = uuid.uuid5(one.event_id, "/".join((*lane, event.get("replay-name", ""))))
        try:
            await self._submission.SubmitJob(
                request, metadata=((REQUEST_ID_KEY, str(job_id)),), timeout=CALL_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise failure_of(error) from None

    def _request(self, target: TargetRecord, text: str) -> job_pb2.SubmitJobRequest:
        given = target.target["BatchParameters"]
        detail: Json = {
            "jobName": given["JobName"],
            "jobQueue": target.arn,
            "jobDefinition": given["JobDefinition"],
        }
        if "Size" in given.get("ArrayProperties", {}):
            detail["arrayProperties"] = {"size": given["ArrayProperties"]["Size"]}
        if "Attempts" in given.get("RetryStrategy", {}):
            detail["retryStrategy"] = {"attempts": given["RetryStrategy"]["Attempts"]}
        said = _object(text)
        detail |= {name: _lowered(said[asked]) for asked, name in _TAKEN.items() if asked in said}
        request = job_pb2.SubmitJobRequest()
        try:
            ParseDict(detail, request)
        except (ParseError, RecursionError) as error:
            message = f"What the target gets says no job: {error}"
            raise DeliveryFailed("INVALID_INPUT", message, again=False) from None
        return request


def _object(text: str) -> Json:
    """What is sent, where it is an object; the text of a job may be anything else."""
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _lowered(value: object) -> object:
    """Members of ContainerOverrides by AWS Batch's names, which begin in lower case."""
    if isinstance(value, list):
        return [_lowered(one) for one in value]
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _lowered(inner) for name, inner in value.items()}
    return value
