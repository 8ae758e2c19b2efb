"""How much a request may ask for: longshore's own limits, and AWS Batch's.

longshore takes what AWS takes, and more where the meaning is plain. An installation that is to
refuse what AWS would refuse is given AWS's (`LONGSHORE_LIMITS=aws`). `docs/limits.md` has both side
by side, made from here.
"""

from dataclasses import dataclass

#: Settings of LONGSHORE_LIMITS.
AWS_NAME = "aws"
LONGSHORE_NAME = "longshore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the checks of requests go by, in all that the two differ in."""

    #: From and up to how many children an array has.
    array_min: int
    array_max: int
    #: Entries of dependsOn.
    dependencies_max: int
    #: The shortest timeout of an attempt.
    timeout_min_seconds: int
    #: The shortest time of a queue's jobStateTimeLimitActions.
    state_time_limit_min_seconds: int
    #: Whether a queue's jobStateTimeLimitActions may say TERMINATE, which on queues of compute
    #: environments means what CANCEL does: a RUNNABLE job has not started.
    takes_state_time_limit_terminate: bool
    #: Of what jobs on EC2 ask for vCPUs a multiple, in thousandths. On Fargate there are sizes.
    vcpu_step_milli: int
    #: Bytes of what a submission changes of one task's commands and environments. AWS Batch takes a
    #: job with more, and fails it.
    overrides_bytes_max: int
    #: Bytes of SubmitJob and of RegisterJobDefinition as serialized.
    submission_bytes_max: int
    definition_bytes_max: int


#: What AWS Batch takes.
AWS = Limits(
    array_min=2,
    array_max=10_000,
    dependencies_max=20,
    timeout_min_seconds=60,
    state_time_limit_min_seconds=600,
    takes_state_time_limit_terminate=False,
    vcpu_step_milli=1000,
    overrides_bytes_max=8 * 1024,
    submission_bytes_max=30 * 1024,
    definition_bytes_max=24 * 1024,
)
#: What longshore takes by itself.
LONGSHORE = Limits(
    array_min=1,
    array_max=1_000_000,
    dependencies_max=1_000,
    timeout_min_seconds=1,
    state_time_limit_min_seconds=1,
    takes_state_time_limit_terminate=True,
    vcpu_step_milli=125,
    overrides_bytes_max=256 * 1024,
    submission_bytes_max=256 * 1024,
    definition_bytes_max=256 * 1024,
)
BY_NAME = {LONGSHORE_NAME: LONGSHORE, AWS_NAME: AWS}
