"""Jobs of a workload: when each is submitted, how long it runs, and what it waits for."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from longshore.domain.catalogue import Catalogue, fargate_type
from longshore.domain.checks import check_name, check_retry
from longshore.domain.environment import EC2
from longshore.domain.errors import InvalidRequest, LimitExceeded, LongshoreError
from longshore.domain.job.retry import ExitRule
from longshore.domain.placing.shapes import Shape
from longshore.domain.request.policy import check_share
from longshore.domain.resources import Resources
from longshore.simulation.backlog import Job
from longshore.simulation.duration import SECOND, draw, microseconds, source
from longshore.simulation.workload import COUNT_MAX, JobPart, Workload


def wrong(path: str, what: str) -> InvalidRequest:
    """The refusal of what is at a path of the file."""
    return InvalidRequest(f"{path}: {what}.", member=path)


def check_named(path: str, name: str) -> None:
    """Refuses names that are none in AWS Batch either."""
    try:
        check_name(name, "name")
    except InvalidRequest as error:
        raise wrong(f"{path}.name", error.message.rstrip(".")) from None


def draw_jobs(workload: Workload, shapes: dict[int, Shape]) -> list[Job]:
    """Every job, with what it waits for, in order of submission; `shapes` gets their shapes.

    Raises:
        InvalidRequest: a name is unknown or there twice, or jobs do not fit together.
        LimitExceeded: there are too many.
    """
    queues = {queue.name: queue for queue in workload.queues}
    environments = {part.name: part for part in workload.compute_environments}
    total = 0
    made: dict[str, list[Job]] = {}
    shape_ids: dict[Shape, int] = {}
    for index, part in enumerate(workload.jobs):
        path = f"$.jobs[{index}]"
        check_named(path, part.name)
        if part.name in made:
            raise wrong(f"{path}.name", f"there are two jobs {part.name!r}")
        if part.queue not in queues:
            raise wrong(f"{path}.queue", f"there is no queue {part.queue!r}")
        _check_share(path, part, is_shared=queues[part.queue].scheduling_policy is not None)
        need = Resources(round(part.vcpus * 1000), part.memory, part.gpus)
        types = [environments[e].type for e in queues[part.queue].compute_environment_order]
        if part.nodes is not None:
            _check_nodes(path, part, types)
        elif types[0].startswith("FARGATE") and fargate_type(need) is None:
            raise wrong(path, f"{part.vcpus:g} vCPUs with {part.memory} MiB is no Fargate size")
        times = _times(part, workload.seed)
        total += len(times) * part.size * part.copies * (part.nodes or 1)
        if total > COUNT_MAX:
            raise LimitExceeded(f"{path}: the workload has more than {COUNT_MAX:,} jobs.")
        alike = Shape(
            0,
            part.queue,
            need,
            part.nodes or 0,
            part.instance_type or "",
            part.share_identifier or "",
            part.scheduling_priority if part.share_identifier else 0,
            part.max_running or 0,
        )
        first, count = len(shapes) + 1, len(times) * part.copies
        if alike.max_running:
            # An array with a cap has a shape to itself.
            ids = list(range(first, first + count))
        else:
            ids = [shape_ids.setdefault(alike, first)] * count
        shapes |= {shape_id: replace(alike, shape_id=shape_id) for shape_id in set(ids)}
        made[part.name] = _copies(path, part, times, ids, workload.seed)
    for index, part in enumerate(workload.jobs):
        _depend(f"$.jobs[{index}]", part, made)
    _check_cycles(workload)
    jobs = [job for copies in made.values() for job in copies]
    jobs.sort(key=lambda job: job.submit_us)  # stable: as listed where times are equal
    for seq, job in enumerate(jobs):
        job.seq = seq
    return jobs


def _check_share(path: str, part: JobPart, *, is_shared: bool) -> None:
    """Refuses shares where the queue has no policy, and their absence where it has one."""
    where = f"{path}.shareIdentifier"
    if not is_shared:
        if part.share_identifier is not None:
            raise wrong(where, f"queue {part.queue!r} has no schedulingPolicy")
        return
    if part.share_identifier is None:
        raise wrong(where, f"queue {part.queue!r} has a schedulingPolicy, so its jobs need one")
    try:
        check_share(part.share_identifier)
    except InvalidRequest as error:
        raise wrong(where, error.message.rstrip(".")) from None


def _check_nodes(path: str, part: JobPart, types: Sequence[str]) -> None:
    """Refuses multi-node jobs that no compute environment of their queue takes."""
    if EC2 not in types:
        raise wrong(
            f"{path}.queue",
            f"multi-node jobs run in compute environments of type {EC2} alone; queue "
            f"{part.queue!r} has none",
        )
    kind = None if part.instance_type is None else Catalogue().get(part.instance_type)
    if part.instance_type is not None and (kind is None or kind.is_slot):
        raise wrong(f"{path}.instanceType", f"{part.instance_type!r} is not known")


def _times(part: JobPart, seed: int) -> list[int]:
    """When a job is submitted, in microseconds."""
    at = microseconds(part.at, "at")
    repeat = part.repeat
    if repeat is None:
        return [at]
    lasting = microseconds(repeat.lasting or 0, "lasting")
    if repeat.poisson_per_hour is None:
        step = max(microseconds(repeat.every or 0, "every"), 1)
        count = repeat.times or -(-lasting // step)
        return [at + step * number for number in range(min(count, COUNT_MAX + 1))]
    random = source(seed, part.name, "arrivals")
    mean = 3600 * SECOND / repeat.poisson_per_hour
    if repeat.times is not None:
        gaps = random.exponential(mean, repeat.times)
        return [at + int(passed) for passed in np.cumsum(gaps)]
    # Of a Poisson process, so many come within a time, and each at any moment of it.
    expected = min(lasting / mean, 2.0 * COUNT_MAX)
    count = min(int(random.poisson(expected)), COUNT_MAX + 1)
    return [at + int(passed) for passed in np.sort(random.uniform(0, lasting, count))]


def _copies(
    path: str, part: JobPart, times: list[int], shape_ids: Sequence[int], seed: int
) -> list[Job]:
    rules = [
        {
            name: value
            for name, value in (
                ("action", rule.action),
                ("onExitCode", rule.on_exit_code),
                ("onReason", rule.on_reason),
                ("onStatusReason", rule.on_status_reason),
            )
            if value is not None
        }
        for rule in part.evaluate_on_exit
    ]
    try:
        check_retry({"attempts": part.attempts, "evaluateOnExit": rules})
    except LongshoreError as error:
        raise wrong(f"{path}.evaluateOnExit", error.message.rstrip(".")) from None
    count = len(shape_ids)
    durations = draw(part.duration, source(seed, part.name, "durations"), count * part.size)
    return [
        Job(
            part=part,
            job_id=uuid.uuid5(uuid.NAMESPACE_OID, f"{part.name}/{number}"),
            seq=0,
            submit_us=times[number // part.copies],
            shape_id=shape_ids[number],
            rules=tuple(ExitRule.from_json(rule) for rule in rules),
            durations=durations[number * part.size : (number + 1) * part.size],
            stream=f"{seed}/{part.name}/{number}",
            left=part.size,
            waits=1,  # for its submission
        )
        for number in range(count)
    ]


def _depend(path: str, part: JobPart, made: dict[str, list[Job]]) -> None:
    """Ties the jobs of a part to those that they wait for."""
    mine = made[part.name]
    for place, dependency in enumerate(part.depends_on):
        if dependency.job is None:
            continue  # SEQUENTIAL: inside the array
        where = f"{path}.dependsOn[{place}]"
        others = made.get(dependency.job)
        if others is None:
            raise wrong(where, f"there is no job {dependency.job!r}")
        is_same = len(others) == len(mine)
        if not is_same and min(len(others), len(mine)) > 1:
            raise wrong(
                where,
                f"{part.name} is submitted {len(mine)} times and {dependency.job} "
                f"{len(others)} times, so which waits for which is not said",
            )
        pairs = zip(mine, others, strict=True) if is_same else _each(mine, others)
        if dependency.type == "N_TO_N" and not (is_same and others[0].size == mine[0].size):
            raise wrong(where, "N_TO_N needs two arrays of one size, submitted equally often")
        for job, other in pairs:
            if dependency.type == "N_TO_N":
                job.n_to_n += 1
                other.n_to_n_dependents.append((job, dependency.condition))
            else:
                job.waits += 1
                other.dependents.append((job, dependency.condition))


def _each(mine: Sequence[Job], others: Sequence[Job]) -> list[tuple[Job, Job]]:
    return [(job, other) for job in mine for other in others]


def _check_cycles(workload: Workload) -> None:
    """Refuses jobs that wait for each other."""
    waits = {part.name: {d.job for d in part.depends_on if d.job} for part in workload.jobs}
    free = [name for name, others in waits.items() if not others]
    while free:
        done = free.pop()
        del waits[done]
        for name, others in waits.items():
            if done in others:
                others.discard(done)
                if not others:
                    free.append(name)
    if waits:
        index = next(i for i, part in enumerate(workload.jobs) if part.name in waits)
        raise wrong(f"$.jobs[{index}].dependsOn", "jobs wait for each other in a circle")
