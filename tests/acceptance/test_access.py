"""Who is let in, and to what: on a stack that is closed, as every one is from its first start."""

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import boto3
import grpc
import pytest
from acceptance.aws import REGION, Aws
from acceptance.stand import Stack, eventually
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from longshore.v1 import job_pb2, job_queue_pb2, submission_service_pb2_grpc
from longshore_client import AccessKey

#: How long a call may take on a busy machine.
SECONDS = 40
_FOREIGN = AccessKey("LSIA" + "A" * 16, "a" * 40)


@dataclass
class Person:
    """A user with a key."""

    stack: Stack
    name: str
    key: AccessKey

    def call(self, *arguments: str) -> Any:
        """The command, as this user calls it."""
        return self.stack.call(
            *arguments,
            LONGSHORE_ACCESS_KEY_ID=self.key.access_key_id,
            LONGSHORE_SECRET_ACCESS_KEY=self.key.secret_access_key,
        )

    def aws(self, service: str = "batch") -> Any:
        """boto3, as this user calls it."""
        return boto3.client(
            service,
            endpoint_url=self.stack.gateway_url,
            region_name=REGION,
            aws_access_key_id=self.key.access_key_id,
            aws_secret_access_key=self.key.secret_access_key,
        )


def _new(stack: Stack, name: str) -> Person:
    stack.call("user", "create", name, "--group", f"{name}s", check=True)
    key = json.loads(stack.call("key", "create", name, "--json", check=True).stdout)
    return Person(stack, name, AccessKey(key["accessKeyId"], key["secretAccessKey"]))


@pytest.fixture(scope="module")
def ana(stack: Stack) -> Iterator[Person]:
    """May submit to `default`, and look after what she has submitted."""
    made = _new(stack, "ana")
    stack.call("access", "attach", "submitter", "--group", "anas", "--queue", "default", check=True)
    yield made
    stack.call("user", "delete", "ana", check=True)


def _code(error: ClientError) -> tuple[str, int]:
    return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]


def _queues(stack: Stack, metadata: Any) -> Any:
    with grpc.insecure_channel(f"127.0.0.1:{stack.port_base}") as channel:
        stub = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        return stub.DescribeJobQueues(
            job_queue_pb2.DescribeJobQueuesRequest(), timeout=SECONDS, metadata=metadata
        )


