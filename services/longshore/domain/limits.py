"""How much a request may ask for: longshore's own limits, and AWS Batch's.

longshore takes what AWS takes, and more where the meaning is plain. An installation that is to
refuse what AWS would refuse is given AWS's (`LONGSHORE_LIMITS=aws`).
"""

from dataclasses import dataclass

#: Settings of LONGSHORE_LIMITS.
AWS_NAME = "aws"
LONGSHORE_NAME = "longshore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the checks of requests go by, in all that the two differ in."""

    #: The shortest time of a queue's jobStateTimeLimitActions.
    state_time_limit_min_seconds: int
    #: Whether a queue's jobStateTimeLimitActions may say TERMINATE, which on queues of compute
    #: environments means what CANCEL does: a RUNNABLE job has not started.
    takes_state_time_limit_terminate: bool


#: What AWS Batch takes.
AWS = Limits(
    state_time_limit_min_seconds=600,
    takes_state_time_limit_terminate=False,
)
#: What longshore takes by itself.
LONGSHORE = Limits(
    state_time_limit_min_seconds=1,
    takes_state_time_limit_terminate=True,
)
BY_NAME = {LONGSHORE_NAME: LONGSHORE, AWS_NAME: AWS}
