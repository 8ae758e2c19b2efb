"""The codec against protobuf's own JSON, and its errors."""

import json
from importlib.metadata import version
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.contract import SERVICE

from longshore.domain.errors import InvalidRequest
from longshore.gateway.codec import Reader, Writer
from longshore.v1 import job_queue_pb2, options_pb2
from longshore.v1.job_pb2 import DescribeJobsRequest, JobDependency, JobSummary, SubmitJobRequest

MESSAGES = [
    descriptor
    for method in SERVICE.methods
    for descriptor in (method.input_type, method.output_type)
]
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_STRING: st.text(max_size=8),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
}


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor) -> Message:
    """A message with a random few of its fields, and so within."""
    message = GetMessageClass(descriptor)()
    shown = [f for f in descriptor.fields if not f.GetOptions().Extensions[options_pb2.extension]]
    chosen = (
        # In the order drawn: that of a set would follow from where descriptors are in memory.
        draw(
            st.lists(
                st.sampled_from(shown),
                max_size=6,
                unique_by=lambda field: field.number,
            )
        )
        if shown
        else []
    )
    for field in chosen:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            value = SCALARS[inner.fields_by_name["value"].type]
            getattr(message, field.name).update(
                draw(st.dictionaries(st.text(max_size=4), value, max_size=3))
            )
        elif inner is not None and field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(messages(inner), max_size=2)))
        elif inner is not None:
            getattr(message, field.name).CopyFrom(draw(messages(inner)))
            getattr(message, field.name).SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(SCALARS[field.type], max_size=3)))
        else:
            setattr(message, field.name, draw(SCALARS[field.type]))
    return message


def read(descriptor: Descriptor, text: str) -> Any:
    message = GetMessageClass(descriptor)()
    Reader.of(descriptor).read(message, json.loads(text))
    return message


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(MESSAGES).flatmap(messages))
def test_agrees_with_protobufs_json(message: Any) -> None:
    descriptor = message.DESCRIPTOR

    written = json.dumps(Writer.of(descriptor).write(message))

    found = read(descriptor, written)
    for field in descriptor.fields:
        # Empty lists are written, too, and some of them mean something where they are read.
        if flag := field.GetOptions().Extensions[options_pb2.cleared_by]:
            found.ClearField(flag)
    assert found == message
    assert json_format.Parse(written, type(message)()) == message


