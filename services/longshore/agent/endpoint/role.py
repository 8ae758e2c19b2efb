"""Credentials of the roles of attempts: assumed at the start, kept, and renewed in time."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from longshore.agent.attempts.attempt import StepFailed, now

log = structlog.get_logger()

#: Renewed so long before they expire, more or less: SDKs ask for new ones when less than 15 minutes
#: are left, and want to get some that last longer. Short-lived ones, after half of their life.
AHEAD = timedelta(minutes=25)
JITTER = timedelta(minutes=5)
#: Pauses between tries to renew, twice as long each time.
RETRY_FIRST = timedelta(seconds=5)
RETRY_LAST = timedelta(minutes=2)
#: Roles assumed at one time.
CONCURRENT = 8
#: Less than the two seconds that SDKs wait for an answer.
MOMENT_SECONDS = 1.5
#: Longest time for the assuming of one, all tries of it together.
ASSUME_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials for a while."""

    access_key_id: str
    secret_access_key: str
    token: str
    expiration: datetime


class RoleRefused(Exception):
    """The role was not assumed; the message says why, in the issuer's own words."""


class Issuer(Protocol):
    """Whoever gives credentials of a role."""

    async def issue(self, role: str, session: str) -> Credentials:
        """Assumes a role.

        Raises:
            RoleRefused: it cannot be.
        """
        ...


@dataclass(slots=True)
class _Session:
    role: str
    due: datetime
    credentials: Credentials | None = None
    failures: int = 0
    #: Set once there were credentials.
    assumed: asyncio.Event = field(default_factory=asyncio.Event)


class Roles:
    """The sessions of this agent's attempts, each with its role."""

    def __init__(self, issuer: Issuer | None, clock: Callable[[], datetime] = now) -> None:
        """Makes an empty set.

        Args:
            issuer: who gives credentials; None: roles cannot be assumed here.
            clock: tells the time.
        """
        self._issuer = issuer
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._calls = asyncio.Semaphore(CONCURRENT)
        self._changed = asyncio.Event()

    def holds(self, session: str) -> bool:
        """Whether a session has credentials that are still good."""
        return self.credentials(session) is not None

    def credentials(self, session: str) -> Credentials | None:
        """The credentials of a session; None if there are none that are still good."""
        found = self._sessions.get(session)
        if found is None or found.credentials is None:
            return None
        return found.credentials if found.credentials.expiration > self._clock() else None

    async def credentials_soon(self, session: str) -> Credentials | None:
        """The credentials of a session; those that are on their way are waited for a moment."""
        found = self._sessions.get(session)
        if found is not None and found.credentials is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MOMENT_SECONDS):
                    await found.assumed.wait()
        return self.credentials(session)

    async def assume(self, role: str, session: str) -> None:
        """Assumes a role for a session.

        Raises:
            StepFailed: it cannot be assumed.
        """
        if self._issuer is None:
            raise StepFailed(
                "CannotAssumeRole",
                "jobRoleArn has no effect here, as this agent assumes no roles: set "
                "LONGSHORE_JOB_ROLES=sts, or register a job definition without jobRoleArn",
            )
        try:
            credentials = await self._issue(self._issuer, role, session)
        except RoleRefused as error:
            raise StepFailed("CannotAssumeRole", str(error)) from error
        self._sessions[session] = _Session(role, self._renewal(credentials), credentials)
        self._changed.set()

    def resume(self, role: str, session: str) -> None:
        """Takes up a session that an earlier life of the agent had; its role is assumed soon."""
        if self._issuer is not None and session not in self._sessions:
            self._sessions[session] = _Session(role, self._clock())
            self._changed.set()

    def forget(self, session: str) -> None:
        """Drops a session and what it had."""
        self._sessions.pop(session, None)

    async def run(self) -> None:
        """Renews credentials until cancelled."""
        while True:
            self._changed.clear()
            if not await self._renew_due():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._changed.wait()

    def _pause(self) -> float | None:
        due = min((session.due for session in self._sessions.values()), default=None)
        return None if due is None else max((due - self._clock()).total_seconds(), 0)

    async def _renew_due(self) -> bool:
        """Renews what is due, and returns whether that was anything."""
        present = self._clock()
        due = [name for name, session in self._sessions.items() if session.due <= present]
        async with asyncio.TaskGroup() as group:
            for name in due[:CONCURRENT]:
                group.create_task(self._renew(name))
        return bool(due)

    async def _renew(self, name: str) -> None:
        session = self._sessions.get(name)
        if session is None or self._issuer is None:
            return
        try:
            session.credentials = await self._issue(self._issuer, session.role, name)
        except RoleRefused as error:
            session.due = self._clock() + min(RETRY_FIRST * 2**session.failures, RETRY_LAST)
            session.failures = min(session.failures + 1, 10)
            log.warning("role.not_renewed", role=session.role, session=name, error=str(error))
        else:
            session.due, session.failures = self._renewal(session.credentials), 0
            session.assumed.set()

    async def _issue(self, issuer: Issuer, role: str, session: str) -> Credentials:
        async with self._calls:
            try:
                async with asyncio.timeout(ASSUME_SECONDS):
                    return await issuer.issue(role, session)
            except TimeoutError:
                raise RoleRefused(f"{role} was not assumed within {ASSUME_SECONDS:g} s") from None
            except RoleRefused:
                raise
            except Exception as error:
                # What speaks like AWS's service may still answer what AWS never would.
                log.exception("role.not_understood", role=role, session=session)
                text = f"{role}: the answer was not understood ({type(error).__name__})"
                raise RoleRefused(text) from error

    def _renewal(self, credentials: Credentials) -> datetime:
        """When to renew credentials: not all at one time."""
        present = self._clock()
        life = credentials.expiration - present
        ahead = AHEAD + JITTER * random.uniform(-1, 1)
        return present + max(life - ahead, life / 2, RETRY_FIRST)