def test_the_owners_key_is_the_owners_alone(stack: Stack) -> None:
    for name in ("credentials.json", "tls/stack.key"):
        assert stat.S_IMODE((stack.data_dir / name).stat().st_mode) == 0o600
    assert stack.json("status")["open"] is False
    assert stack.access_key.secret_access_key not in stack.call("user", "show", "admin").stdout


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer"),),
        (("authorization", "Basic YTpi"),),
        (("authorization", "Bearer admin"),),
        _FOREIGN.metadata,
    ],
    ids=["none", "empty", "basic", "token", "foreign"],
)
def test_grpc_without_a_good_key_is_unauthenticated(stack: Stack, metadata: Any) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        _queues(stack, metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_grpc_with_another_keys_secret_is_unauthenticated(stack: Stack, ana: Person) -> None:
    mixed = AccessKey(stack.access_key.access_key_id, ana.key.secret_access_key)
    with pytest.raises(grpc.RpcError) as refused:
        _queues(stack, mixed.metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert ana.key.secret_access_key not in str(refused.value.details())


def test_nobody_is_who_he_says_in_metadata(stack: Stack, ana: Person) -> None:
    """What the gateway tells of callers is no proof of anything."""
    with pytest.raises(grpc.RpcError) as refused:
        _queues(stack, (("x-longshore-access-key-id", ana.key.access_key_id),))
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_http_without_a_good_key_is_refused_as_aws_does(stack: Stack) -> None:
    url = f"{stack.gateway_url}/v1/describejobqueues"
    plain = URLLib3Session().send(AWSPreparedRequest("POST", url, {}, b"{}", None))
    assert (plain.status_code, plain.headers["x-amzn-errortype"]) == (
        403,
        "MissingAuthenticationTokenException",
    )
    with pytest.raises(ClientError) as refused:
        Person(stack, "", _FOREIGN).aws().describe_job_queues()
    assert _code(refused.value) == ("UnrecognizedClientException", 403)
    wrong = AccessKey(stack.access_key.access_key_id, "b" * 40)
    with pytest.raises(ClientError) as refused:
        Person(stack, "", wrong).aws().describe_job_queues()
    assert _code(refused.value) == ("InvalidSignatureException", 403)
    with pytest.raises(ClientError) as refused:
        Person(stack, "", _FOREIGN).aws("logs").describe_log_groups()
    assert _code(refused.value) == ("UnrecognizedClientException", 400)


def test_a_signature_is_good_for_what_was_signed_alone(stack: Stack) -> None:
    key = Credentials(stack.access_key.access_key_id, stack.access_key.secret_access_key)
    url = f"{stack.gateway_url}/v1/listjobs"
    body = b'{"jobQueue":"default"}'
    request = AWSRequest("POST", url, {"Host": url.split("/")[2]}, body)
    SigV4Auth(key, "batch", REGION).add_auth(request)
    ahead = AWSRequest("GET", f"{stack.gateway_url}/v1/tags/arn%3Aaws%3Abatch%3Aq")
    SigV4QueryAuth(key, "batch", REGION, expires=60).add_auth(ahead)

    def send(
        url: str = url, body: bytes = body, method: str = "POST", **headers: str
    ) -> tuple[int, str]:
        sent = {**request.headers, **headers}
        answer = URLLib3Session().send(AWSPreparedRequest(method, url, sent, body, None))
        return answer.status_code, answer.headers.get("x-amzn-errortype", "")

    assert send() == (200, "")
    wrong = (403, "InvalidSignatureException")
    assert send(body=b'{"jobQueue":"other"}') == wrong
    assert send(url=f"{stack.gateway_url}/v1/describejobs") == wrong
    assert send(url=f"{url}?x=y") == wrong
    assert send(Host="localhost:1") == wrong
    assert send(**{"X-Amz-Date": "20200101T000000Z"}) == wrong
    # A service's signature is not another one's.
    target = {"X-Amz-Target": "Logs_20140328.DescribeLogGroups"}
    answer = URLLib3Session().send(
        AWSPreparedRequest("POST", stack.gateway_url, {**request.headers, **target}, body, None)
    )
    assert answer.status_code == 400
    # What was signed ahead is no better: only what it says of the ARN is wrong here.
    answer = URLLib3Session().send(AWSPreparedRequest("GET", ahead.url, {}, b"", None))
    assert answer.headers["x-amzn-errortype"] == "ClientException"
    changed = ahead.url.replace("%3Aq?", "%3Ar?")
    answer = URLLib3Session().send(AWSPreparedRequest("GET", changed, {}, b"", None))
    assert answer.headers["x-amzn-errortype"] == "InvalidSignatureException"


def test_who_may_not_is_told_so_on_each_wire(stack: Stack, ana: Person) -> None:
    environment = [{"order": 1, "computeEnvironment": "default"}]
    with pytest.raises(ClientError) as refused:
        ana.aws().create_job_queue(
            jobQueueName="anas", priority=1, computeEnvironmentOrder=environment
        )
    assert _code(refused.value) == ("AccessDeniedException", 403)
    said = refused.value.response["Error"]["Message"]
    assert said == (
        "User: arn:aws:iam::123456789012:user/ana is not authorized to perform: "
        "batch:CreateJobQueue on resource: "
        "arn:aws:batch:us-east-1:123456789012:job-queue/anas because no identity-based policy "
        "allows the batch:CreateJobQueue action"
    )
    with grpc.insecure_channel(f"127.0.0.1:{stack.port_base}") as channel:
        stub = submission_service_pb2_grpc.SubmissionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as denied:
            stub.SubmitJob(
                job_pb2.SubmitJobRequest(job_name="j", job_queue="other", job_definition="d"),
                timeout=SECONDS,
                metadata=ana.key.metadata,
            )
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
    for command in (("user", "list"), ("key", "create", "ana"), ("instances",)):
        done = ana.call(*command)
        assert (done.returncode, "not authorized to perform" in done.stderr) == (6, True)
    said = stack.call("access", "test", "ana", "batch:SubmitJob", "default").stdout
    assert said == "yes: statement Submit of the policy submitter allows it\n"
    assert stack.call("access", "test", "ana", "batch:SubmitJob", "other").returncode == 1


def _printed(logs: Any, stream: str) -> bool:
    """Whether a stream has something; there is none before its first line."""
    try:
        answer = logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)
    except logs.exceptions.ResourceNotFoundException:
        return False
    return bool(answer["events"])


def test_a_submitter_has_its_own_jobs_alone(stack: Stack, aws: Aws, ana: Person) -> None:
    definition = aws.register("owned", "sh", "-c", "echo printed; sleep 600")
    others = aws.submit("others", definition)
    own = ana.aws().submit_job(jobName="own", jobQueue="default", jobDefinition=definition)["jobId"]
    try:
        described = ana.aws().describe_jobs(jobs=[own, others])["jobs"]
        assert [job["jobId"] for job in described] == [own]
        listed = json.loads(ana.call("jobs", "--json").stdout)
        assert {job["jobName"] for job in listed} == {"own"}
        mine = json.loads(stack.call("jobs", "--mine", "--json", check=True).stdout)
        assert own not in {job["jobId"] for job in mine}
        assert others in {job["jobId"] for job in mine}
        for job_id, may in ((own, True), (others, False)):
            aws.until(job_id, "RUNNING")
            stream = aws.job(job_id)["container"]["logStreamName"]
            logs = ana.aws("logs")
            if may:
                eventually(partial(_printed, logs, stream), "its output is there")
                assert ana.call("explain", job_id).returncode == 0
            else:
                with pytest.raises(ClientError, match="logs:GetLogEvents"):
                    logs.get_log_events(logGroupName="/aws/batch/job", logStreamName=stream)
                assert ana.call("explain", job_id).returncode == 4
        with pytest.raises(ClientError) as refused:
            ana.aws().terminate_job(jobId=others, reason="not mine")
        assert _code(refused.value) == ("AccessDeniedException", 403)
        # Nor does a job get into another queue by a way around.
        moved = ana.call("update", own, "--queue", "other")
        assert (moved.returncode, "batch:SubmitJob" in moved.stderr) == (6, True)
        ana.aws().terminate_job(jobId=own, reason="mine")
        assert aws.end(own)["statusReason"] == "mine"
    finally:
        for job_id in (own, others):
            aws.client.terminate_job(jobId=job_id, reason="over")
    record, *_ = eventually(
        lambda: stack.call("audit", "--name", "SubmitJob", "--user", "ana", "--json").stdout,
        "record of the call",
        SECONDS,
    ).splitlines()
    assert json.loads(record)["userIdentity"]["arn"] == "arn:aws:iam::123456789012:user/ana"


def test_a_key_that_is_disabled_or_over_is_refused_at_once(stack: Stack) -> None:
    bob = _new(stack, "bob")
    try:
        stack.call("access", "attach", "reader", "--user", "bob", check=True)
        assert bob.aws().describe_job_queues()["jobQueues"]
        assert bob.call("queue", "list").returncode == 0
        stack.call("key", "disable", bob.key.access_key_id, check=True)
        with pytest.raises(ClientError) as refused:
            bob.aws().describe_job_queues()
        assert _code(refused.value) == ("UnrecognizedClientException", 403)
        assert bob.call("queue", "list").returncode == 6
        stack.call("key", "enable", bob.key.access_key_id, check=True)
        assert bob.call("queue", "list").returncode == 0
    finally:
        stack.call("user", "delete", "bob", check=True)
    assert bob.call("queue", "list").returncode == 6
