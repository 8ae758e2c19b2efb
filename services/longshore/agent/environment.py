"""The environment of an attempt's main process."""

from longshore.v1 import agent_service_pb2 as pb


def environment(assignment: pb.Assignment, compute_environment: str) -> dict[str, str]:
    """The job's own variables and, stronger than those, the ones that AWS Batch sets."""
    variables = {pair.name: pair.value for pair in assignment.container.environment if pair.name}
    variables |= {
        "AWS_BATCH_JOB_ID": assignment.key.job_id,
        "AWS_BATCH_JOB_ATTEMPT": str(assignment.key.attempt),
        "AWS_BATCH_JQ_NAME": assignment.job_queue,
        "AWS_BATCH_CE_NAME": compute_environment,
    }
    if assignment.HasField("array_index"):
        variables["AWS_BATCH_JOB_ARRAY_INDEX"] = str(assignment.array_index)
        variables["AWS_BATCH_JOB_ARRAY_SIZE"] = str(assignment.array_size)
    return variables
