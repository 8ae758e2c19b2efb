"""Why jobs wait in plain words: AWS's where it has some, and ours. Made at the end, for people."""

from collections.abc import Sequence
from datetime import UTC, datetime

from longshore.domain.consumable import ConsumableShortage
from longshore.domain.fair_share import Standing
from longshore.domain.placing.capping import Capped
from longshore.domain.placing.lacking import Lack, Lacking
from longshore.domain.placing.waiting import Block, CapacityShortage, Launched, Wait, Why

#: The constant reason of what blocks a shape, and what AWS says of it.
_BLOCKED = {
    Why.INVALID: ("ACTION_REQUIRED", "CE(s) associated with the job queue are invalid."),
    Why.DISABLED: ("ACTION_REQUIRED", "CE(s) associated with the job queue are disabled."),
    Why.NO_ENVIRONMENT: ("ACTION_REQUIRED", "The job queue has no compute environment."),
    Why.MAX_RESOURCE: (
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
        "CE(s) associated with the job queue cannot meet the CPU requirement of the job.",
    ),
    Why.TOO_LARGE: (
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
        (
            "The job resource requirement (vCPU/memory/GPU) is higher than that can be met by the "
            "CE(s) attached to the job queue."
        ),
    ),
    Why.UNSUPPORTED: (
        "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
        (
            "Your compute environment associated with this job queue has an unsupported instance "
            "type configuration."
        ),
    ),
    Why.NOT_PERMITTED: (
        "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS",
        "Batch service role has a permission issue.",
    ),
    #: Followed by the instance type in brackets.
    Why.NO_CAPACITY: (
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
        "Service cannot fulfill the capacity requested for instance type",
    ),
}
#: What stands between the two; in one of them AWS has a longer dash.
_DASH = {Why.NOT_PERMITTED: "\N{EN DASH}"}
#: What the user may do; where that is nothing, what instances lack says more.
_HINTS = {
    Why.INVALID: (
        "Describe the queue's compute environments: their status reasons say what is wrong."
    ),
    Why.DISABLED: "Enable a compute environment of the queue.",
    Why.NO_ENVIRONMENT: "Update the queue with a compute environment.",
    Why.MAX_RESOURCE: (
        "Ask for fewer vCPUs, or raise maxvCpus of a compute environment of the queue."
    ),
    Why.NOT_PERMITTED: (
        "Let what provisioning acts as launch instances; `longshore activities` has what the "
        "provider said."
    ),
    Why.TOO_LARGE: "Ask for less, or allow larger types in a compute environment of the queue.",
}
_WAITING = "WAITING_FOR_CAPACITY"
_HELD_BY_CAP = "HELD_BY_CAP"
#: Of queues with a policy: the constant reason beside why the job waits.
SHARE_NOT_NEXT = "SHARE_NOT_NEXT"
_UNITS = "WAITING_FOR_CONSUMABLE_RESOURCE"
_KEPT = "Waiting for units of consumable resources that are kept for an earlier job."
_NO_NODES = (
    "Multi-node jobs run on on-demand instances of managed compute environments; the queue has no "
    "such environment."
)
_RESERVED = (
    "Waiting for vCPUs that are not reserved: the policy of the queue leaves some to shares that "
    "are not active yet (computeReservation)."
)
_LACK_WORDS = {
    Lack.DRAINING: "draining",
    Lack.AWAY: "out of touch",
    Lack.ENGINE_AWAY: "without an engine that answers",
    Lack.DISK_FULL: "out of disk space",
    Lack.QUARANTINED: "quarantined after failed starts",
    Lack.VCPU: "short of vCPU",
    Lack.MEMORY: "short of memory",
    Lack.GPU: "short of GPUs",
    Lack.HELD: "held for an earlier job",
    Lack.BUSY: "in use",
    Lack.OTHER_TYPE: "of another type",
    Lack.TOO_FEW: "ready, too few of a type",
}


def blocked(block: Block) -> str:
    """The status reason of jobs that are blocked, in AWS's words."""
    code, text = _BLOCKED[block.why]
    said = f"{code} {_DASH.get(block.why, '-')} {text}"
    return f"{said} [{block.instance_type}]" if block.instance_type else said


