"""Traces: calls as they go through the services, jobs once they are over."""

import asyncio
import os
import subprocess
import sys
import uuid
from dataclasses import replace

import aiohttp
import pytest
from google.protobuf.duration_pb2 import Duration
from support.collector import attributes, collector
from support.patience import PATIENCE_SECONDS
from support.scheduling import Ended, scheduler_stand
from support.submission import submission_stand

from longshore.domain.job.job import JobKey
from longshore.domain.job.trace import span_id
from longshore.gateway.config import GatewayConfig
from longshore.gateway.server import serve
from longshore.runtime import tracing as module
from longshore.runtime.tracing import TracesConfig, tracing
from longshore.v1 import agent_service_pb2 as pb

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NO_TRACES = """
import importlib, sys
for name in "agent events gateway logs provisioning scaler scheduler submission".split():
    importlib.import_module(f"longshore.{name}.__main__")
from longshore.runtime.tracing import TracesConfig, continued, tracing
with tracing("test", TracesConfig.from_environment({})), continued("x", {"traceparent": "x"}):
    found = [name for name in sys.modules if name.split(".")[0] == "opentelemetry"]
sys.exit(f"imported: {found}" if found else 0)
"""


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    subprocess.run([sys.executable, "-c", NO_TRACES], check=True)


@pytest.fixture(autouse=True)
def _waits_for_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", PATIENCE_SECONDS)


