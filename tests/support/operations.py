"""Each operation of AWS's model called so that it does what it asks for, and so that it is refused.

All requests are made to one database, as `prepare` leaves it, and each to it as it was then: what
an earlier one changed has been put back.
"""

from dataclasses import dataclass
from typing import Any

from support.submission import a_container, a_queue, a_range, some_nodes
from support.wire import Wire, an_id

Json = dict[str, Any]

ROLE = "arn:aws:iam::123456789012:role/some"
_BATCH = "arn:aws:batch:us-east-1:123456789012"
POLICY = f"{_BATCH}:scheduling-policy/busy"
JOB, ARRAY, NODES, NO_JOB = (an_id(number) for number in (1, 2, 3, 404))

RESOURCES: Json = {
    "type": "SPOT",
    "allocationStrategy": "SPOT_CAPACITY_OPTIMIZED",
    "minvCpus": 0,
    "maxvCpus": 16,
    "desiredvCpus": 2,
    "instanceTypes": ["c6i"],
    "subnets": ["subnet-0a1b2c"],
    "securityGroupIds": ["sg-1"],
    "instanceRole": "ecsInstanceRole",
    "ec2KeyPair": "my key",
    "placementGroup": "near",
    "imageId": "ami-1",
    "tags": {"owner": "me"},
    "bidPercentage": 80,
    "spotIamFleetRole": ROLE,
    "launchTemplate": {"launchTemplateName": "mine", "version": "1"},
    "ec2Configuration": [{"imageType": "ECS_AL2023", "imageIdOverride": "ami-2"}],
    "scalingPolicy": {"minScaleDownDelayMinutes": 20},
}
FAIRSHARE: Json = {
    "shareDecaySeconds": 600,
    "computeReservation": 10,
    "shareDistribution": [
        {"shareIdentifier": "one", "weightFactor": 0.5},
        {"shareIdentifier": "team*"},
    ],
}
UNITS: Json = {"consumableResourceList": [{"consumableResource": "licence", "quantity": 1}]}
RETRY: Json = {
    "attempts": 3,
    "evaluateOnExit": [
        {"onExitCode": "1*", "onReason": "a b", "onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onReason": "*", "action": "exit"},
    ],
}
CONTAINER: Json = a_container(
    command=["echo", "Ref::who"],
    environment=[{"name": "A", "value": "1"}],
    secrets=[{"name": "S", "valueFrom": "my-parameter"}],
    jobRoleArn=ROLE,
    executionRoleArn=ROLE,
    volumes=[{"name": "data", "host": {"sourcePath": "/srv/data"}}, {"name": "scratch"}],
    mountPoints=[{"sourceVolume": "data", "containerPath": "/data", "readOnly": True}],
    ulimits=[{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
    user="me:us",
    privileged=False,
    readonlyRootFilesystem=True,
    linuxParameters={
        "devices": [{"hostPath": "/dev/null", "containerPath": "/dev/n", "permissions": ["READ"]}],
        "initProcessEnabled": True,
        "sharedMemorySize": 64,
        "tmpfs": [{"containerPath": "/t", "size": 1, "mountOptions": ["ro"]}],
        "maxSwap": 10,
        "swappiness": 10,
    },
    logConfiguration={
        "logDriver": "splunk",
        "options": {"splunk-url": "https://splunk.example", "tag": "mine"},
        "secretOptions": [{"name": "splunk-token", "valueFrom": "my-parameter"}],
    },
    repositoryCredentials={
        "credentialsParameter": "arn:aws:secretsmanager:us-east-1:123456789012:secret:login"
    },
)


#: Of a single container what each of several may have, too.
_SHARED: Json = {
    name: value
    for name, value in CONTAINER.items()
    if name not in ("jobRoleArn", "executionRoleArn", "volumes")
}
SEVERAL: Json = {
    "taskProperties": [
        {
            "containers": [
                {
                    "name": "main",
                    "dependsOn": [{"containerName": "side", "condition": "COMPLETE"}],
                    "essential": True,
                    "stopTimeout": 10,
                    **_SHARED,
                },
                {"name": "side", "essential": False, "startTimeout": 60, **_SHARED},
            ],
            "taskRoleArn": ROLE,
            "executionRoleArn": ROLE,
            "ipcMode": "task",
            "pidMode": "host",
            "volumes": CONTAINER["volumes"],
        }
    ]
}
SEVERAL_CHANGED: Json = {
    "taskProperties": [
        {
            "containers": [
                {
                    "name": "side",
                    "command": ["true"],
                    "environment": [{"name": "B", "value": "2"}],
                    "resourceRequirements": [{"type": "MEMORY", "value": "128"}],
                }
            ]
        }
    ]
}


@dataclass(frozen=True)
class Refusal:
    """A request that is refused, and what is said."""

    request: Json
    says: str


@dataclass(frozen=True)
class Operation:
    """What there is to say of an operation."""

    #: Requests that are done, with as many members as there can be.
    good: tuple[Json, ...]
    refusals: tuple[Refusal, ...]


def _operation(*good: Json, refused: dict[str, Json]) -> Operation:
    """Refusals by what they say."""
    return Operation(good, tuple(Refusal(request, says) for says, request in refused.items()))


OPERATIONS: dict[str, Operation] = {
    "CreateComputeEnvironment": _operation(
        {
            "computeEnvironmentName": "fresh",
            "type": "MANAGED",
            "state": "ENABLED",
            "serviceRole": ROLE,
            "computeResources": RESOURCES,
            "tags": {"a": "b"},
            "context": "any",
            "ecsSettings": {"containerInsights": "DISABLED"},
        },
        {"computeEnvironmentName": "fresh", "type": "UNMANAGED", "unmanagedvCpus": 4},
        {
            "computeEnvironmentName": "fresh",
            "type": "MANAGED",
            "computeResources": {
                "type": "FARGATE",
                "maxvCpus": 4,
                "subnets": ["subnet-1"],
                "securityGroupIds": ["sg-1"],
            },
        },
        refused={
            "Object already exists": {"computeEnvironmentName": "ce", "type": "UNMANAGED"},
            "computeResources is required": {"computeEnvironmentName": "x", "type": "MANAGED"},
        },
    ),
    "UpdateComputeEnvironment": _operation(
        {
            "computeEnvironment": "managed",
            "state": "DISABLED",
            "computeResources": {"minvCpus": 1, "maxvCpus": 32, "desiredvCpus": 4},
            "context": "any",
            "ecsSettings": {"containerInsights": "DISABLED"},
        },
        {
            "computeEnvironment": "managed",
            "computeResources": {
                name: value for name, value in RESOURCES.items() if name != "spotIamFleetRole"
            }
            | {"updateToLatestImageVersion": True},
            "updatePolicy": {"terminateJobsOnUpdate": True, "jobExecutionTimeoutMinutes": 30},
        },
        {"computeEnvironment": "ce", "unmanagedvCpus": 8},
        refused={
            "nowhere does not exist": {"computeEnvironment": "nowhere"},
            "Manually scaling down": {
                "computeEnvironment": "managed",
                "computeResources": {"desiredvCpus": 0},
            },
        },
    ),
    "DeleteComputeEnvironment": _operation(
        {"computeEnvironment": "spare"},
        refused={
            "nowhere does not exist": {"computeEnvironment": "nowhere"},
            "ce is ENABLED; disable it first": {"computeEnvironment": "ce"},
            "found existing JobQueue relationship": {"computeEnvironment": "off"},
        },
    ),
    "DescribeComputeEnvironments": _operation(
        {"computeEnvironments": ["ce", "nowhere"]},
        {"maxResults": 2},
        refused={
            "ComputeEnvironments and MaxResults cannot both be set": {
                "computeEnvironments": ["ce"],
                "maxResults": 1,
            },
            "nextToken": {"nextToken": "forged"},
        },
    ),
    "CreateJobQueue": _operation(
        {
            "jobQueueName": "fresh",
            "state": "ENABLED",
            "priority": 5,
            "schedulingPolicyArn": POLICY,
            "computeEnvironmentOrder": [
                {"order": 1, "computeEnvironment": "ce"},
                {"order": 2, "computeEnvironment": f"{_BATCH}:compute-environment/managed"},
            ],
            "jobQueueType": "ECS",
            "tags": {"a": "b"},
        },
        refused={
            "Object already exists": a_queue("q"),
            "ComputeEnvironment nowhere not found": a_queue("x", "nowhere"),
            "needs at least one compute environment": {"jobQueueName": "x", "priority": 1},
        },
    ),
    "UpdateJobQueue": _operation(
        {
            "jobQueue": "shared",
            "state": "DISABLED",
            "priority": 7,
            "schedulingPolicyArn": f"{_BATCH}:scheduling-policy/idle",
            "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": "managed"}],
        },
        refused={
            "nowhere does not exist": {"jobQueue": "nowhere"},
            "created without a scheduling policy": {"jobQueue": "q", "schedulingPolicyArn": POLICY},
        },
    ),
    "DeleteJobQueue": _operation(
        {"jobQueue": "closed"},
        refused={
            "nowhere does not exist": {"jobQueue": "nowhere"},
            "q is ENABLED; disable it first": {"jobQueue": "q"},
        },
    ),
    "DescribeJobQueues": _operation(
        {"jobQueues": ["q", "nowhere"]},
        {"maxResults": 2},
        refused={
            "JobQueues and MaxResults cannot both be set": {"jobQueues": ["q"], "maxResults": 1},
            "maxResults is 101": {"maxResults": 101},
        },
    ),
    "GetJobQueueSnapshot": _operation(
        {"jobQueue": "q"}, refused={"JobQueue nowhere not found": {"jobQueue": "nowhere"}}
    ),
    "RegisterJobDefinition": _operation(
        {
            "jobDefinitionName": "d",
            "type": "container",
            "parameters": {"who": "you"},
            "schedulingPriority": 9,
            "containerProperties": CONTAINER,
            "retryStrategy": RETRY,
            "propagateTags": True,
            "timeout": {"attemptDurationSeconds": 60},
            "tags": {"a": "b"},
            "platformCapabilities": ["EC2"],
            "consumableResourceProperties": UNITS,
        },
        {
            "jobDefinitionName": "d",
            "type": "multinode",
            "nodeProperties": some_nodes(
                a_range("0:1", instanceTypes=["c6i.large"], consumableResourceProperties=UNITS),
                a_range("2:"),
                num_nodes=4,
            ),
        },
        {
            "jobDefinitionName": "d",
            "type": "container",
            "containerProperties": {
                "image": "busybox",
                "executionRoleArn": ROLE,
                "resourceRequirements": [
                    {"type": "VCPU", "value": "0.25"},
                    {"type": "MEMORY", "value": "512"},
                ],
                "networkConfiguration": {"assignPublicIp": "ENABLED"},
                "fargatePlatformConfiguration": {"platformVersion": "LATEST"},
                "ephemeralStorage": {"sizeInGiB": 21},
                "runtimePlatform": {"operatingSystemFamily": "LINUX", "cpuArchitecture": "X86_64"},
            },
            "platformCapabilities": ["FARGATE"],
        },
        {"jobDefinitionName": "d", "type": "container", "ecsProperties": SEVERAL},
        {
            "jobDefinitionName": "d",
            "type": "container",
            "ecsProperties": {
                "taskProperties": [
                    {
                        "containers": [
                            {
                                "name": "only",
                                "image": "busybox",
                                "resourceRequirements": [
                                    {"type": "VCPU", "value": "0.25"},
                                    {"type": "MEMORY", "value": "512"},
                                ],
                            }
                        ],
                        "executionRoleArn": ROLE,
                        "pidMode": "task",
                        "networkConfiguration": {"assignPublicIp": "ENABLED"},
                        "platformVersion": "LATEST",
                        "ephemeralStorage": {"sizeInGiB": 21},
                        "runtimePlatform": {
                            "operatingSystemFamily": "LINUX",
                            "cpuArchitecture": "X86_64",
                        },
                    }
                ]
            },
            "platformCapabilities": ["FARGATE"],
        },
        {
            "jobDefinitionName": "d",
            "type": "multinode",
            "nodeProperties": some_nodes(
                a_range("0:1"), {"targetNodes": "2:", "ecsProperties": SEVERAL}, num_nodes=4
            ),
        },
        {
            "jobDefinitionName": "d",
            "type": "container",
            "containerProperties": {"image": "busybox", "vcpus": 1, "memory": 64},
        },
        refused={
            "vCPU is not provided.": {
                "jobDefinitionName": "d",
                "type": "container",
                "containerProperties": {"image": "busybox"},
            },
            "RetryAttempts must be provided with retry strategy": {
                "jobDefinitionName": "d",
                "type": "container",
                "containerProperties": a_container(),
                "retryStrategy": {},
            },
        },
    ),
    "DeregisterJobDefinition": _operation(
        {"jobDefinition": "d:1"},
        {"jobDefinition": f"{_BATCH}:job-definition/d:1"},
        refused={"JobDefinition nothing:1 not found": {"jobDefinition": "nothing:1"}},
    ),
    "DescribeJobDefinitions": _operation(
        {"jobDefinitions": ["d:1", "nothing:1"]},
        {"jobDefinitionName": "d", "status": "ACTIVE", "maxResults": 1},
        refused={
            "cannot be combined": {"jobDefinitions": ["d:1"], "status": "ACTIVE"},
            "status": {"status": "TIRED"},
        },
    ),
    "SubmitJob": _operation(
        {
            "jobName": "job",
            "jobQueue": "shared",
            "jobDefinition": "d:1",
            "shareIdentifier": "one",
            "schedulingPriorityOverride": 5,
            "arrayProperties": {"size": 3},
            "dependsOn": [
                {"jobId": JOB},
                {"jobId": ARRAY, "type": "N_TO_N"},
                {"type": "SEQUENTIAL"},
            ],
            "parameters": {"who": "me"},
            "containerOverrides": {
                "command": ["echo", "Ref::who"],
                "environment": [{"name": "B", "value": "2"}],
                "resourceRequirements": [{"type": "VCPU", "value": "2"}],
                "vcpus": 1,
                "memory": 64,
            },
            "retryStrategy": RETRY,
            "propagateTags": True,
            "timeout": {"attemptDurationSeconds": 60},
            "tags": {"a": "b"},
            "consumableResourcePropertiesOverride": UNITS,
        },
        {
            "jobName": "nodes",
            "jobQueue": "q",
            "jobDefinition": "n",
            "nodeOverrides": {
                "numNodes": 3,
                "nodePropertyOverrides": [
                    {
                        "targetNodes": ":",
                        "containerOverrides": {
                            "command": ["true"],
                            "instanceType": "c6i.large",
                            "environment": [{"name": "B", "value": "2"}],
                            "resourceRequirements": [{"type": "MEMORY", "value": "128"}],
                        },
                        "instanceTypes": ["c6i.large"],
                        "consumableResourcePropertiesOverride": UNITS,
                    }
                ],
            },
        },
        {
            "jobName": "several",
            "jobQueue": "q",
            "jobDefinition": "m",
            "ecsPropertiesOverride": SEVERAL_CHANGED,
        },
        {
            "jobName": "nodes",
            "jobQueue": "q",
            "jobDefinition": "mn",
            "nodeOverrides": {
                "nodePropertyOverrides": [
                    {"targetNodes": ":", "ecsPropertiesOverride": SEVERAL_CHANGED}
                ]
            },
        },
        refused={
            "JobQueue nowhere not found.": {
                "jobName": "j",
                "jobQueue": "nowhere",
                "jobDefinition": "d",
            },
            "JobDefinition name nothing does not exist or is not in ACTIVE status": {
                "jobName": "j",
                "jobQueue": "q",
                "jobDefinition": "nothing",
            },
            "use ecsPropertiesOverride": {
                "jobName": "j",
                "jobQueue": "q",
                "jobDefinition": "m",
                "containerOverrides": {"command": ["true"]},
            },
            "shareIdentifier must be specified.": {
                "jobName": "j",
                "jobQueue": "shared",
                "jobDefinition": "d",
            },
        },
    ),
    "DescribeJobs": _operation(
        {"jobs": [JOB, f"{ARRAY}:0", f"{NODES}#0", NO_JOB, "no id"]},
        refused={"Maximum number of jobs supported is  100 .": {"jobs": [NO_JOB] * 101}},
    ),
    "ListJobs": _operation(
        {"jobQueue": "q", "jobStatus": "SUBMITTED", "maxResults": 1},
        {"jobQueue": "q", "filters": [{"name": "JOB_NAME", "values": ["j*"]}]},
        {"jobQueue": "q", "filters": [{"name": "AFTER_CREATED_AT", "values": ["1"]}]},
        {"jobQueue": "q", "filters": [{"name": "JOB_DEFINITION", "values": ["d"]}]},
        {"jobQueue": "shared", "filters": [{"name": "SHARE_IDENTIFIER", "values": ["one"]}]},
        {"arrayJobId": ARRAY, "jobStatus": "PENDING", "maxResults": 1},
        {"multiNodeJobId": NODES, "jobStatus": "SUBMITTED", "maxResults": 1},
        refused={
            "Exactly one of": {},
            "JobQueue nowhere not found.": {"jobQueue": "nowhere"},
            "not found": {"arrayJobId": NO_JOB},
        },
    ),
    "CancelJob": _operation(
        {"jobId": JOB, "reason": "enough"},
        refused={
            "'jobId' is a required field (cannot be an empty string)": {
                "jobId": "",
                "reason": "enough",
            },
            "reason is longer than 1024": {"jobId": JOB, "reason": "x" * 1025},
        },
    ),
    "CancelJobs": _operation(
        {"jobs": [JOB, f"{ARRAY}:1", NO_JOB], "reason": "enough"},
        refused={"jobs has more than 50": {"jobs": [JOB] * 51, "reason": "enough"}},
    ),
    "TerminateJob": _operation(
        {"jobId": JOB, "reason": "enough"},
        refused={"reason is longer than 1024": {"jobId": JOB, "reason": "x" * 1025}},
    ),
    "TerminateJobs": _operation(
        {"jobs": [JOB, f"{ARRAY}:1", NO_JOB], "reason": "enough"},
        refused={"jobs has more than 50": {"jobs": [JOB] * 51, "reason": "enough"}},
    ),
    "CreateSchedulingPolicy": _operation(
        {"name": "fresh", "fairsharePolicy": FAIRSHARE, "tags": {"a": "b"}},
        refused={
            "Object already exists": {"name": "busy", "fairsharePolicy": {}},
            "quotaSharePolicy is not supported": {
                "name": "x",
                "quotaSharePolicy": {"idleResourceAssignmentStrategy": "FIFO"},
            },
        },
    ),
    "UpdateSchedulingPolicy": _operation(
        {"arn": POLICY, "fairsharePolicy": FAIRSHARE},
        refused={
            "does not exist": {"arn": f"{_BATCH}:scheduling-policy/nowhere"},
            "computeReservation must be": {
                "arn": POLICY,
                "fairsharePolicy": {"computeReservation": 100},
            },
        },
    ),
    "DeleteSchedulingPolicy": _operation(
        {"arn": f"{_BATCH}:scheduling-policy/idle"},
        refused={"is used by job queue shared": {"arn": POLICY}},
    ),
    "DescribeSchedulingPolicies": _operation(
        {"arns": [POLICY, f"{_BATCH}:scheduling-policy/nowhere"]},
        refused={"arns": {"arns": ["no arn"]}},
    ),
    "ListSchedulingPolicies": _operation(
        {"maxResults": 1}, refused={"maxResults is 0": {"maxResults": 0}}
    ),
    "CreateConsumableResource": _operation(
        {
            "consumableResourceName": "fresh",
            "totalQuantity": 5,
            "resourceType": "NON_REPLENISHABLE",
            "tags": {"a": "b"},
        },
        {"consumableResourceName": "fresh"},
        refused={
            "Object already exists": {"consumableResourceName": "licence"},
            "totalQuantity must not be below 0": {
                "consumableResourceName": "x",
                "totalQuantity": -1,
            },
        },
    ),
    "UpdateConsumableResource": _operation(
        {
            "consumableResource": "licence",
            "operation": "ADD",
            "quantity": 2,
            "clientToken": "once",
        },
        {
            "consumableResource": f"{_BATCH}:consumable-resource/licence",
            "quantity": 0,
            # Else boto3 makes one.
            "clientToken": "again",
        },
        refused={
            "nowhere does not exist": {"consumableResource": "nowhere", "quantity": 1},
            "has 3 units in all": {
                "consumableResource": "licence",
                "operation": "REMOVE",
                "quantity": 4,
            },
        },
    ),
    "DeleteConsumableResource": _operation(
        {"consumableResource": "licence"},
        refused={"nowhere does not exist": {"consumableResource": "nowhere"}},
    ),
    "DescribeConsumableResource": _operation(
        {"consumableResource": "licence"},
        refused={"nowhere does not exist": {"consumableResource": "nowhere"}},
    ),
    "ListConsumableResources": _operation(
        {"maxResults": 1},
        {"filters": [{"name": "CONSUMABLE_RESOURCE_NAME", "values": ["l*"]}]},
        refused={"maxResults is 101": {"maxResults": 101}},
    ),
    "ListJobsByConsumableResource": _operation(
        {"consumableResource": "licence", "maxResults": 1},
        {
            "consumableResource": "licence",
            "filters": [{"name": "JOB_STATUS", "values": ["SUBMITTED"]}],
        },
        {"consumableResource": "licence", "filters": [{"name": "JOB_NAME", "values": ["j*"]}]},
        refused={"nowhere does not exist": {"consumableResource": "nowhere"}},
    ),
    "TagResource": _operation(
        {"resourceArn": f"{_BATCH}:job-queue/q", "tags": {"a": "b"}},
        {"resourceArn": f"{_BATCH}:job/{JOB}", "tags": {"a": "b"}},
        refused={
            "does not exist": {"resourceArn": f"{_BATCH}:job-queue/nowhere", "tags": {"a": "b"}},
            "Children of array jobs cannot have tags": {
                "resourceArn": f"{_BATCH}:job/{ARRAY}:0",
                "tags": {"a": "b"},
            },
        },
    ),
    "UntagResource": _operation(
        {"resourceArn": f"{_BATCH}:job-queue/q", "tagKeys": ["a"]},
        refused={
            "does not exist": {"resourceArn": f"{_BATCH}:job-queue/nowhere", "tagKeys": ["a"]}
        },
    ),
    "ListTagsForResource": _operation(
        {"resourceArn": f"{_BATCH}:compute-environment/ce"},
        refused={"not an ARN of AWS Batch": {"resourceArn": "here"}},
    ),
}


