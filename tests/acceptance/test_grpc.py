"""The gRPC door with nothing of ours at hand: reflection tells a foreign tool all that it needs."""

import json
import subprocess
import sys
from pathlib import Path

from acceptance.aws import Aws, Gate, Json
from acceptance.stand import eventually
from support.patience import PATIENCE_SECONDS

_BUF = str(Path(sys.executable).parent / "buf")
_SERVICE = "longshore.v1.SubmissionService"


def _curl(aws: Aws, path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(_BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *arguments),
            *("-H", ": ".join(aws.stack.access_key.metadata[0])),
            f"http://127.0.0.1:{aws.stack.port_base}/{path}",
        ],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )


def _answer(aws: Aws, path: str, request: Json) -> Json:
    done = _curl(aws, path, "-d", json.dumps(request))
    assert done.returncode == 0, done.stderr
    answer: Json = json.loads(done.stdout)
    return answer


def test_describe_jobs(aws: Aws) -> None:
    job_id = aws.submit("curl", aws.register("curl", "true"))
    aws.end(job_id)
    (job,) = _answer(aws, f"{_SERVICE}/DescribeJobs", {"jobs": [job_id]})["jobs"]
    assert (job["jobId"], job["jobName"], job["status"]) == (job_id, "curl", "SUCCEEDED")
    assert int(job["createdAt"]) == aws.job(job_id)["createdAt"]


def test_submit_job(aws: Aws) -> None:
    definition = aws.register("curl", "true")
    request = {"jobName": "curled", "jobQueue": "default", "jobDefinition": definition}
    answer = _answer(aws, f"{_SERVICE}/SubmitJob", request)
    assert aws.end(answer["jobId"])["status"] == "SUCCEEDED"


def test_what_waits_for_a_failure_runs_after_it_and_aws_sees_a_plain_dependency(aws: Aws) -> None:
    failing = aws.submit("failing", aws.register("curl-false", "false"))
    definition = aws.register("curl", "true")
    request = {"jobName": "mend", "jobQueue": "default", "jobDefinition": definition}
    edge = {"jobId": failing, "condition": "FAILURE"}
    mend = _answer(aws, f"{_SERVICE}/SubmitJob", request | {"dependsOn": [edge]})["jobId"]
    edge = {"jobId": mend, "condition": "FAILURE"}
    never = _answer(aws, f"{_SERVICE}/SubmitJob", request | {"dependsOn": [edge]})["jobId"]
    job = aws.end(mend)
    assert (job["status"], job["dependsOn"]) == ("SUCCEEDED", [{"jobId": failing}])
    assert job["startedAt"] >= aws.job(failing)["stoppedAt"]
    last = aws.end(never)
    reason = "Dependent Job succeeded, and this job was for its failure"
    assert (last["status"], last["statusReason"]) == ("FAILED", reason)
    (told,) = _answer(aws, f"{_SERVICE}/DescribeJobs", {"jobs": [never]})["jobs"]
    assert told["dependsOn"] == [edge]


def test_no_more_run_than_the_caps_of_an_array_and_a_queue_let(aws: Aws, gate: Gate) -> None:
    """The queue lets two run, the array one; raised, the queue lets more run at once."""

    def said(command: str, *arguments: str) -> str:
        return aws.stack.call(command, *arguments, check=True).stdout.strip()

    said("queue", "create", "capped", "--env", "default", "--max-running", "2")
    (queue,) = aws.client.describe_job_queues(jobQueues=["capped"])["jobQueues"]
    assert "maxRunning" not in queue
    definition = aws.register("capped", "sh", "-c", gate.script(), **gate.volumes)
    submit = ("submit", "capped", "--queue", "capped", "--definition", definition)
    array = said(*submit, "--array", "3", "--max-running", "1")
    first, second = said(*submit), said(*submit)
    aws.until(f"{array}:0", "RUNNING")
    aws.until(first, "RUNNING")
    for job, cap in ((second, "queue: 2 of 2 run"), (f"{array}:1", "array: 1 of 1 run")):
        eventually(lambda job=job, cap=cap: f"the cap of its {cap}" in said("explain", job), cap)
    said("queue", "update", "capped", "--max-running", "9")
    aws.until(second, "RUNNING")
    assert aws.job(f"{array}:1")["status"] == "RUNNABLE"
    gate.open()
    assert aws.end(array)["status"] == "SUCCEEDED"
    for job in (first, second):
        aws.end(job)
    said("queue", "delete", "capped", "--force")


def test_methods_are_listed(aws: Aws) -> None:
    done = _curl(aws, "", "--list-methods")
    assert done.returncode == 0, done.stderr
    methods = done.stdout.split()
    assert {f"{_SERVICE}/SubmitJob", f"{_SERVICE}/ListTagsForResource"} <= set(methods)


def test_health_is_served(aws: Aws) -> None:
    answer = _answer(aws, "grpc.health.v1.Health/Check", {"service": _SERVICE})
    assert answer == {"status": "SERVING"}


def test_refusal_has_a_code_and_a_sentence(aws: Aws) -> None:
    request = {"jobName": "a", "jobQueue": "nowhere", "jobDefinition": "x"}
    done = _curl(aws, f"{_SERVICE}/SubmitJob", "-d", json.dumps(request))
    assert done.returncode != 0
    refused = json.loads(done.stderr)
    assert refused["code"] == "not_found"
    assert refused["message"] == "JobQueue nowhere not found."


def test_an_operation_that_is_not_there_says_so(aws: Aws) -> None:
    done = _curl(aws, f"{_SERVICE}/ListServiceJobs", "-d", "{}")
    assert done.returncode != 0
    refused = json.loads(done.stderr)
    assert refused["code"] == "unimplemented"
    assert "ListServiceJobs is not supported: service environments" in refused["message"]
