"""How attempts came by their images, from agents' reports to the sums that people are told."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from support.scheduling import Ended, scheduler_stand

from longshore.domain.errors import InvalidRequest
from longshore.state.pool import open_pool
from longshore.state.scheduler import image_start
from longshore.submission.image_servicer import ImageServicer
from longshore.v1 import agent_service_pb2 as agent_pb
from longshore.v1 import image_service_pb2 as pb

_PULLED = agent_pb.ImageStart(
    image="r.example/a:1", pull_duration=Duration(seconds=4), pulled_bytes=900
)
_WAITED = agent_pb.ImageStart(image="r.example/a:1", pull_duration=Duration(seconds=2))
_FOUND = agent_pb.ImageStart(image="r.example/a:1")
#: What an agent may say that lies.
_ODD = (
    agent_pb.ImageStart(image="b\0" + "b" * 9_999, pulled_bytes=-(2**63)),
    agent_pb.ImageStart(
        image="c", pull_duration=Duration(seconds=2**62, nanos=-5), pulled_bytes=2**63 - 1
    ),
    agent_pb.ImageStart(image="c", pull_duration=Duration(seconds=-(2**62))),
    agent_pb.ImageStart(),
)


async def test_starts_are_added_up_once_by_image_and_type(database_url: str) -> None:
    async with scheduler_stand(database_url) as stand:
        await stand.environment()
        await stand.queue()
        agent = await stand.agent()
        jobs = [await stand.submit() for _ in range(4)]
        for job, images in zip(jobs, ([_PULLED], [_WAITED], [_FOUND], _ODD), strict=True):
            await agent.until(lambda job=job: job in agent.assigned)
            await agent.start(job, images=images)
            await stand.until(job, "RUNNING")
            # What is said again with another change counts no more.
            await agent.start(job, images=images)
            await agent.end(job, Ended())
            await stand.until(job, "SUCCEEDED")
        pool = await open_pool(database_url, maximum=1)
        servicer = ImageServicer(pool)
        try:
            own = await servicer.ListImageStarts(
                pb.ListImageStartsRequest(image="r.example/a:1"), None
            )
            assert list(own.starts) == [
                pb.ImageStarts(
                    image="r.example/a:1",
                    instance_type="unmanaged",
                    starts=3,
                    pulls=2,
                    pull_seconds=6,
                    slowest_seconds=4,
                    pulled_bytes=900,
                )
            ]
            every = await servicer.ListImageStarts(pb.ListImageStartsRequest(), None)
            assert [(one.image[:3], one.starts) for one in every.starts] == [
                ("r.e", 3),
                ("c", 2),
                ("b\N{REPLACEMENT CHARACTER}b", 1),
            ]
            assert every.starts[1].pull_seconds == 86_400
            first = await servicer.ListImageStarts(pb.ListImageStartsRequest(max_results=1), None)
            assert len(first.starts) == 1
            with pytest.raises(InvalidRequest):
                await servicer.ListImageStarts(pb.ListImageStartsRequest(max_results=-1), None)
        finally:
            await pool.close()
        await image_start.prune(stand.conn, (datetime.now(UTC) + timedelta(days=1)).date())
        assert await stand.conn.fetchval("SELECT count(*) FROM image_starts") == 0
