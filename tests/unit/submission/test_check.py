import contextlib

import pytest
from google.protobuf import message_factory
from google.protobuf.json_format import ParseDict

from longshore.domain.errors import InvalidRequest
from longshore.submission.check import check_request
from longshore.v1 import job_definition_pb2, job_pb2, submission_service_pb2


def member_of(message: object, **members: object) -> str:
    """The member that a check of the message refuses."""
    with pytest.raises(InvalidRequest) as caught:
        check_request(ParseDict(members, message))  # type: ignore[type-var]
    return caught.value.member


def test_missing_members_are_named_by_their_path() -> None:
    assert member_of(job_pb2.SubmitJobRequest(), jobName="j", jobQueue="q") == "jobDefinition"
    requirement = {"resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY"}]}
    assert (
        member_of(
            job_definition_pb2.RegisterJobDefinitionRequest(),
            jobDefinitionName="d",
            type="container",
            containerProperties=requirement,
        )
        == "containerProperties.resourceRequirements[1].value"
    )


def test_unknown_values_are_named_with_those_that_are_known() -> None:
    request = job_pb2.ListJobsRequest(job_queue="q", job_status="DONE")
    with pytest.raises(InvalidRequest) as caught:
        check_request(request)
    assert caught.value.message.startswith("jobStatus is 'DONE'; it must be one of FAILED, ")


def test_lists_of_values_are_checked_one_by_one() -> None:
    request = job_definition_pb2.RegisterJobDefinitionRequest()
    path = member_of(
        request, jobDefinitionName="d", type="container", platformCapabilities=["EC2", "MOON"]
    )
    assert path == "platformCapabilities[1]"


def test_actions_may_have_any_letter_case() -> None:
    request = job_pb2.SubmitJobRequest(job_name="j", job_queue="q", job_definition="d")
    request.retry_strategy.evaluate_on_exit.add(action="rEtRy")
    check_request(request)
    request.retry_strategy.evaluate_on_exit.add(action="AGAIN")
    with pytest.raises(InvalidRequest, match=r"retryStrategy.evaluateOnExit\[1\].action"):
        check_request(request)


def test_an_empty_string_is_there() -> None:
    check_request(job_pb2.CancelJobRequest(job_id="", reason=""))


def test_every_request_can_be_checked() -> None:
    service = submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"]
    for method in service.methods:
        request = message_factory.GetMessageClass(method.input_type)()
        with contextlib.suppress(InvalidRequest):
            check_request(request)
