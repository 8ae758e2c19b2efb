"""ImageService on the wire: check, call, convert."""

from longshore.domain.page import page_size
from longshore.state.pool import Pool
from longshore.state.views import image_report
from longshore.submission.check import check_request
from longshore.v1 import image_service_pb2 as pb
from longshore.v1 import image_service_pb2_grpc

#: Most entries of an answer.
LARGEST = 1_000


class ImageServicer(image_service_pb2_grpc.ImageServiceServicer):
    """What images cost those who start jobs with them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListImageStarts(
        self, request: pb.ListImageStartsRequest, context: object
    ) -> pb.ListImageStartsResponse:
        """How attempts came by their images."""
        check_request(request)
        limit = page_size(request.max_results if request.HasField("max_results") else 100, LARGEST)
        image = request.image if request.HasField("image") else None
        async with self._pool.acquire() as conn:
            found = await image_report.list_starts(conn, image, limit)
        return pb.ListImageStartsResponse(
            starts=[
                pb.ImageStarts(
                    image=one.image,
                    instance_type=one.instance_type,
                    starts=one.starts,
                    pulls=one.pulls,
                    pull_seconds=one.pull_seconds,
                    slowest_seconds=one.slowest_seconds,
                    pulled_bytes=one.pulled_bytes,
                )
                for one in found
            ]
        )
