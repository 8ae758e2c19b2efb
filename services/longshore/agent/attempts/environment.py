"""The environment of an attempt's main process."""

from collections.abc import Mapping

from longshore.v1 import agent_service_pb2 as pb


def environment(
    assignment: pb.Assignment, compute_environment: str, secrets: Mapping[str, str]
) -> dict[str, str]:
    """The job's own variables, its secrets and, strongest, the ones that AWS Batch sets."""
    variables = {pair.name: pair.value for pair in assignment.container.environment if pair.name}
    variables |= secrets
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