def code_of(why: Why | None) -> str:
    """The constant reason."""
    if why is Why.NO_UNITS:
        return _UNITS
    if why is Why.CAPPED:
        return _HELD_BY_CAP
    return _BLOCKED[why][0] if why in _BLOCKED else _WAITING


def is_blocking(why: Why) -> bool:
    """Whether AWS says of it that the job blocks its queue."""
    return why in _BLOCKED


def hint(why: Why | None, explanation: str) -> str:
    """What to do about it, or else what is waited for."""
    return _HINTS.get(why, explanation) if why is not None else explanation


def waits(wait: Wait) -> str:
    """What is waited for, and what the provider is short of."""
    said = lacks(wait.lacking)
    return f"{said} {short_of(wait.shortages)}" if wait.shortages else said


def capped(by: Capped) -> str:
    """Which cap is waited for: `Held by the cap of its queue: 5 of 5 run.`."""
    said = f"Held by the cap of its {'array' if by.of_array else 'queue'}"
    if by.is_kept:
        first = "the next to run is an earlier job, which waits for room or units"
        return f"{said} of {by.most}: {first}."
    return f"{said}: {'more than ' if by.is_over else ''}{by.most} of {by.most} run."


def lacks(lacking: Lacking) -> str:
    """What instances lack: `12 instances: 8 short of memory, 4 draining`."""
    if lacking.no_takers:
        return _NO_NODES
    if lacking.is_reserved:
        return _RESERVED
    if lacking.is_starved:
        return lacks_units(lacking.units)
    total = sum(lacking.counts.values())
    what = ""
    if lacking.nodes > 1:
        what = f"{lacking.nodes} empty instances of {lacking.instance_type or 'one type'}"
    elif lacking.instance_type:
        what = f"an empty instance of {lacking.instance_type}"
    if not total:
        return f"Waiting for {what or 'an instance'}: none is there yet."
    parts = ", ".join(f"{n} {_of(lack, n)}" for lack, n in lacking.counts.items())
    return f"Waiting for {what or 'room'}: {total} instance{'s' if total > 1 else ''}: {parts}."


def lacks_units(shortages: Sequence[ConsumableShortage]) -> str:
    """Which consumable resources lack: `Waiting for 2 of licence: 1 of 3 available.`."""
    return " ".join(map(_short, shortages)) if shortages else _KEPT


def _short(shortage: ConsumableShortage) -> str:
    name, needed = shortage.name, shortage.needed
    if shortage.total is None:
        return f"Waiting for {needed} of {name}: there is no such consumable resource; create it."
    said = f"Waiting for {needed} of {name}: {shortage.available} of {shortage.total} available"
    return f"{said}; there must be more of it in all." if shortage.is_for_good else f"{said}."


def _of(lack: Lack, count: int) -> str:
    if lack is Lack.SLOT_SIZE:
        return "slot of another size" if count == 1 else "slots of another size"
    return _LACK_WORDS[lack]


def short_of(shortages: Sequence[CapacityShortage]) -> str:
    """Which types and zones, why, and when the provider is asked again."""
    by_type: dict[tuple[str, str], list[str]] = {}
    for shortage in shortages:
        zones = by_type.setdefault((shortage.instance_type, shortage.reason), [])
        if shortage.zone and shortage.zone not in zones:
            zones.append(shortage.zone)
    parts = [
        f"{name}{' in ' + ', '.join(sorted(zones)) if zones else ''} ({reason})"
        for (name, reason), zones in by_type.items()
    ]
    again = min(shortage.until for shortage in shortages).astimezone(UTC)
    return (
        f"The provider has none left: {'; '.join(parts)}. "
        f"It is asked again at {again:%H:%M:%S} UTC."
    )


def turn(share: str, own: Standing, before: int, shares: int) -> str:
    """How many shares come before one, and by what."""
    return (
        f"{before} of {shares} shares that wait come first: share {share} uses {own.running:g} "
        f"vCPUs, and used {own.average:.2f} on average lately, with the weight {own.weight:g}."
    )


def booting(first: Launched, now: datetime) -> str:
    """The instance that boots longest."""
    seconds = max(round((now - first.first_at).total_seconds()), 0)
    return f"{first.instance_type}, ordered {seconds} s ago"
