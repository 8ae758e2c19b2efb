"""A workload file: what it may say, decoded strictly.

Members have AWS Batch's names where it has one for them. What is wrong is told in one sentence that
begins with the path of the member.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from longshore.domain.checks import PRIORITY_MAX
from longshore.domain.errors import InvalidRequest
from longshore.domain.fair_share import ACTIVE_MAX, WEIGHT_DEFAULT
from longshore.domain.job.dependency import DependencyCondition
from longshore.domain.job.nodes import NODES_MAX
from longshore.domain.limits import LONGSHORE
from longshore.domain.request.consumable import RESOURCES_MAX
from longshore.simulation.duration import Duration, Span, microseconds, seconds

FILE_BYTES_MAX = 4 * 1024 * 1024
#: Levels of mappings and sequences; a workload has six.
DEPTH_MAX = 32
ENVIRONMENTS_MAX = 50
QUEUES_MAX = 50
CONSUMABLES_MAX = 1_000
JOBS_MAX = 1_000
COUNT_MAX = 1_000_000

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
#: Without control characters: it is printed.
_Text = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
]
_Names = Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=200)]


def _camel(name: str) -> str:
    return re.sub("_(.)", lambda match: match[1].upper(), name)


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A part of the file."""


class ComputeEnvironmentPart(_Part, frozen=True, kw_only=True):
    """A compute environment; see CreateComputeEnvironment."""

    name: _Text
    type: Literal["EC2", "SPOT", "FARGATE", "FARGATE_SPOT"] = "EC2"
    allocation_strategy: (
        Literal[
            "BEST_FIT",
            "BEST_FIT_PROGRESSIVE",
            "BEST_FIT_PROGRESSIVE_ORDERED",
            "SPOT_CAPACITY_OPTIMIZED",
            "SPOT_PRICE_CAPACITY_OPTIMIZED",
            "SPOT_CAPACITY_OPTIMIZED_PRIORITIZED",
        ]
        | None
    ) = None
    instance_types: _Names | None = None
    minv_cpus: _Count = 0
    maxv_cpus: _Count
    bid_percentage: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    min_scale_down_delay_minutes: _Count = 0


class QueuePart(_Part, frozen=True, kw_only=True):
    """A job queue and its compute environments, in order."""

    name: _Text
    priority: _Count = 1
    compute_environment_order: Annotated[
        tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=3)
    ]
    #: All its jobs name a share then.
    scheduling_policy: _Text | None = None
    #: How many of its jobs run at one time; 0: any number.
    max_running: _Count = 0


class ShareAttributesPart(_Part, frozen=True, kw_only=True):
    """The weight of a share, or of all that begin alike."""

    share_identifier: _Text
    weight_factor: float = WEIGHT_DEFAULT


class PolicyPart(_Part, frozen=True, kw_only=True):
    """A fair-share policy; see CreateSchedulingPolicy."""

    name: _Text
    share_decay_seconds: _Count = 0
    compute_reservation: _Count = 0
    share_distribution: Annotated[
        tuple[ShareAttributesPart, ...], msgspec.Meta(max_length=ACTIVE_MAX)
    ] = ()


class ConsumablePart(_Part, frozen=True, kw_only=True):
    """A consumable resource; see CreateConsumableResource."""

    name: _Text
    total_quantity: _Count
    resource_type: Literal["REPLENISHABLE", "NON_REPLENISHABLE"] = "REPLENISHABLE"


class NeedPart(_Part, frozen=True, kw_only=True):
    """What a job needs of a consumable resource: of an array each child."""

    consumable_resource: _Text
    quantity: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class DependencyPart(_Part, frozen=True, kw_only=True):
    """What a job waits for: another job, the child of its own index in it, or the child before."""

    job: _Text | None = None
    type: Literal["SEQUENTIAL", "N_TO_N"] | None = None
    #: How it has to end.
    condition: DependencyCondition = DependencyCondition.SUCCESS

    def __post_init__(self) -> None:
        if self.type == "SEQUENTIAL" and self.condition is DependencyCondition.FAILURE:
            raise ValueError("a sequence goes on after SUCCESS, or once a child is COMPLETE")
        if self.job is None and self.type != "SEQUENTIAL":
            raise ValueError("dependsOn needs a job, or the type SEQUENTIAL")
        if self.job is not None and self.type == "SEQUENTIAL":
            raise ValueError("dependsOn takes a job or the type SEQUENTIAL, not both")


class ExitPart(_Part, frozen=True, kw_only=True):
    """An entry of evaluateOnExit."""

    action: Literal["RETRY", "EXIT"]
    on_exit_code: str | None = None
    on_reason: str | None = None
    on_status_reason: str | None = None


