"""Requests from plain values: what is used most, without knowing the messages."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from longshore.v1 import container_pb2, job_definition_pb2, job_pb2, key_value_pb2
from longshore_client.errors import InvalidRequest


@contextlib.contextmanager
def well_formed(member: str = "") -> Iterator[None]:
    """Refuses what no message can hold, as the service refuses what a message holds amiss.

    Raises:
        InvalidRequest: a number is beyond the range of its member, or a text is no Unicode.
    """
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{member or 'The request'} cannot be sent: {error}.", member=member
        ) from error


def environment(values: Mapping[str, str]) -> list[key_value_pb2.KeyValuePair]:
    """Environment variables, sorted by name."""
    return [
        key_value_pb2.KeyValuePair(name=name, value=value) for name, value in sorted(values.items())
    ]


def requirements(
    vcpus: float | None = None, memory_mib: int | None = None, gpus: int | None = None
) -> list[container_pb2.ResourceRequirement]:
    """What a container needs; only the kinds that are given."""
    given = {
        "VCPU": None if vcpus is None else _decimal(vcpus),
        "MEMORY": None if memory_mib is None else str(memory_mib),
        "GPU": None if gpus is None else str(gpus),
    }
    return [
        container_pb2.ResourceRequirement(type=kind, value=value)
        for kind, value in given.items()
        if value is not None
    ]


def _decimal(value: float) -> str:
    """A number with all its digits, and none that it does not have."""
    with well_formed("vcpus"):
        return str(int(value)) if value == int(value) else str(value)


def instant(at: datetime | None) -> Timestamp | None:
    """A time; a naive one is local."""
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at.astimezone())
    return made


def dependencies(
    depends_on: Sequence[str | job_pb2.JobDependency],
) -> list[job_pb2.JobDependency]:
    """Dependencies; a plain job id means that the whole job must have succeeded."""
    return [
        job_pb2.JobDependency(job_id=item) if isinstance(item, str) else item for item in depends_on
    ]


def volumes(
    mounts: Sequence[tuple[str, str, bool]],
) -> tuple[list[container_pb2.Volume], list[container_pb2.MountPoint]]:
    """Volumes and mount points from (path on the instance, path in the container, read-only)."""
    made, points = [], []
    for number, (source, target, read_only) in enumerate(mounts):
        name = f"volume-{number}"
        made.append(container_pb2.Volume(name=name, host=container_pb2.Host(source_path=source)))
        points.append(
            container_pb2.MountPoint(
                source_volume=name, container_path=target, read_only=read_only or None
            )
        )
    return made, points


def container(
    image: str,
    command: Sequence[str] = (),
    *,
    vcpus: float = 1,
    memory_mib: int = 128,
    env: Mapping[str, str] | None = None,
    mounts: Sequence[tuple[str, str, bool]] = (),
) -> job_definition_pb2.ContainerProperties:
    """A container for a job definition.

    Args:
        image: name of the image.
        command: command and arguments; empty for the image's own.
        vcpus: share of CPU.
        memory_mib: hard limit.
        env: environment variables.
        mounts: (absolute path on the instance, path in the container, read-only).
    """
    made, points = volumes(mounts)
    return job_definition_pb2.ContainerProperties(
        image=image,
        command=command,
        environment=environment(env or {}),
        resource_requirements=requirements(vcpus, memory_mib),
        volumes=made,
        mount_points=points,
    )
