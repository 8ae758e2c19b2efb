"""Calls to AWS: bounded in time and number, tried again where that helps, errors of two kinds.

AWS's library takes a second and some 10 MB to load, so the first who calls loads it, in a thread:
most agents never do.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import structlog

from longshore.backoff import Backoff
from longshore.domain.errors import LongshoreError, Unavailable

log = structlog.get_logger()

#: Tries of one call, and the longest pauses between them.
TRIES = 5
PAUSE_FIRST_SECONDS = 0.5
PAUSE_LAST_SECONDS = 5.0
#: Most pages that are read of one answer.
PAGES_MAXIMUM = 200
THROTTLES = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "EC2ThrottledException",
        "RequestThrottled",
    }
)


class RefusedByAws(LongshoreError):
    """AWS refused a call: asking again the same would not help, or not soon."""

    reason = "REFUSED_BY_AWS"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.aws_message = message

    @property
    def is_throttle(self) -> bool:
        """Whether only the rate of calls was too high."""
        return self.code in THROTTLES


class NoCredentials(Unavailable):
    """AWS's chain has no credentials here, or a part of them; nothing was called."""


class Api:
    """One AWS service."""

    def __init__(self, client: Any, call_seconds: float) -> None:
        self._client = client
        self._call_seconds = call_seconds

    async def call(self, operation: str, *, repeatable: bool = True, **members: Any) -> Any:
        """Calls an operation, again after throttling, faults of AWS's and lost connections.

        One that is not `repeatable` is called again after throttling alone: then it is known that
        it did nothing.

        Raises:
            RefusedByAws: AWS says no.
            NoCredentials: there are none to call it with.
            Unavailable: AWS does not answer; what the call did is not known.
        """
        from botocore.exceptions import (  # noqa: PLC0415 - see the module's docstring
            BotoCoreError,
            ClientError,
            NoCredentialsError,
            PartialCredentialsError,
        )

        failure: LongshoreError = Unavailable(f"{operation} was never tried")
        backoff = Backoff(PAUSE_FIRST_SECONDS, PAUSE_LAST_SECONDS)
        for number in range(TRIES):
            if number:
                await asyncio.sleep(backoff.delay())
            try:
                async with asyncio.timeout(self._call_seconds):
                    return await getattr(self._client, operation)(**members)
            except ClientError as error:
                refused = _refused(error)
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if not refused.is_throttle and status < 500:
                    raise refused from error
                failure = refused if refused.is_throttle else Unavailable(str(refused))
            except TimeoutError:
                failure = Unavailable(f"{operation} took longer than {self._call_seconds:g} s")
            except (NoCredentialsError, PartialCredentialsError) as error:
                raise NoCredentials(f"{operation}: {error}") from error
            except BotoCoreError as error:
                failure = Unavailable(f"{operation}: {error}")
            is_known = isinstance(failure, RefusedByAws)
            log.info("aws.failed", operation=operation, number=number + 1, error=str(failure))
            if not repeatable and not is_known:
                break
        raise failure

    async def pages(self, operation: str, key: str, **members: Any) -> list[Any]:
        """The items of all pages of an answer.

        Raises:
            RefusedByAws: AWS says no.
            Unavailable: AWS does not answer, or has more pages than can be.
        """
        found: list[Any] = []
        token: dict[str, Any] = {}
        for _ in range(PAGES_MAXIMUM):
            answer = await self.call(operation, **members, **token)
            found += answer.get(key) or ()
            if not answer.get("NextToken"):
                return found
            token = {"NextToken": answer["NextToken"]}
        raise Unavailable(f"{operation} answers more than {PAGES_MAXIMUM} pages")


def chunks(items: Sequence[str], size: int) -> Iterator[list[str]]:
    """Items in their order, at most so many at one time."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _refused(error: Any) -> RefusedByAws:
    detail = error.response.get("Error", {})
    return RefusedByAws(detail.get("Code") or "Unknown", detail.get("Message") or str(error))


@functools.cache
def _session() -> Any:
    """One for the process: it keeps what it reads of the services' models, which takes a while."""
    from aiobotocore.session import get_session  # noqa: PLC0415 - see the module's docstring

    return get_session()


@contextlib.asynccontextmanager
async def open_api(
    service: str,
    *,
    region: str,
    endpoint_url: str | None = None,
    call_seconds: float = 15,
    **settings: Any,
) -> AsyncIterator[Api]:
    """An AWS service, with credentials from AWS's own chain.

    Args:
        service: its name, as in `ec2`.
        region: where it is.
        endpoint_url: instead of AWS's own, or what AWS_ENDPOINT_URL and its like say.
        call_seconds: longest time for one try of a call.
        settings: more of botocore's, as `s3`.
    """
    session = await asyncio.to_thread(_session)
    from aiobotocore.config import AioConfig  # noqa: PLC0415 - see the module's docstring

    config = AioConfig(
        # Tries are counted here alone.
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=min(call_seconds, 5),
        read_timeout=call_seconds,
        max_pool_connections=10,
        user_agent_extra="longshore",
        **settings,
    )
    # Which service is known only at run time; the operations are checked by botocore's model.
    async with session.create_client(
        service, region_name=region, endpoint_url=endpoint_url, config=config
    ) as client:
        yield Api(client, call_seconds)
