"""What a record of a call has of its request: everything but what may be a secret."""

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from longshore.rpc.parameters import Parameters
from longshore.v1 import (
    event_bridge_service_pb2,
    job_control_service_pb2,
    job_definition_pb2,
    job_pb2,
)

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"


def test_values_that_may_be_secret_are_hidden_wherever_they_are() -> None:
    request = {
        "jobDefinitionName": "d",
        "type": "container",
        "parameters": {"a": "1"},
        "containerProperties": {
            "image": "busybox",
            "command": ["echo", "hello"],
            "environment": [{"name": "TOKEN", "value": "x"}, {"name": "AWS_BATCH_X", "value": "1"}],
            "secrets": [{"name": "S", "valueFrom": "arn:x"}],
            "repositoryCredentials": {"credentialsParameter": "login"},
            "resourceRequirements": [{"type": "VCPU", "value": "1"}],
        },
    }
    message = ParseDict(request, job_definition_pb2.RegisterJobDefinitionRequest())
    request["containerProperties"] |= {  # type: ignore[operator]
        "environment": [{"name": "TOKEN", "value": HIDDEN}, {"name": "AWS_BATCH_X", "value": "1"}],
        "secrets": [{"name": "S", "valueFrom": HIDDEN}],
        "repositoryCredentials": {"credentialsParameter": HIDDEN},
    }
    assert Parameters.of(message.DESCRIPTOR).write(message) == request


def test_what_targets_and_connections_are_called_with_is_hidden() -> None:
    shown = {"Key": "a", "IsValueSecret": False}
    lists = ("HeaderParameters", "QueryStringParameters", "BodyParameters")
    http = {name: [{**shown, "Value": "hush"}] for name in lists}
    client = {"ClientID": "id", "ClientSecret": "hush"}
    oauth = {"ClientParameters": client, "OAuthHttpParameters": http}
    connection = {
        "Name": "AWS_BATCH_X",
        "AuthParameters": {
            "BasicAuthParameters": {"Username": "me", "Password": "hush"},
            "ApiKeyAuthParameters": {"ApiKeyName": "X-Key", "ApiKeyValue": "hush"},
            # Who may call, some say in the address itself.
            "OAuthParameters": {**oauth, "AuthorizationEndpoint": "https://a:hush@b/?t=hush"},
            "InvocationHttpParameters": http,
        },
    }
    target = {
        "Id": "t",
        "Arn": "arn:x",
        "Input": "hush",
        "InputTransformer": {"InputTemplate": "hush"},
        "HttpParameters": {
            "HeaderParameters": {"a": "hush"},
            "QueryStringParameters": {"a": "hush"},
        },
    }
    called = {"Name": "d", "InvocationEndpoint": "https://hooks.example.com/hush"}
    for message in (
        ParseDict(called, event_bridge_service_pb2.CreateApiDestinationRequest()),
        ParseDict(called, event_bridge_service_pb2.UpdateApiDestinationRequest()),
    ):
        written = Parameters.of(message.DESCRIPTOR).write(message)
        assert written == {"Name": "d", "InvocationEndpoint": HIDDEN}
    for message in (
        ParseDict(connection, event_bridge_service_pb2.CreateConnectionRequest()),
        ParseDict(connection, event_bridge_service_pb2.UpdateConnectionRequest()),
        ParseDict({"Targets": [target]}, event_bridge_service_pb2.PutTargetsRequest()),
    ):
        written = Parameters.of(message.DESCRIPTOR).write(message)
        assert "hush" not in repr(written)
        assert repr(written).count(HIDDEN) == (10 if "AuthParameters" in written else 4)


def test_other_forms() -> None:
    request = job_control_service_pb2.StopJobsRequest(
        selection=job_control_service_pb2.JobSelection(
            job_queue="q", tags={"a": "b"}, submitted_after=Timestamp(seconds=1)
        ),
        action=job_control_service_pb2.STOP_ACTION_CANCEL,
    )
    assert Parameters.of(request.DESCRIPTOR).write(request) == {
        "selection": {
            "jobQueue": "q",
            "tags": {"a": "b"},
            "submittedAfter": "1970-01-01T00:00:01Z",
        },
        "action": "STOP_ACTION_CANCEL",
    }
    beyond = job_control_service_pb2.StopJobsRequest(
        selection=job_control_service_pb2.JobSelection(submitted_after=Timestamp(seconds=2**62)),
        action=77,  # type: ignore[arg-type]
    )
    assert Parameters.of(beyond.DESCRIPTOR).write(beyond) == {
        "selection": {"submittedAfter": "out of range"},
        "action": 77,
    }
    token = job_pb2.SubmitJobRequest(client_token="t")  # noqa: S106 - no secret
    assert Parameters.of(token.DESCRIPTOR).write(token) == {"clientToken": HIDDEN}


def test_a_secret_by_its_name_is_hidden_even_without_the_option() -> None:
    file = descriptor_pb2.FileDescriptorProto(
        name="secretive.proto", package="longshore.test.secretive", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    file.message_type.add(name="Login").field.extend(
        [
            field(name="user", number=1, type="TYPE_STRING"),
            field(name="password", number=2, type="TYPE_STRING"),
            field(name="key", number=3, type="TYPE_BYTES"),
        ]
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message = GetMessageClass(pool.FindMessageTypeByName("longshore.test.secretive.Login"))(
        user="u",
        password="p",  # noqa: S106 - no secret
        key=b"abc",
    )
    assert Parameters.of(message.DESCRIPTOR).write(message) == {
        "user": "u",
        "password": HIDDEN,
        "key": "3 bytes",
    }