def prepare(wire: Wire) -> None:
    """Makes what the requests are about."""
    for name in ("ce", "off", "spare"):
        wire.call("CreateComputeEnvironment", computeEnvironmentName=name, type="UNMANAGED")
    wire.call(
        "CreateComputeEnvironment",
        computeEnvironmentName="managed",
        type="MANAGED",
        serviceRole=ROLE,
        computeResources=RESOURCES,
    )
    wire.run(
        wire.stand.conn.execute(
            "UPDATE compute_environments SET status = 'VALID' WHERE status = 'CREATING'"
        )
    )
    for name in ("busy", "idle"):
        wire.call("CreateSchedulingPolicy", name=name, fairsharePolicy=FAIRSHARE)
    wire.call("CreateConsumableResource", consumableResourceName="licence", totalQuantity=3)
    wire.call("CreateJobQueue", **a_queue("q", "ce", tags={"a": "1"}))
    wire.call("CreateJobQueue", **a_queue("shared", "ce", schedulingPolicyArn=POLICY))
    wire.call("CreateJobQueue", **a_queue("closed", "off"))
    wire.call("UpdateJobQueue", jobQueue="closed", state="DISABLED")
    for name in ("off", "spare"):
        wire.call("UpdateComputeEnvironment", computeEnvironment=name, state="DISABLED")
    wire.run(wire.stand.register("d", CONTAINER, parameters={"who": "you"}))
    wire.run(wire.stand.register_nodes("n", nodes=some_nodes()))
    parameters = {"who": "you"}
    wire.run(
        wire.stand(
            "RegisterJobDefinition",
            jobDefinitionName="m",
            type="container",
            ecsProperties=SEVERAL,
            parameters=parameters,
        )
    )
    nodes = some_nodes({"targetNodes": ":", "ecsProperties": SEVERAL})
    wire.run(wire.stand.register_nodes("mn", nodes=nodes, parameters=parameters))
    for job_id, members in (
        (JOB, {"consumableResourcePropertiesOverride": UNITS}),
        (ARRAY, {"arrayProperties": {"size": 3}}),
        (NODES, {"jobDefinition": "n"}),
    ):
        wire.run(wire.stand.submit({"x-longshore-request-id": job_id}, **members))
