"""SubmissionService on the wire: check, call, convert."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from longshore.domain.arn import (
    COMPUTE_ENVIRONMENT,
    CONSUMABLE_RESOURCE,
    JOB_QUEUE,
    SCHEDULING_POLICY,
    Arns,
    parse_definition,
    parse_name,
)
from longshore.domain.checks import Json, require
from longshore.domain.errors import InvalidRequest
from longshore.domain.job.trace import parse_traceparent
from longshore.domain.request.submission import check_submission
from longshore.rpc.batch import all_of, first_of
from longshore.rpc.caller import arns_for, metadata
from longshore.rpc.refused import refuse
from longshore.submission import answer, convert
from longshore.submission.check import check_request
from longshore.submission.consumables import Consumables
from longshore.submission.definitions import ANSWER_BYTES, Definitions, cut
from longshore.submission.environments import Environments, Queues
from longshore.submission.jobs import Jobs
from longshore.submission.policies import Policies
from longshore.submission.submit import Submitter
from longshore.submission.tags import Tags
from longshore.v1 import compute_environment_pb2 as ce
from longshore.v1 import consumable_resource_pb2 as cr
from longshore.v1 import job_definition_pb2 as jd
from longshore.v1 import job_pb2 as jb
from longshore.v1 import job_queue_pb2 as jq
from longshore.v1 import scheduling_policy_pb2 as sp
from longshore.v1 import submission_service_pb2, submission_service_pb2_grpc, tag_pb2

Context = grpc.aio.ServicerContext[Any, Any]

#: Metadata of SubmitJob: a UUID that becomes the job's id, so that the call can be repeated safely.
REQUEST_ID_KEY = "x-longshore-request-id"
#: Metadata of SubmitJob, as W3C Trace Context has them: the span that a job is submitted from.
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
#: Metadata of UpdateSchedulingPolicy: a FairsharePolicy, serialized. The policy is changed only
#: while it is this one, so that a caller who changes a part of it undoes nobody else's change.
EXPECTED_POLICY_KEY = "x-longshore-expected-policy-bin"


class SubmissionServicer(submission_service_pb2_grpc.SubmissionServiceServicer):
    """One method per AWS operation."""

    def __init__(  # noqa: PLR0913, PLR0917 - all use cases
        self,
        arns: Arns,
        environments: Environments,
        queues: Queues,
        policies: Policies,
        consumables: Consumables,
        definitions: Definitions,
        jobs: Jobs,
        submitter: Submitter,
        tags: Tags,
    ) -> None:
        self._arns = arns
        self._environments = environments
        self._queues = queues
        self._policies = policies
        self._consumables = consumables
        self._definitions = definitions
        self._jobs = jobs
        self._submitter = submitter
        self._tags = tags

    def _arns_for(self, context: Context) -> Arns:
        """ARNs for the caller; asked for before anything is changed, since it may refuse."""
        return arns_for(context, self._arns)

    async def CreateComputeEnvironment(
        self, request: ce.CreateComputeEnvironmentRequest, context: Context
    ) -> ce.CreateComputeEnvironmentResponse:
        """Creates a compute environment; the scaler makes a managed one VALID."""
        check_request(request)
        arns = self._arns_for(context)
        name = await self._environments.create(convert.to_json(request))
        return ce.CreateComputeEnvironmentResponse(
            compute_environment_name=name,
            compute_environment_arn=arns.compute_environment(name),
        )

    async def UpdateComputeEnvironment(
        self, request: ce.UpdateComputeEnvironmentRequest, context: Context
    ) -> ce.UpdateComputeEnvironmentResponse:
        """Changes the members given."""
        check_request(request)
        arns = self._arns_for(context)
        name = _environment_name(request.compute_environment)
        await self._environments.update(name, convert.to_json(request))
        return ce.UpdateComputeEnvironmentResponse(
            compute_environment_name=name,
            compute_environment_arn=arns.compute_environment(name),
        )

    async def DeleteComputeEnvironment(
        self, request: ce.DeleteComputeEnvironmentRequest, context: Context
    ) -> ce.DeleteComputeEnvironmentResponse:
        """Deletes a compute environment, or begins to."""
        check_request(request)
        await self._environments.delete(_environment_name(request.compute_environment))
        return ce.DeleteComputeEnvironmentResponse()

    async def DescribeComputeEnvironments(
        self, request: ce.DescribeComputeEnvironmentsRequest, context: Context
    ) -> ce.DescribeComputeEnvironmentsResponse:
        """Answers the named compute environments, or a page of all."""
        check_request(request)
        page = await self._environments.describe(
            _each(COMPUTE_ENVIRONMENT, request.compute_environments, "computeEnvironments"),
            request.max_results if request.HasField("max_results") else None,
            request.next_token or None,
        )
        arns = self._arns_for(context)
        return ce.DescribeComputeEnvironmentsResponse(
            compute_environments=[answer.environment_to(entry, arns) for entry in page.items],
            next_token=page.next_token,
        )

    async def CreateJobQueue(
        self, request: jq.CreateJobQueueRequest, context: Context
    ) -> jq.CreateJobQueueResponse:
        """Creates a job queue; VALID when this answers."""
        check_request(request)
        arns = self._arns_for(context)
        name = await self._queues.create(convert.to_json(request))
        return jq.CreateJobQueueResponse(job_queue_name=name, job_queue_arn=arns.job_queue(name))

    async def UpdateJobQueue(
        self, request: jq.UpdateJobQueueRequest, context: Context
    ) -> jq.UpdateJobQueueResponse:
        """Changes the members given."""
        check_request(request)
        arns = self._arns_for(context)
        name = _queue_name(request.job_queue)
        await self._queues.update(name, convert.to_json(request))
        return jq.UpdateJobQueueResponse(job_queue_name=name, job_queue_arn=arns.job_queue(name))

    async def DeleteJobQueue(
        self, request: jq.DeleteJobQueueRequest, context: Context
    ) -> jq.DeleteJobQueueResponse:
        """Begins to delete a job queue."""
        check_request(request)
        await self._queues.delete(_queue_name(request.job_queue))
        return jq.DeleteJobQueueResponse()

    async def DescribeJobQueues(
        self, request: jq.DescribeJobQueuesRequest, context: Context
    ) -> jq.DescribeJobQueuesResponse:
        """Answers the named job queues, or a page of all."""
        check_request(request)
        page = await self._queues.describe(
            _each(JOB_QUEUE, request.job_queues, "jobQueues"),
            request.max_results if request.HasField("max_results") else None,
            request.next_token or None,
        )
        arns = self._arns_for(context)
        return jq.DescribeJobQueuesResponse(
            job_queues=[answer.queue_to(entry, arns) for entry in page.items],
            next_token=page.next_token,
        )

    async def GetJobQueueSnapshot(
        self, request: jq.GetJobQueueSnapshotRequest, context: Context
    ) -> jq.GetJobQueueSnapshotResponse:
        """Answers the front of a job queue."""
        check_request(request)
        arns = self._arns_for(context)
        found = await self._queues.snapshot(_queue_name(request.job_queue))
        return answer.snapshot_to(found, arns, datetime.now(UTC))

    async def CreateSchedulingPolicy(
        self, request: sp.CreateSchedulingPolicyRequest, context: Context
    ) -> sp.CreateSchedulingPolicyResponse:
        """Creates a scheduling policy."""
        check_request(request)
        arns = self._arns_for(context)
        name = await self._policies.create(convert.to_json(request))
        return sp.CreateSchedulingPolicyResponse(name=name, arn=arns.scheduling_policy(name))

    async def UpdateSchedulingPolicy(
        self, request: sp.UpdateSchedulingPolicyRequest, context: Context
    ) -> sp.UpdateSchedulingPolicyResponse:
        """Replaces what is given of a scheduling policy."""
        check_request(request)
        name = _policy_name(request.arn)
        await self._policies.update(name, convert.to_json(request), _expected_policy(context))
        return sp.UpdateSchedulingPolicyResponse()

    async def DeleteSchedulingPolicy(
        self, request: sp.DeleteSchedulingPolicyRequest, context: Context
    ) -> sp.DeleteSchedulingPolicyResponse:
        """Deletes a scheduling policy that no queue uses."""
        check_request(request)
        await self._policies.delete(_policy_name(request.arn), request.arn)
        return sp.DeleteSchedulingPolicyResponse()

    async def DescribeSchedulingPolicies(
        self, request: sp.DescribeSchedulingPoliciesRequest, context: Context
    ) -> sp.DescribeSchedulingPoliciesResponse:
        """Answers the named scheduling policies."""
        check_request(request)
        arns = self._arns_for(context)
        found = await self._policies.describe(_each(SCHEDULING_POLICY, request.arns, "arns"))
        return sp.DescribeSchedulingPoliciesResponse(
            scheduling_policies=await all_of(answer.policy_to(policy, arns) for policy in found)
        )

    async def ListSchedulingPolicies(
        self, request: sp.ListSchedulingPoliciesRequest, context: Context
    ) -> sp.ListSchedulingPoliciesResponse:
        """Answers a page of all scheduling policies."""
        check_request(request)
        arns = self._arns_for(context)
        page = await self._policies.list_names(
            request.max_results if request.HasField("max_results") else None,
            request.next_token or None,
        )
        return sp.ListSchedulingPoliciesResponse(
            scheduling_policies=[
                sp.SchedulingPolicyListingDetail(arn=arns.scheduling_policy(name))
                for name in page.items
            ],
            next_token=page.next_token,
        )

    async def CreateConsumableResource(
        self, request: cr.CreateConsumableResourceRequest, context: Context
    ) -> cr.CreateConsumableResourceResponse:
        """Creates a consumable resource."""
        check_request(request)
        arns = self._arns_for(context)
        name = await self._consumables.create(convert.to_json(request))
        return cr.CreateConsumableResourceResponse(
            consumable_resource_name=name, consumable_resource_arn=arns.consumable_resource(name)
        )

    async def UpdateConsumableResource(
        self, request: cr.UpdateConsumableResourceRequest, context: Context
    ) -> cr.UpdateConsumableResourceResponse:
        """Changes how many units there are of a consumable resource."""
        check_request(request)
        arns = self._arns_for(context)
        name = _resource_name(request.consumable_resource)
        total = await self._consumables.update(name, convert.to_json(request))
        return cr.UpdateConsumableResourceResponse(
            consumable_resource_name=name,
            consumable_resource_arn=arns.consumable_resource(name),
            total_quantity=total,
        )

    async def DeleteConsumableResource(
        self, request: cr.DeleteConsumableResourceRequest, context: Context
    ) -> cr.DeleteConsumableResourceResponse:
        """Deletes a consumable resource."""
        check_request(request)
        given = request.consumable_resource
        await self._consumables.delete(_resource_name(given), given)
        return cr.DeleteConsumableResourceResponse()

    async def DescribeConsumableResource(
        self, request: cr.DescribeConsumableResourceRequest, context: Context
    ) -> cr.DescribeConsumableResourceResponse:
        """Answers a consumable resource."""
        check_request(request)
        arns, given = self._arns_for(context), request.consumable_resource
        found = await self._consumables.describe(_resource_name(given), given)
        return answer.resource_to(found, arns)

    async def ListConsumableResources(
        self, request: cr.ListConsumableResourcesRequest, context: Context
    ) -> cr.ListConsumableResourcesResponse:
        """Answers a page of the consumable resources."""
        check_request(request)
        arns = self._arns_for(context)
        page = await self._consumables.list_resources(
            [(entry.name, entry.values) for entry in request.filters],
            request.max_results if request.HasField("max_results") else None,
            request.next_token or None,
        )
        return cr.ListConsumableResourcesResponse(
            consumable_resources=[answer.resource_summary_to(one, arns) for one in page.items],
            next_token=page.next_token,
        )

    async def ListJobsByConsumableResource(
        self, request: cr.ListJobsByConsumableResourceRequest, context: Context
    ) -> cr.ListJobsByConsumableResourceResponse:
        """Answers a page of the jobs that need a consumable resource."""
        check_request(request)
        arns, given = self._arns_for(context), request.consumable_resource
        page = await self._consumables.list_jobs(
            _resource_name(given),
            given,
            [(entry.name, entry.values) for entry in request.filters],
            request.max_results if request.HasField("max_results") else None,
            request.next_token or None,
        )
        return cr.ListJobsByConsumableResourceResponse(
            jobs=await all_of(answer.needing_to(one, arns) for one in page.items),
            next_token=page.next_token,
        )

    async def RegisterJobDefinition(
        self, request: jd.RegisterJobDefinitionRequest, context: Context
    ) -> jd.RegisterJobDefinitionResponse:
        """Registers the next revision of a name."""
        check_request(request, self._definitions.limits)
        arns = self._arns_for(context)
        name, revision = await self._definitions.register(convert.to_json(request))
        return jd.RegisterJobDefinitionResponse(
            job_definition_name=name,
            job_definition_arn=arns.job_definition(name, revision),
            revision=revision,
        )

    async def DeregisterJobDefinition(
        self, request: jd.DeregisterJobDefinitionRequest, context: Context
    ) -> jd.DeregisterJobDefinitionResponse:
        """Makes a revision INACTIVE."""
        check_request(request)
        await self._definitions.deregister(
            parse_definition(request.job_definition, member="jobDefinition")
        )
        return jd.DeregisterJobDefinitionResponse()

    async def DescribeJobDefinitions(
        self, request: jd.DescribeJobDefinitionsRequest, context: Context
    ) -> jd.DescribeJobDefinitionsResponse:
        """Answers the named revisions, or a page of those that match."""
        check_request(request)
        arns = self._arns_for(context)
        if request.job_definitions:
            require(
                not (request.HasField("max_results") or request.next_token),
                "JobDefinitions and MaxResults cannot both be set",
                "maxResults",
            )
            require(
                not (request.job_definition_name or request.status),
                "jobDefinitions cannot be combined with jobDefinitionName or status.",
                "jobDefinitions",
            )
            names = [
                parse_definition(text, member=f"jobDefinitions[{index}]")
                for index, text in enumerate(request.job_definitions)
            ]
            page = await self._definitions.read(names)
        else:
            name = request.job_definition_name
            page = await self._definitions.search(
                parse_definition(name, member="jobDefinitionName").name if name else None,
                request.status or None,
                request.max_results if request.HasField("max_results") else None,
                request.next_token or None,
            )
        made = (answer.definition_to(entry, arns) for entry in page.items)
        if request.job_definitions:
            found = await all_of(made)
        else:
            found = await first_of(made, ANSWER_BYTES)
            page = cut(page, len(found))
        return jd.DescribeJobDefinitionsResponse(job_definitions=found, next_token=page.next_token)

    async def SubmitJob(
        self, request: jb.SubmitJobRequest, context: Context
    ) -> jb.SubmitJobResponse:
        """Stores a job, an array of jobs or a multi-node job."""
        check_request(request, self._submitter.limits)
        arns = self._arns_for(context)
        trace = parse_traceparent(metadata(context, TRACEPARENT), metadata(context, TRACESTATE))
        submission = convert.submission_from(request, _request_id(context), trace)
        check_submission(submission, self._submitter.limits)
        job_id = str(await self._submitter.submit(submission))
        return jb.SubmitJobResponse(
            job_arn=arns.job(job_id), job_name=request.job_name, job_id=job_id
        )

    async def DescribeJobs(
        self, request: jb.DescribeJobsRequest, context: Context
    ) -> jb.DescribeJobsResponse:
        """Answers jobs by id; unknown ids are left out."""
        check_request(request)
        arns = self._arns_for(context)
        described = await self._jobs.describe(request.jobs)
        return jb.DescribeJobsResponse(
            jobs=await all_of(answer.job_to(entry, arns) for entry in described)
        )

    async def ListJobs(self, request: jb.ListJobsRequest, context: Context) -> jb.ListJobsResponse:
        """Lists jobs of a queue, children of an array job or nodes of a multi-node job."""
        check_request(request)
        page = await self._jobs.list_jobs(convert.list_request_from(request))
        arns = self._arns_for(context)
        return jb.ListJobsResponse(
            job_summary_list=await all_of(answer.summary_to(entry, arns) for entry in page.items),
            next_token=page.next_token,
        )

    async def CancelJob(
        self, request: jb.CancelJobRequest, context: Context
    ) -> jb.CancelJobResponse:
        """Asks that a job does not run."""
        check_request(request)
        await self._jobs.cancel(request.job_id, request.reason)
        return jb.CancelJobResponse()

    async def CancelJobs(
        self, request: jb.CancelJobsRequest, context: Context
    ) -> jb.CancelJobsResponse:
        """Asks that jobs do not run."""
        check_request(request)
        successful, failures = await self._jobs.cancel_many(request.jobs, request.reason)
        return jb.CancelJobsResponse(
            successful=successful,
            errors=[
                jb.CancelJobsErrorDetail(job=entry.job, code=entry.code, message=entry.message)
                for entry in failures
            ],
        )

    async def TerminateJob(
        self, request: jb.TerminateJobRequest, context: Context
    ) -> jb.TerminateJobResponse:
        """Asks that a job ends."""
        check_request(request)
        await self._jobs.terminate(request.job_id, request.reason)
        return jb.TerminateJobResponse()

    async def TerminateJobs(
        self, request: jb.TerminateJobsRequest, context: Context
    ) -> jb.TerminateJobsResponse:
        """Asks that jobs end."""
        check_request(request)
        successful, failures = await self._jobs.terminate_many(request.jobs, request.reason)
        return jb.TerminateJobsResponse(
            successful=successful,
            errors=[
                jb.TerminateJobsErrorDetail(job=entry.job, code=entry.code, message=entry.message)
                for entry in failures
            ],
        )

    async def TagResource(
        self, request: tag_pb2.TagResourceRequest, context: Context
    ) -> tag_pb2.TagResourceResponse:
        """Adds tags to a resource."""
        check_request(request)
        await self._tags.add(request.resource_arn, dict(request.tags))
        return tag_pb2.TagResourceResponse()

    async def UntagResource(
        self, request: tag_pb2.UntagResourceRequest, context: Context
    ) -> tag_pb2.UntagResourceResponse:
        """Removes tags from a resource."""
        check_request(request)
        await self._tags.remove(request.resource_arn, request.tag_keys)
        return tag_pb2.UntagResourceResponse()

    async def ListTagsForResource(
        self, request: tag_pb2.ListTagsForResourceRequest, context: Context
    ) -> tag_pb2.ListTagsForResourceResponse:
        """Answers all tags of a resource."""
        check_request(request)
        return tag_pb2.ListTagsForResourceResponse(tags=await self._tags.read(request.resource_arn))


refuse(SubmissionServicer, submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"])


def _expected_policy(context: Context) -> Json | None:
    """What the caller knows of the policy that it changes, if it says so."""
    for key, value in context.invocation_metadata() or ():
        if key == EXPECTED_POLICY_KEY and isinstance(value, bytes):
            try:
                return convert.to_json(sp.FairsharePolicy.FromString(value))
            except DecodeError:
                raise InvalidRequest(
                    f"{EXPECTED_POLICY_KEY} is no FairsharePolicy.", member=EXPECTED_POLICY_KEY
                ) from None
    return None


def _request_id(context: Context) -> uuid.UUID | None:
    text = metadata(context, REQUEST_ID_KEY)
    if text is None:
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidRequest(f"{REQUEST_ID_KEY} is no UUID.", member=REQUEST_ID_KEY) from None


def _environment_name(text: str) -> str:
    return parse_name(COMPUTE_ENVIRONMENT, text, member="computeEnvironment")


def _policy_name(text: str) -> str:
    return parse_name(SCHEDULING_POLICY, text, member="arn")


def _resource_name(text: str) -> str:
    return parse_name(CONSUMABLE_RESOURCE, text, member="consumableResource")


def _queue_name(text: str) -> str:
    return parse_name(JOB_QUEUE, text, member="jobQueue")


def _each(kind: str, texts: Iterable[str], member: str) -> list[str]:
    """The names in a list of names or ARNs."""
    return [parse_name(kind, text, member=f"{member}[{index}]") for index, text in enumerate(texts)]