async def test_a_job_is_one_trace_from_its_caller_s_request_to_its_end(database_url: str) -> None:
    with collector() as found:
        # What the collector has is complete once traces are off again.
        with tracing("test", TracesConfig(found.url)):
            async with (
                scheduler_stand(database_url, traced=1.0) as other,
                submission_stand(database_url) as stand,
            ):
                await stand.prepare()
                job = await over_http(stand.target, {"traceparent": CALLER, "tracestate": "a=1"})
                await other.until(job, "RUNNABLE")
                agent = await other.agent(environment="ce")
                await agent.until(lambda: job in agent.assigned)
                told = agent.assigned[job]
                pulled = pb.ImageStart(image="busybox", pull_duration=Duration(nanos=1_000_000))
                await agent.start(job, images=[pulled])
                await agent.end(job, Ended())
                await other.until(job, "SUCCEEDED")
                async with other.scheduler.lead.turn:
                    pass
                await other.scheduler.traces.tick()
                await stand.describe(job)
        trace = CALLER.split("-")[1]
        key = JobKey(uuid.UUID(job))
        [whole] = found.named("job j")
        assert whole.trace_id.hex() == trace
        assert whole.span_id.hex() == span_id(key)
        assert attributes(whole)["longshore.job.id"] == job
        assert attributes(whole)["longshore.job.definition"] == "d:1"
        happened = [event.name for event in whole.events]
        assert happened == ["RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
        [attempt] = found.named("attempt 1")
        assert attempt.parent_span_id == whole.span_id
        assert attributes(attempt)["container.image.name"] == "busybox"
        assert attributes(attempt)["process.exit.code"] == 0
        below = {"pull": attempt, "create": attempt, "run": attempt, "waiting: CAPACITY": whole}
        for name, parent in below.items():
            [span] = found.named(name)
            assert span.parent_span_id == parent.span_id, name
            assert span.start_time_unix_nano <= span.end_time_unix_nano, name
        # The job knew its attempt's span before it ran, and with it what the caller's system keeps.
        assert told.traceparent == f"00-{trace}-{attempt.span_id.hex()}-01"
        assert told.tracestate == "a=1"
        spans = {span.span_id: span for _, span in found.spans}
        # From the job over submission and the gateway back to the caller.
        [submit] = [
            span
            for span in found.named("/longshore.v1.SubmissionService/SubmitJob")
            if spans.get(span.parent_span_id) in found.named("SubmitJob")
        ]
        assert whole.parent_span_id == submit.span_id
        assert spans[submit.parent_span_id].parent_span_id.hex() == CALLER.split("-")[2]
        assert attributes(submit)["rpc.system"] == "grpc"
        served = [
            span
            for span in found.named("/longshore.v1.SubmissionService/SubmitJob")
            if span.parent_span_id == submit.span_id
        ]
        assert len(served) == 1, "the service's own span"
        statements = {
            spans[span.parent_span_id].name: attributes(span)
            for _, span in found.spans
            if "db.system" in attributes(span)
        }
        described = statements["/longshore.v1.SubmissionService/DescribeJobs"]
        assert job not in str(described), "statements, without what they are about"
        names = {span.name for _, span in found.spans}
        assert not [name for name in names if "Connect" in name or "Health" in name], names
        roots = {span.name for _, span in found.spans if not span.parent_span_id}
        assert all(name.startswith("/longshore.v1.") for name in roots), "no tick is a trace"


async def over_http(submission: str, headers: dict[str, str]) -> str:
    """Submits a job through the gateway, with headers besides."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    config = GatewayConfig.from_environment(
        {
            "LONGSHORE_GATEWAY_ADDRESS": "127.0.0.1:0",
            "LONGSHORE_SUBMISSION_PEER_ADDRESS": submission,
        }
    )
    config = replace(config, identity=None)
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(config, stop, ready))
        url = f"http://127.0.0.1:{await ready}/v1/submitjob"
        body = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=body, headers=headers) as response,
        ):
            job = str((await response.json())["jobId"])
        stop.set()
    return job


async def test_children_link_to_their_array_and_failed_ones_are_kept(database_url: str) -> None:
    with collector() as found:
        with tracing("test", TracesConfig(found.url, 0.0)):
            async with scheduler_stand(database_url, traced=0.0) as stand:
                await stand.environment()
                await stand.queue()
                array = await stand.submit(size=3)
                nobody = await stand.submit()
                await stand.agent(
                    answers=lambda told: Ended(exit_code=int(told.key.job_id.endswith(":1")))
                )
                await stand.until(array, "FAILED")
                await stand.until(nobody, "SUCCEEDED")
                async with stand.scheduler.lead.turn:
                    pass
                await stand.scheduler.traces.tick()
        jobs = {attributes(span)["longshore.job.id"]: span for span in found.named("job job")}
        assert jobs.keys() == {array, f"{array}:1"}, "what succeeded is not of the sample"
        child, parent = jobs[f"{array}:1"], jobs[array]
        assert child.trace_id != parent.trace_id
        assert parent.trace_id == uuid.UUID(array).bytes
        [link] = child.links
        assert (link.trace_id, link.span_id) == (parent.trace_id, parent.span_id)
        assert child.status.code == child.status.STATUS_CODE_ERROR
        assert not child.parent_span_id


async def test_without_traces_a_submitter_s_context_goes_on_as_it_is(database_url: str) -> None:
    async with scheduler_stand(database_url) as other, submission_stand(database_url) as stand:
        await stand.prepare()
        agent = await other.agent(environment="ce")
        given = await stand.submit({"traceparent": CALLER})
        broken = await stand.submit({"traceparent": CALLER.replace("-01", "-zz")})
        for job, traceparent in ((given, CALLER), (broken, "")):
            await agent.until(lambda job=job: job in agent.assigned)
            assert agent.assigned[job].traceparent == traceparent


def test_a_collector_that_is_away_holds_nothing_up() -> None:
    """Nor does OpenTelemetry that is not installed go unsaid."""
    away = TracesConfig("http://127.0.0.1:1")
    with tracing("test", away):
        pass
    environ = {"LONGSHORE_TRACES_ENDPOINT": "http://127.0.0.1:1", "PATH": os.environ["PATH"]}
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from longshore.runtime.process import run_until_stopped\n"
        "sys.exit(run_until_stopped('test', None))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "install longshore[otel], or unset it" in run.stdout + run.stderr
