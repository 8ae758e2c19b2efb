"""ARNs: rendered where something is shown, parsed to names where something is named.

Tables hold names. Account and region belong to the installation and to the caller, so they are put
in when an answer is made; those of an ARN that is given are looked at for their form alone.
"""

import hashlib
import re
import uuid
from dataclasses import dataclass

from longshore.domain.errors import InvalidRequest

#: Names of compute environments, queues, definitions and jobs.
NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,127}")
_BATCH = re.compile(
    r"arn:aws[a-z-]*:batch:[a-z0-9-]{1,64}:[0-9]{12}:(?P<kind>[a-z-]+)/(?P<rest>.+)", re.DOTALL
)
_LOG_GROUP = re.compile(
    r"arn:aws[a-z-]*:logs:[a-z0-9-]{1,64}:[0-9]{12}:log-group:(?P<name>[^:*]+)(?::\*)?"
)
_CLUSTER = re.compile(
    r"(?:arn:aws[a-z-]*:ecs:[a-z0-9-]{1,64}:[0-9]{12}:cluster/)?"
    r"(?P<name>[0-9A-Za-z][0-9A-Za-z_-]{0,127})_Batch_"
    r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
)
_OF_CLUSTER = re.compile(
    r"arn:aws[a-z-]*:ecs:[a-z0-9-]{1,64}:[0-9]{12}:(?P<kind>[a-z-]+)/"
    r"(?:[^/]{1,255}/)?(?P<id>[^/]{1,64})"
)
#: Of an instance's id, after `i-`.
INSTANCE_DIGITS = 17
ACCOUNT = re.compile(r"[0-9]{12}")
REGION = re.compile(r"[a-z][a-z0-9-]{0,63}")

COMPUTE_ENVIRONMENT = "compute-environment"
JOB_QUEUE = "job-queue"
JOB_DEFINITION = "job-definition"
JOB = "job"
SCHEDULING_POLICY = "scheduling-policy"
CONSUMABLE_RESOURCE = "consumable-resource"


@dataclass(frozen=True, slots=True)
class Arns:
    """Renders ARNs for one account and region."""

    account: str
    region: str

    def _batch(self, kind: str, rest: str) -> str:
        return f"{self._prefix('batch')}:{kind}/{rest}"

    def _prefix(self, service: str) -> str:
        partition = "aws"
        if self.region.startswith("cn-"):
            partition = "aws-cn"
        elif self.region.startswith("us-gov-"):
            partition = "aws-us-gov"
        return f"arn:{partition}:{service}:{self.region}:{self.account}"

    def compute_environment(self, name: str) -> str:
        """ARN of a compute environment."""
        return self._batch(COMPUTE_ENVIRONMENT, name)

    def job_queue(self, name: str) -> str:
        """ARN of a job queue."""
        return self._batch(JOB_QUEUE, name)

    def scheduling_policy(self, name: str) -> str:
        """ARN of a scheduling policy."""
        return self._batch(SCHEDULING_POLICY, name)

    def consumable_resource(self, name: str) -> str:
        """ARN of a consumable resource."""
        return self._batch(CONSUMABLE_RESOURCE, name)

    def job_definition(self, name: str, revision: int) -> str:
        """ARN of one revision of a job definition."""
        return self._batch(JOB_DEFINITION, f"{name}:{revision}")

    def job(self, key: str) -> str:
        """ARN of a job, of a child, `uuid:index`, or of a node, `uuid#index`."""
        return self._batch(JOB, key)

    def log_group(self, name: str) -> str:
        """ARN of a log group, without the `:*` that some of AWS's shapes have behind it."""
        return f"{self._prefix('logs')}:log-group:{name}"

    def log_stream(self, group: str, name: str) -> str:
        """ARN of a log stream."""
        return f"{self.log_group(group)}:log-stream:{name}"

    def event_bus(self, name: str) -> str:
        """ARN of an event bus."""
        return f"{self._prefix('events')}:event-bus/{name}"

    def event_rule(self, bus: str, name: str) -> str:
        """ARN of a rule; of those of the default bus it has the name alone."""
        place = name if bus == "default" else f"{bus}/{name}"
        return f"{self._prefix('events')}:rule/{place}"

    def event_connection(self, name: str, connection_id: uuid.UUID) -> str:
        """ARN of a connection of API destinations."""
        return f"{self._prefix('events')}:connection/{name}/{connection_id}"

    def api_destination(self, name: str, destination_id: uuid.UUID) -> str:
        """ARN of an API destination."""
        return f"{self._prefix('events')}:api-destination/{name}/{destination_id}"

    def event_archive(self, name: str) -> str:
        """ARN of an archive of events."""
        return f"{self._prefix('events')}:archive/{name}"

    def event_replay(self, name: str) -> str:
        """ARN of a replay of events."""
        return f"{self._prefix('events')}:replay/{name}"

    def cluster(self, environment: str, environment_id: uuid.UUID | None) -> str:
        """ARN of the cluster that AWS would keep behind a compute environment."""
        return f"{self._prefix('ecs')}:cluster/{cluster_name(environment, environment_id)}"

    def cluster_named(self, text: str) -> str:
        """ARN of a cluster by its name; what is an ARN is left as it is."""
        return text if text.startswith("arn:") else f"{self._prefix('ecs')}:cluster/{text}"

    def container_instance(
        self, environment: str, environment_id: uuid.UUID | None, instance_id: str
    ) -> str:
        """ARN of an instance in its cluster; its 32 digits follow from the instance's id."""
        digits = container_instance_id(instance_id)
        return self.of_cluster("container-instance", environment, environment_id, digits)

    def task_definition(self, name: str, revision: int) -> str:
        """ARN of the task definition that AWS would make of a job definition."""
        return f"{self._prefix('ecs')}:task-definition/{name}:{revision}"

    def instance(self, instance_id: str) -> str:
        """ARN of an instance."""
        return f"{self._prefix('ec2')}:instance/{instance_id}"

    def attempt(self, environment: str, environment_id: uuid.UUID | None, attempt_id: str) -> str:
        """ARN by which AWS's shapes know an attempt (`taskArn`)."""
        return self.of_cluster("task", environment, environment_id, attempt_id)

    def of_cluster(
        self, kind: str, environment: str, environment_id: uuid.UUID | None, text: str
    ) -> str:
        """ARN of a task or a container instance by its id."""
        cluster = cluster_name(environment, environment_id)
        return f"{self._prefix('ecs')}:{kind}/{cluster}/{text}"


