"""Which services answer what the gateway is asked."""

from longshore.v1 import (
    cloud_trail_service_pb2,
    cloudwatch_logs_service_pb2,
    ecs_service_pb2,
    event_bridge_service_pb2,
    submission_service_pb2,
)

#: By the name of the process that serves them, as in LONGSHORE_<NAME>_ADDRESS. One may have routes
#: of its own; the others have `json_service`.
SERVICES = {
    "submission": (
        submission_service_pb2.DESCRIPTOR.services_by_name["SubmissionService"],
        ecs_service_pb2.DESCRIPTOR.services_by_name["EcsService"],
    ),
    "events": (
        event_bridge_service_pb2.DESCRIPTOR.services_by_name["EventBridgeService"],
        cloud_trail_service_pb2.DESCRIPTOR.services_by_name["CloudTrailService"],
    ),
    "logs": (cloudwatch_logs_service_pb2.DESCRIPTOR.services_by_name["CloudWatchLogsService"],),
}