class RepeatPart(_Part, frozen=True, kw_only=True):
    """Submits a job again and again: evenly, or at random (a Poisson process)."""

    every: Span | None = None
    times: Annotated[int, msgspec.Meta(ge=1, le=COUNT_MAX)] | None = None
    poisson_per_hour: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    lasting: Span | None = None

    def __post_init__(self) -> None:
        if (self.every is None) == (self.poisson_per_hour is None):
            raise ValueError("repeat needs either every or poissonPerHour")
        if self.every is not None and seconds(self.every, "every") <= 0:
            raise ValueError("every must be above 0")
        if (self.times is None) == (self.lasting is None):
            raise ValueError("repeat needs either times or lasting")
        if self.lasting is not None:
            seconds(self.lasting, "lasting")


class JobPart(_Part, frozen=True, kw_only=True):
    """Jobs that are alike: one, `count` of them, or an array; submitted once or again and again.

    With `nodes` each is a multi-node job: every node needs so much, and `duration` is the main
    node's.
    """

    name: _Text
    queue: _Text
    at: Span = 0.0
    count: Annotated[int, msgspec.Meta(ge=1, le=COUNT_MAX)] = 1
    array_size: (
        Annotated[int, msgspec.Meta(ge=LONGSHORE.array_min, le=LONGSHORE.array_max)] | None
    ) = None
    #: How many children of each array run at one time.
    max_running: Annotated[int, msgspec.Meta(ge=1, le=COUNT_MAX)] | None = None
    nodes: Annotated[int, msgspec.Meta(ge=1, le=NODES_MAX)] | None = None
    #: The only type that will do for nodes.
    instance_type: _Text | None = None
    vcpus: Annotated[float, msgspec.Meta(ge=0.25, le=1024)] = 1.0
    #: In MiB.
    memory: Annotated[int, msgspec.Meta(ge=4, le=64 * 1024 * 1024)] = 512
    gpus: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    duration: Duration
    #: Whose job it is, in queues with a policy.
    share_identifier: _Text | None = None
    #: How soon among the jobs of its share.
    scheduling_priority: Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)] = 0
    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    #: Held while the job runs; of a multi-node job, by all nodes together.
    consumable_resource_list: Annotated[
        tuple[NeedPart, ...], msgspec.Meta(max_length=RESOURCES_MAX)
    ] = ()
    evaluate_on_exit: Annotated[tuple[ExitPart, ...], msgspec.Meta(max_length=5)] = ()
    #: Share of attempts that end with exit code 1.
    failure_rate: _Share = 0.0
    depends_on: Annotated[tuple[DependencyPart, ...], msgspec.Meta(max_length=20)] = ()
    repeat: RepeatPart | None = None

    def __post_init__(self) -> None:
        seconds(self.at, "at")
        if isinstance(self.duration, float | int | str):
            seconds(self.duration, "duration")
        if self.array_size is None and any(d.type for d in self.depends_on):
            raise ValueError(
                "dependsOn of type SEQUENTIAL and N_TO_N is for jobs with an arraySize"
            )
        if self.max_running is not None and self.array_size is None:
            raise ValueError("maxRunning is for jobs with an arraySize, and for queues")
        if self.nodes is not None and self.array_size is not None:
            raise ValueError(
                "nodes and arraySize exclude each other: no array is of multi-node jobs"
            )
        if self.instance_type is not None and self.nodes is None:
            raise ValueError("instanceType is for jobs with nodes alone")
        if round(self.vcpus * 1000) % 250:
            raise ValueError("vcpus must be a multiple of 0.25")

    @property
    def size(self) -> int:
        """Jobs or children that are submitted together as one."""
        return self.array_size or (self.count if self.nodes is None else 1)

    @property
    def copies(self) -> int:
        """How many arrays or multi-node jobs are submitted at one time.

        `count` other jobs are submitted as one.
        """
        return self.count if self.array_size or self.nodes is not None else 1

    @property
    def sequential(self) -> DependencyCondition | None:
        """How the child before has to end for which each child waits; None: they do not wait."""
        conditions = {d.condition for d in self.depends_on if d.type == "SEQUENTIAL"}
        if not conditions:
            return None
        return (
            DependencyCondition.SUCCESS
            if DependencyCondition.SUCCESS in conditions
            else DependencyCondition.COMPLETE
        )


class PoolPart(_Part, frozen=True, kw_only=True):
    """What is special about some pools of instances; absent members hold for all."""

    instance_types: _Names | None = None
    zone: str = ""
    purchase_option: Literal["ON_DEMAND", "SPOT"] | None = None
    size: _Count | None = None
    depth: _Share | None = None
    interruptions_per_hour: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None


class ShortagePart(_Part, frozen=True, kw_only=True):
    """A time in which some pools give no more instances."""

    instance_types: _Names | None = None
    zone: str = ""
    purchase_option: Literal["ON_DEMAND", "SPOT"] | None = None
    begins: Span = 0.0
    ends: Span

    def __post_init__(self) -> None:
        if seconds(self.begins, "begins") >= seconds(self.ends, "ends"):
            raise ValueError("a shortage must end after it begins")