@pytest.mark.parametrize(
    ("text", "member", "complaint"),
    [
        (
            '{"containerOverrides": {"command": ["a", "b", 3]}}',
            "containerOverrides.command[2]",
            "must be a string.",
        ),
        (
            '{"containerOverrides": {"command": "ls"}}',
            "containerOverrides.command",
            "must be a list.",
        ),
        (
            '{"containerOverrides": {"command": [null]}}',
            "containerOverrides.command[0]",
            "must be a string.",
        ),
        ('{"containerOverrides": []}', "containerOverrides", "must be an object."),
        (
            '{"dependsOn": [{"jobId": "a"}, {"jobId": true}]}',
            "dependsOn[1].jobId",
            "must be a string.",
        ),
        ('{"dependsOn": [null]}', "dependsOn[0]", "must be an object."),
        ('{"parameters": {"a": 1}}', "parameters.a", "must be a string."),
        ('{"parameters": [["a", "b"]]}', "parameters", "must be an object."),
        (
            '{"arrayProperties": {"size": "many"}}',
            "arrayProperties.size",
            "must be a whole number.",
        ),
        ('{"arrayProperties": {"size": "٣"}}', "arrayProperties.size", "must be a whole number."),
        ('{"arrayProperties": {"size": 2.5}}', "arrayProperties.size", "must be a whole number."),
        ('{"arrayProperties": {"size": true}}', "arrayProperties.size", "must be a whole number."),
        (
            '{"arrayProperties": {"size": 2147483648}}',
            "arrayProperties.size",
            "must be a whole number from -2147483648 to 2147483647.",
        ),
        (
            '{"arrayProperties": {"size": 1e300}}',
            "arrayProperties.size",
            "must be a whole number from -2147483648 to 2147483647.",
        ),
        ('{"propagateTags": "true"}', "propagateTags", "must be true or false."),
        ('{"jobName": "\\ud800"}', "jobName", "must hold valid Unicode."),
        ('{"tags": {"\\ud800": "a"}}', "tags", "must hold valid Unicode."),
        ('{"tags": {"a": "b", "c": "\\ud800"}}', "tags.c", "must hold valid Unicode."),
        (
            '{"containerOverrides": {"command": ["a", "\\udfff"]}}',
            "containerOverrides.command[1]",
            "must hold valid Unicode.",
        ),
    ],
)
def test_names_the_member_that_is_wrong(text: str, member: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(SubmitJobRequest.DESCRIPTOR, text)

    assert raised.value.message == f"{member} {complaint}"
    assert raised.value.member == member


@pytest.mark.parametrize(
    ("text", "member", "end"),
    [
        ('{"jobname": "a"}', "jobname", "Did you mean jobName?"),
        ('{"timeout": {"zzz": 1}}', "timeout.zzz", "look whether a newer longshore has it."),
    ],
)
def test_an_unknown_member_is_none_of_awss_as_far_as_this_version_knows(
    text: str, member: str, end: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(SubmitJobRequest.DESCRIPTOR, text)

    begin = f"{member} is not a known member: longshore {version('longshore')} has all members"
    assert raised.value.message.startswith(begin)
    assert raised.value.message.endswith(end)
    assert raised.value.member == member


def test_a_required_list_may_be_empty_but_not_absent() -> None:
    assert not read(DescribeJobsRequest.DESCRIPTOR, '{"jobs": []}').jobs
    with pytest.raises(InvalidRequest, match=r"^jobs is required\.$"):
        read(DescribeJobsRequest.DESCRIPTOR, "{}")


@pytest.mark.parametrize("text", ["[]", '"a"', "3", "null"])
def test_the_request_itself_is_an_object(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^The request must be an object\.$"):
        read(SubmitJobRequest.DESCRIPTOR, text)


def test_whole_numbers_may_have_a_point_and_null_is_absent() -> None:
    found = read(
        SubmitJobRequest.DESCRIPTOR,
        '{"arrayProperties": {"size": 3}, "timeout": {"attemptDurationSeconds": 60.0},'
        ' "jobName": null, "retryStrategy": {}, "unheard": null}',
    )

    assert found.array_properties.size == 3
    assert found.timeout.attempt_duration_seconds == 60
    assert not found.HasField("job_name")
    assert found.HasField("retry_strategy")


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("2", 2.0), ("2.5e3", 2500.0)])
def test_decimals(text: str, value: float) -> None:
    found = read(JobSummary.DESCRIPTOR, f'{{"capacityUsage": [{{"quantity": {text}}}]}}')

    assert found.capacity_usage[0].quantity == value


@pytest.mark.parametrize("text", ['"much"', '"0.5"', "true", "1" + "0" * 400, "1e999"])
def test_bad_decimals(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^capacityUsage\[0\]\.quantity must be a number\.$"):
        read(JobSummary.DESCRIPTOR, f'{{"capacityUsage": [{{"quantity": {text}}}]}}')


@pytest.mark.parametrize("text", ['"3"', '"100"', '"3.0"', "2.5", "true", "[3]"])
def test_what_is_no_number_passes_for_none(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^arrayProperties\.size must be a whole number\.$"):
        read(SubmitJobRequest.DESCRIPTOR, f'{{"arrayProperties": {{"size": {text}}}}}')


def test_how_a_dependency_has_to_end_is_no_member_of_aws_s() -> None:
    with pytest.raises(InvalidRequest, match="condition is not a known member"):
        read(SubmitJobRequest.DESCRIPTOR, '{"dependsOn": [{"condition": "COMPLETE"}]}')
    message = SubmitJobRequest(depends_on=[JobDependency(job_id="a", condition="COMPLETE")])
    written = Writer.of(SubmitJobRequest.DESCRIPTOR).write(message)
    assert written["dependsOn"] == [{"jobId": "a"}]


def test_a_message_without_a_form_in_awss_json_is_a_mistake_found_at_the_start() -> None:
    with pytest.raises(TypeError, match="no form in AWS's JSON"):
        Reader.of(Value.DESCRIPTOR)


def test_members_of_longshore_alone_are_unknown_in_requests_and_left_out_of_answers() -> None:
    with pytest.raises(InvalidRequest, match="clientToken is not a known member"):
        read(SubmitJobRequest.DESCRIPTOR, '{"clientToken": "t"}')
    message = SubmitJobRequest(job_name="a", client_token="t")  # noqa: S106
    written = Writer.of(SubmitJobRequest.DESCRIPTOR).write(message)
    assert written["jobName"] == "a"
    assert "clientToken" not in written


def test_an_empty_list_that_empties_something_is_told_from_an_absent_one() -> None:
    descriptor = job_queue_pb2.UpdateJobQueueRequest.DESCRIPTOR
    for text, cleared in (
        ('{"jobQueue": "q", "jobStateTimeLimitActions": []}', True),
        ('{"jobQueue": "q", "jobStateTimeLimitActions": null}', False),
        ('{"jobQueue": "q", "computeEnvironmentOrder": []}', False),
    ):
        message = read(descriptor, text)
        assert message.clear_job_state_time_limit_actions is cleared
        assert message.HasField("clear_job_state_time_limit_actions") is cleared
