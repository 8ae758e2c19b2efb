"""The environment of an attempt's main process."""

from collections.abc import Mapping

from longshore.v1 import agent_service_pb2 as pb


def environment(
    assignment: pb.Assignment,
    compute_environment: str,
    secrets: Mapping[str, str],
    otlp_endpoint: str = "",
) -> dict[str, str]:
    """The job's own variables, its secrets and, strongest, the ones that AWS Batch sets.

    Args:
        assignment: of the attempt.
        compute_environment: that the instance belongs to.
        secrets: by the names of their variables.
        otlp_endpoint: of a collector that the job may send what it measures to; empty for none.
    """
    variables = {pair.name: pair.value for pair in assignment.container.environment if pair.name}
    variables |= secrets
    # A job that sets its own place in a trace keeps it, all of it.
    if assignment.traceparent and not variables.keys() & {"TRACEPARENT", "TRACESTATE"}:
        variables["TRACEPARENT"] = assignment.traceparent
        if assignment.tracestate:
            variables["TRACESTATE"] = assignment.tracestate
    if otlp_endpoint:
        key = assignment.key
        what = {"id": key.job_id, "attempt": key.attempt, "queue": assignment.job_queue}
        named = ",".join(f"longshore.job.{name}={value}" for name, value in what.items())
        variables.setdefault("OTEL_EXPORTER_OTLP_ENDPOINT", otlp_endpoint)
        variables.setdefault("OTEL_RESOURCE_ATTRIBUTES", named)
    # Metaflow's step fails without it; the launch type is that of the metadata's document.
    variables.setdefault("AWS_EXECUTION_ENV", "AWS_ECS_EC2")
    variables |= {
        "AWS_BATCH_JOB_ID": assignment.key.job_id,
        "AWS_BATCH_JOB_ATTEMPT": str(assignment.key.attempt),
        "AWS_BATCH_JQ_NAME": assignment.job_queue,
        "AWS_BATCH_CE_NAME": compute_environment,
    }
    if assignment.HasField("array_index"):
        variables["AWS_BATCH_JOB_ARRAY_INDEX"] = str(assignment.array_index)
        variables["AWS_BATCH_JOB_ARRAY_SIZE"] = str(assignment.array_size)
    if assignment.HasField("node"):
        node = assignment.node
        variables["AWS_BATCH_JOB_NODE_INDEX"] = str(node.index)
        variables["AWS_BATCH_JOB_NUM_NODES"] = str(node.num_nodes)
        variables["AWS_BATCH_JOB_MAIN_NODE_INDEX"] = str(node.main_index)
        if node.index != node.main_index:
            variables["AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"] = node.main_address
    return variables
