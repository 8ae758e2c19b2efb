"""What no message can hold is refused by the client as the service refuses what is amiss."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from longshore_client import Client, InvalidRequest, build

HUGE = 2**40


async def _first(entries: AsyncIterator[Any]) -> None:
    async for _ in entries:
        return


def _submit(**values: Any) -> Callable[[Client], Awaitable[Any]]:
    return lambda client: client.submit_job("a", **({"queue": "q", "definition": "d"} | values))


@pytest.mark.parametrize(
    ("call", "member"),
    [
        (_submit(array_size=HUGE), "arrayProperties.size"),
        (_submit(num_nodes=-HUGE), "nodeOverrides.numNodes"),
        (_submit(attempts=HUGE), "retryStrategy.attempts"),
        (_submit(timeout_seconds=HUGE), "timeout.attemptDurationSeconds"),
        (_submit(vcpus=float("inf")), "vcpus"),
        (_submit(vcpus=float("nan")), "vcpus"),
        (_submit(queue="\ud800"), ""),
        (_submit(env={"A": "\ud800"}), ""),
        (lambda c: c.create_queue("q", ["e"], priority=HUGE), "priority"),
        (lambda c: c.update_queue("q", priority=HUGE), "priority"),
        (
            lambda c: c.register_container_definition("d", build.container("i"), attempts=HUGE),
            "retryStrategy.attempts",
        ),
        (
            lambda c: c.register_container_definition(
                "d", build.container("i"), timeout_seconds=HUGE
            ),
            "timeout.attemptDurationSeconds",
        ),
        (lambda c: _first(c.list_jobs("q", page_size=HUGE)), ""),
        (lambda c: _first(c.list_activities(page_size=HUGE)), ""),
        (lambda c: _first(c.list_instances(page_size=HUGE)), ""),
        (lambda c: _first(c.tail_logs("log", tail_lines=HUGE)), ""),
        (lambda c: c.interrupt_instance("i", notice_seconds=HUGE), ""),
    ],
)
async def test_it_is_an_invalid_request(
    client: Client, call: Callable[[Client], Awaitable[Any]], member: str
) -> None:
    with pytest.raises(InvalidRequest, match="cannot be sent") as refused:
        await call(client)
    assert refused.value.member == member
