"""Watches the metadata service of EC2 for word that the instance will be taken away.

Two minutes before a spot instance ends, `spot/instance-action` says so, with the time. Before that,
and without promise, `events/recommendations/rebalance` advises to leave. Both answer 404 as long as
there is nothing to say (EC2 User Guide, "Spot Instance interruption notices" and "EC2 instance
rebalance recommendations"). Version 2 of the service wants a token with each request.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiohttp
import structlog

from longshore.v1 import agent_service_pb2 as pb

log = structlog.get_logger()

EC2_ENDPOINT = "http://169.254.169.254"
CALL_SECONDS = 2.0
TOKEN_SECONDS = 21_600
_ACTION = "spot/instance-action"
_REBALANCE = "events/recommendations/rebalance"
_UNAUTHORIZED = 401
_NOT_FOUND = 404


class MetadataWatch:
    """Asks the metadata service again and again, and tells what it says when that changes."""

    def __init__(
        self, tell: Callable[[pb.AgentNotice], None], endpoint: str, interval: float
    ) -> None:
        """Makes a watch.

        Args:
            tell: takes a notice, the first time that it is seen.
            endpoint: address of the metadata service, as `http://host`.
            interval: seconds from one look to the next.
        """
        self._tell = tell
        self._endpoint = endpoint
        self._interval = interval
        self._token = ""
        self._told: pb.AgentNotice | None = None
        self._is_away = False

    async def run(self) -> None:
        """Watches until cancelled; a service that does not answer is asked again."""
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS)
        # Never through a proxy of the machine's: the service answers this machine alone.
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                try:
                    await self._look(session)
                    self._is_away = False
                except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                    if not self._is_away:
                        log.warning("metadata.unavailable", error=str(error) or repr(error))
                    self._is_away = True
                await asyncio.sleep(self._interval)

    async def _look(self, session: aiohttp.ClientSession) -> None:
        notice = await self._notice(session)
        if notice is None or notice == self._told:
            return
        self._told = notice
        log.warning("notice.received", reason=notice.reason)
        self._tell(notice)

    async def _notice(self, session: aiohttp.ClientSession) -> pb.AgentNotice | None:
        """What the service says now: the end itself before mere advice."""
        if action := await self._get(session, _ACTION):
            notice = pb.AgentNotice(reason=f"EC2 will {action['action']} this spot instance.")
            notice.end_time.FromDatetime(_time(action["time"]))
            return notice
        if advice := await self._get(session, _REBALANCE):
            since = advice.get("noticeTime", "")
            return pb.AgentNotice(
                reason=f"EC2 recommends since {since} to leave this spot instance."
            )
        return None

    async def _get(self, session: aiohttp.ClientSession, path: str) -> dict[str, Any] | None:
        """A JSON document of the service; None if it has none by that name."""
        for _ in range(2):
            if not self._token:
                self._token = await self._new_token(session)
            headers = {"X-aws-ec2-metadata-token": self._token}
            url = f"{self._endpoint}/latest/meta-data/{path}"
            async with session.get(url, headers=headers) as response:
                if response.status == _UNAUTHORIZED:
                    self._token = ""
                    continue
                if response.status == _NOT_FOUND:
                    return None
                response.raise_for_status()
                document = json.loads(await response.text())
            if not isinstance(document, dict) or (path == _ACTION and not _is_action(document)):
                raise ValueError(f"{path} is of no form that is known")
            return document
        raise ValueError("the metadata service takes none of its tokens")

    async def _new_token(self, session: aiohttp.ClientSession) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
        async with session.put(f"{self._endpoint}/latest/api/token", headers=headers) as response:
            response.raise_for_status()
            return await response.text()


def _is_action(document: dict[str, Any]) -> bool:
    return isinstance(document.get("action"), str) and isinstance(document.get("time"), str)


def _time(text: str) -> datetime:
    """A time as EC2 writes it: in UTC, as in `2026-01-31T08:22:00Z`.

    Raises:
        ValueError: it is of another form.
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
