"""Names in certificates."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TRUST_DOMAIN = "longshore"
_SEGMENT = r"[0-9A-Za-z._-]{1,255}"
_SERVICE = re.compile(rf"spiffe://{_TRUST_DOMAIN}/({_SEGMENT})/service/([a-z]{{1,32}})")
_AGENT = re.compile(rf"spiffe://{_TRUST_DOMAIN}/({_SEGMENT})/agent/({_SEGMENT})/({_SEGMENT})")

#: What services are called in their certificates.
ROLES = (
    "submission",
    "scheduler",
    "scaler",
    "provisioning",
    "logs",
    "events",
    "gateway",
    "standalone",
)


@dataclass(frozen=True, slots=True)
class ServiceName:
    """A service of a stack."""

    stack: str
    role: str

    @property
    def uri(self) -> str:
        """As it stands in a certificate."""
        return f"spiffe://{_TRUST_DOMAIN}/{self.stack}/service/{self.role}"


@dataclass(frozen=True, slots=True)
class AgentName:
    """The agent of an instance."""

    stack: str
    environment: str
    instance_id: str

    @property
    def uri(self) -> str:
        """As it stands in a certificate."""
        return f"spiffe://{_TRUST_DOMAIN}/{self.stack}/agent/{self.environment}/{self.instance_id}"


def parsed(uri: str) -> ServiceName | AgentName | None:
    """The name that a URI is; None if it is none of ours."""
    if match := _SERVICE.fullmatch(uri):
        return ServiceName(*match.groups())
    if match := _AGENT.fullmatch(uri):
        return AgentName(*match.groups())
    return None


def host_of(role: str) -> str:
    """By which those who call a service check that it is that one, wherever it is."""
    return f"{role}.longshore"
