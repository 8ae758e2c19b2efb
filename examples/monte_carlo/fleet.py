"""The capacity that the workload runs on: none before it, none after it, and told about between.

A compute environment of its own with minvCpus 0, on instances of a small type: on this machine each
is a process, and costs nothing, but it is reckoned at the price of the catalogue.
"""

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from longshore.v1 import compute_environment_pb2, scaler_service_pb2
from longshore_client import Client, LongshoreError, Timeout

NAME = "demo"
#: Two vCPUs and 4 GiB, by architecture.
INSTANCE_TYPE = "c6g.large" if platform.machine() in ("aarch64", "arm64") else "c6i.large"
#: Four vCPUs for each core, as a machine's own instance has; a vCPU is a share.
VCPUS_PER_CORE = 4
MAX_VCPUS = 32
#: How long the stack of the demonstration keeps an idle instance, and how often it looks.
SETTINGS = {"LONGSHORE_IDLE_SECONDS": "2", "LONGSHORE_SCALE_INTERVAL": "1"}
#: Longest way back to zero: the idle time, a look, and the end of agents on a busy machine.
ZERO_SECONDS = 60.0
LOOK_SECONDS = 0.25


async def make(client: Client) -> None:
    """Makes the compute environment, and a queue on it; no instance starts before a job waits.

    The stack's own environment need not keep an instance warm for anybody either.
    """
    await client.update_environment(
        compute_environment_pb2.UpdateComputeEnvironmentRequest(
            compute_environment="default",
            compute_resources=compute_environment_pb2.ComputeResourceUpdate(minv_cpus=0),
        )
    )
    await client.create_environment(
        compute_environment_pb2.CreateComputeEnvironmentRequest(
            compute_environment_name=NAME,
            type="MANAGED",
            compute_resources=compute_environment_pb2.ComputeResource(
                type="EC2",
                allocation_strategy="BEST_FIT_PROGRESSIVE",
                minv_cpus=0,
                maxv_cpus=min(VCPUS_PER_CORE * (os.cpu_count() or 1), MAX_VCPUS),
                instance_types=[INSTANCE_TYPE],
                # Required by the wire contract, without meaning on this machine.
                subnets=["subnet-local"],
                security_group_ids=["sg-local"],
                instance_role="local",
            ),
        )
    )
    await client.wait_for_environment(NAME)
    await client.create_queue(NAME, [NAME])
    await client.wait_for_queue(NAME)


@dataclass
class Fleet:
    """Follows the environment's scaling and tells each decision once."""

    client: Client
    say: Callable[[str], None]
    _seen: int = field(default=0, init=False)
    _vcpus: int = field(default=0, init=False)

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Tells of decisions while the context is open, and of the last ones at its end."""
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, LongshoreError):
                await following

    async def _follow(self) -> None:
        while True:
            await self.tell()
            await asyncio.sleep(LOOK_SECONDS)

    async def tell(self) -> None:
        """Tells the decisions that were made since the last time, the oldest first."""
        news: list[scaler_service_pb2.ScalingActivity] = []
        async for activity in self.client.list_activities(NAME):
            if activity.activity_id <= self._seen:
                break
            news.append(activity)
        for activity in reversed(news):
            self._seen = activity.activity_id
            before, self._vcpus = self._vcpus, activity.desired_vcpus
            self.say(f"capacity {before} -> {self._vcpus} vCPUs: {activity.reason}")

    async def until_zero(self) -> float:
        """Waits until the environment has no instance left; returns how many seconds it took.

        Raises:
            Timeout: some are still there after `ZERO_SECONDS`.
        """
        began = time.monotonic()
        left = -1
        try:
            async with asyncio.timeout(ZERO_SECONDS):
                while left:
                    [now] = await self.client.describe_capacity([NAME])
                    sums = (now.busy, now.idle, now.booting, now.draining)
                    left = sum(some.instances for some in sums)
                    await self.tell()
                    if left:
                        await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise Timeout(
                f"{left} instances are still there, {ZERO_SECONDS:g} s after the last job; "
                f"see `longshore activities {NAME}`."
            ) from None
        return time.monotonic() - began

    async def bill(self) -> tuple[int, float]:
        """How many instances there were, and what they cost at the catalogue's prices."""
        count = 0
        async for _ in self.client.list_instances(NAME, ended=True):
            count += 1
        [cost] = (await self.client.describe_costs(environments=[NAME])).compute_environments
        return count, cost.cost
