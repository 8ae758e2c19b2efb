"""Tags of resources."""

from collections.abc import Iterable, Mapping, Sequence

from longshore.domain.arn import (
    COMPUTE_ENVIRONMENT,
    JOB,
    JOB_DEFINITION,
    JOB_QUEUE,
    SCHEDULING_POLICY,
    parse_definition,
    parse_name,
    parse_resource,
)
from longshore.domain.checks import TAGS_MAX, check_tags, require, unsupported
from longshore.domain.environment_tags import check_settings, has_settings
from longshore.domain.errors import InvalidRequest, NotFound
from longshore.domain.job.job import JobKey
from longshore.state import listen
from longshore.state.pool import Connection, Pool, transaction
from longshore.state.submission.tag import Tagged, lock_tags, write_tags

_MEMBER = "resourceArn"


class Tags:
    """Use cases of tags; one store, shared with what the describing operations show."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, arn: str, tags: Mapping[str, str]) -> None:
        """Adds tags or replaces their values; all others stay."""
        require(tags, "tags needs at least one tag.", "tags")
        check_tags(tags)
        resource = _resource(arn)
        if resource.is_environment:
            check_settings(tags)
        async with transaction(self._pool) as conn:
            merged = {**await _lock(conn, resource, arn), **tags}
            require(len(merged) <= TAGS_MAX, f"{arn} would have more than {TAGS_MAX} tags.", "tags")
            await write_tags(conn, resource, merged)
            await _tell_of_settings(conn, resource, tags)

    async def remove(self, arn: str, keys: Sequence[str]) -> None:
        """Removes tags by key; keys that are not there are passed over."""
        require(1 <= len(keys) <= TAGS_MAX, f"tagKeys needs 1 to {TAGS_MAX} keys.", "tagKeys")
        resource = _resource(arn)
        async with transaction(self._pool) as conn:
            tags = await _lock(conn, resource, arn)
            await write_tags(
                conn, resource, {key: value for key, value in tags.items() if key not in keys}
            )
            await _tell_of_settings(conn, resource, keys)

    async def read(self, arn: str) -> dict[str, str]:
        """All tags of a resource."""
        async with transaction(self._pool) as conn:
            return await _lock(conn, _resource(arn), arn)


async def _tell_of_settings(conn: Connection, resource: Tagged, keys: Iterable[str]) -> None:
    """Wakes who goes by the settings of compute environments, if some changed."""
    if resource.is_environment and has_settings(keys):
        await listen.notify(conn, listen.ENVIRONMENTS)


async def _lock(conn: Connection, resource: Tagged, arn: str) -> dict[str, str]:
    tags = await lock_tags(conn, resource)
    if tags is None:
        raise NotFound(f"{arn} does not exist", member=_MEMBER)
    return tags


def _resource(arn: str) -> Tagged:
    kind, rest = parse_resource(arn, member=_MEMBER)
    if kind == COMPUTE_ENVIRONMENT:
        return Tagged.environment(parse_name(kind, rest, member=_MEMBER))
    if kind == JOB_QUEUE:
        return Tagged.queue(parse_name(kind, rest, member=_MEMBER))
    if kind == SCHEDULING_POLICY:
        return Tagged.policy(parse_name(kind, rest, member=_MEMBER))
    if kind == JOB_DEFINITION:
        definition = parse_definition(rest, member=_MEMBER)
        if definition.revision is None:
            raise InvalidRequest(f"{arn} has no revision.", member=_MEMBER)
        return Tagged.definition(definition.name, definition.revision)
    if kind == JOB:
        key = JobKey.parse(rest, _MEMBER)
        require(not key.is_child, "Children of array jobs cannot have tags.", _MEMBER)
        require(not key.is_node, "Nodes of multi-node jobs cannot have tags.", _MEMBER)
        return Tagged.job(key.job_id)
    raise unsupported(_MEMBER, f" for a {kind}")
