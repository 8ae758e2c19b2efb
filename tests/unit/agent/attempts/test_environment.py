"""What a job finds in its environment of where it runs, and of its place in a trace."""

from longshore.agent.attempts.environment import environment
from longshore.v1 import agent_service_pb2 as pb

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def of(endpoint: str = "", **own: str) -> dict[str, str]:
    assignment = pb.Assignment(
        key=pb.AttemptKey(job_id="j", attempt=2),
        job_queue="q",
        traceparent=PARENT,
        tracestate="a=1",
    )
    for name, value in own.items():
        assignment.container.environment.add(name=name, value=value)
    found = environment(assignment, "ce", {}, endpoint)
    return {name: value for name, value in found.items() if not name.startswith("AWS_")}


def test_a_job_gets_its_attempt_s_span() -> None:
    assert of() == {"TRACEPARENT": PARENT, "TRACESTATE": "a=1"}
    # Another trace's state would not be of this one.
    assert of(TRACEPARENT="mine") == {"TRACEPARENT": "mine"}
    assert (
        environment(pb.Assignment(), "ce", {}).keys()
        == environment(pb.Assignment(tracestate="a=1"), "ce", {}).keys()
    )


def test_a_job_learns_of_a_collector_where_the_agent_is_told_of_one() -> None:
    found = of("http://collector:4317", OTEL_RESOURCE_ATTRIBUTES="a=b")
    assert found["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4317"
    assert found["OTEL_RESOURCE_ATTRIBUTES"] == "a=b"
    assert of("http://collector:4317")["OTEL_RESOURCE_ATTRIBUTES"] == (
        "longshore.job.id=j,longshore.job.attempt=2,longshore.job.queue=q"
    )


def test_a_job_learns_that_it_runs_as_on_ecs() -> None:
    """As Metaflow asks."""
    assert environment(pb.Assignment(), "ce", {})["AWS_EXECUTION_ENV"] == "AWS_ECS_EC2"
    own = pb.Assignment()
    own.container.environment.add(name="AWS_EXECUTION_ENV", value="mine")
    assert environment(own, "ce", {})["AWS_EXECUTION_ENV"] == "mine"