class MarketPart(_Part, frozen=True, kw_only=True):
    """How instances behave and what they cost."""

    boot: Span = 60.0
    fargate_boot: Span = 30.0
    boot_spread: _Share = 0.0
    boot_failures: _Share = 0.0
    shutdown: Span = 0.0
    #: Least time that an instance is paid for.
    minimum_billed: Span = 60.0
    zones: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1, max_length=12)] = ("zone-a",)
    spot_discount: _Share = 0.65
    spot_volatility: _Share = 0.05
    interruptions_per_hour: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    pools: Annotated[tuple[PoolPart, ...], msgspec.Meta(max_length=200)] = ()
    shortages: Annotated[tuple[ShortagePart, ...], msgspec.Meta(max_length=200)] = ()

    def __post_init__(self) -> None:
        for name in ("boot", "fargate_boot", "shutdown", "minimum_billed"):
            seconds(getattr(self, name), _camel(name))


class SettingsPart(_Part, frozen=True, kw_only=True):
    """The services' settings; the defaults are theirs."""

    scale_interval: Span = 10.0
    idle: Span = 60.0
    boot_limit: Span = 300.0
    cool_down: Span = 60.0
    #: How long the scaler gathers what wakes it.
    gather: Span = 0.1
    #: From the placement of an attempt until its container runs.
    container_start: Span = 0.0
    #: Whether a half-empty instance is drained when its work fits on others.
    consolidate: bool = False

    def __post_init__(self) -> None:
        if seconds(self.scale_interval, "scaleInterval") < 1:
            raise ValueError("scaleInterval must be at least 1 second")
        if seconds(self.boot_limit, "bootLimit") < 1 or seconds(self.cool_down, "coolDown") < 1:
            raise ValueError("bootLimit and coolDown must be at least 1 second")
        for name in ("idle", "gather", "container_start"):
            seconds(getattr(self, name), _camel(name))


class Workload(_Part, frozen=True, kw_only=True):
    """The whole file."""

    name: _Text = "workload"
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 1
    until: Span = "30d"
    compute_environments: Annotated[
        tuple[ComputeEnvironmentPart, ...], msgspec.Meta(min_length=1, max_length=ENVIRONMENTS_MAX)
    ]
    queues: Annotated[tuple[QueuePart, ...], msgspec.Meta(min_length=1, max_length=QUEUES_MAX)]
    jobs: Annotated[tuple[JobPart, ...], msgspec.Meta(min_length=1, max_length=JOBS_MAX)]
    scheduling_policies: Annotated[tuple[PolicyPart, ...], msgspec.Meta(max_length=QUEUES_MAX)] = ()
    consumable_resources: Annotated[
        tuple[ConsumablePart, ...], msgspec.Meta(max_length=CONSUMABLES_MAX)
    ] = ()
    market: MarketPart = msgspec.field(default_factory=MarketPart)
    settings: SettingsPart = msgspec.field(default_factory=SettingsPart)

    def __post_init__(self) -> None:
        if microseconds(self.until, "until") <= 0:
            raise ValueError("until must be above 0")


def read(path: Path) -> Workload:
    """Reads a workload file.

    Raises:
        InvalidRequest: it cannot be read, or something in it is wrong.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from None
    if len(content) > FILE_BYTES_MAX:
        raise InvalidRequest(f"{path} is larger than {FILE_BYTES_MAX // 1024 // 1024} MiB.")
    return parse(content)


class _Loader(yaml.CSafeLoader):
    """Refuses members whose names are no text, or are there twice: one of them would be ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node whose keys are right."""
        seen: set[str] = set()
        for key, _ in node.value:
            problem = None
            if not isinstance(key, yaml.ScalarNode) or not key.tag.endswith(":str"):
                problem = "the name of a member is no text"
            elif key.value in seen:
                problem = f"{key.value[:40]!r} is there twice"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse(content: bytes) -> Workload:
    """A workload from the text of its file.

    Raises:
        InvalidRequest: it is no YAML, or something in it is wrong.
    """
    try:
        _check_structure(content)
        return msgspec.convert(yaml.load(content, _Loader), Workload)  # noqa: S506 - a safe one
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The file cannot be read as YAML: {_line(error)}.") from None


def _check_structure(content: bytes) -> None:
    """Refuses aliases, and the depth at which the loader, which recurses, would end the process."""
    depth = 0
    for event in yaml.parse(content, yaml.CLoader):
        if isinstance(event, yaml.AliasEvent):
            raise InvalidRequest("$: aliases of YAML (*name) are not supported.")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise InvalidRequest(f"$: nested more than {DEPTH_MAX} levels deep.")


def _invalid(text: str) -> InvalidRequest:
    """The decoder's sentence with the path first: `$.queues[0].priority: expected ...`."""
    message, _, where = text.partition(" - at `")
    path = where.rstrip("`") or "$"
    return InvalidRequest(f"{path}: {message[:1].lower()}{message[1:]}.", member=path)


def _line(error: Exception) -> str:
    """Where and what, of a YAML error, in one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"
    return str(error).splitlines()[0]