def cluster_name(environment: str, environment_id: uuid.UUID | None) -> str:
    """Name of the cluster that AWS would keep behind a compute environment.

    Of the two forms that AWS Batch gave its clusters the older: programs that take the environment
    from it cut at `_Batch`, and cannot with the newer, `AWSBatch-NAME-UUID`.
    """
    return f"{environment}_Batch" + (f"_{environment_id}" if environment_id else "")


def container_instance_id(instance_id: str) -> str:
    """The 32 digits by which a cluster knows an instance.

    Those of the instance's own id and some of a digest, so that each tells the other.
    """
    digest = hashlib.sha256(instance_id.encode()).hexdigest()
    return (instance_id.removeprefix("i-") + digest)[:32]


def instance_of(container_instance: str) -> str | None:
    """The instance that a cluster knows by these 32 digits; None if there cannot be one."""
    found = f"i-{container_instance[:INSTANCE_DIGITS]}"
    return found if container_instance_id(found) == container_instance else None


def parse_cluster(text: str) -> tuple[str, uuid.UUID] | None:
    """The compute environment that a cluster's name or ARN means; None if there cannot be one."""
    match = _CLUSTER.fullmatch(text)
    return (match["name"], uuid.UUID(match["id"])) if match else None


def parse_of_cluster(kind: str, text: str) -> str:
    """The id in the ARN of a task or a container instance; what is no ARN of those is the id."""
    match = _OF_CLUSTER.fullmatch(text)
    return match["id"] if match and match["kind"] == kind else text


@dataclass(frozen=True, slots=True)
class DefinitionName:
    """A family, or one revision of it."""

    name: str
    revision: int | None
    #: How the caller wrote it, for error texts.
    text: str

    @property
    def is_arn(self) -> bool:
        """Whether the caller gave an ARN."""
        return self.text.startswith("arn:")


def parse_resource(text: str, *, member: str) -> tuple[str, str]:
    """Splits an ARN of ours into its kind and the rest, as for tags.

    Raises:
        InvalidRequest: it is no such ARN.
    """
    match = _BATCH.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"{member} is not an ARN of AWS Batch: {text[:256]!r}.", member=member)
    return match["kind"], match["rest"]


def parse_name(kind: str, text: str, *, member: str) -> str:
    """The name in a name or ARN of the given kind.

    Raises:
        InvalidRequest: it is neither.
    """
    name = text
    if text.startswith("arn:"):
        found, name = parse_resource(text, member=member)
        if found != kind:
            raise InvalidRequest(f"{member} is the ARN of a {found}, not a {kind}.", member=member)
    if NAME.fullmatch(name) is None:
        raise InvalidRequest(
            f"{member} is neither a name (up to 128 letters, digits, - and _, beginning with a "
            f"letter or digit) nor the ARN of a {kind}: {text[:256]!r}.",
            member=member,
        )
    return name


def parse_log_group(text: str) -> str | None:
    """The name in the ARN of a log group, with or without `:*` behind; None if it is none."""
    match = _LOG_GROUP.fullmatch(text)
    return None if match is None else match["name"]


def parse_definition(text: str, *, member: str) -> DefinitionName:
    """Reads `name`, `name:revision` or an ARN with or without a revision.

    Raises:
        InvalidRequest: it is none of them.
    """
    rest = text
    if text.startswith("arn:"):
        kind, rest = parse_resource(text, member=member)
        if kind != JOB_DEFINITION:
            raise InvalidRequest(f"{member} is the ARN of a {kind}.", member=member)
    name, colon, revision = rest.partition(":")
    well_formed = re.fullmatch(r"[1-9][0-9]{0,8}", revision) if colon else True
    if NAME.fullmatch(name) is None or not well_formed:
        raise InvalidRequest(
            f"{member} is neither NAME, NAME:REVISION nor the ARN of a job definition: "
            f"{text[:256]!r}.",
            member=member,
        )
    return DefinitionName(name, int(revision) if colon else None, text)
