"""What lets an attempt in: ids that nobody can guess and that outlive the agent's process."""

import hashlib
import hmac
import json
import os
import secrets
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import structlog

log = structlog.get_logger()

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class EndpointIdentity:
    """The key of an agent and where it listens on loopback; the same after a restart."""

    key: str
    #: 0: never listened yet.
    port: int = 0

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what an earlier life left; a new one if that is nothing of use."""
        try:
            kept = json.loads(path.read_text())
            found = cls(key=str(kept["key"]), port=int(kept["port"]))
            if len(bytes.fromhex(found.key)) == _KEY_BYTES and 0 <= found.port <= 65_535:
                return found
            error = "out of range"
        except FileNotFoundError:
            return cls(key=secrets.token_hex(_KEY_BYTES))
        except (OSError, ValueError, KeyError, TypeError) as unreadable:
            error = repr(unreadable)
        # What runs already cannot ask any more.
        log.warning("endpoint.identity_lost", path=str(path), error=error)
        return cls(key=secrets.token_hex(_KEY_BYTES))

    def save(self, path: Path) -> None:
        """Leaves it to the next life. Nobody else may read it."""
        new = path.with_name(f"{path.name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(self), file)
        new.replace(path)

    def credentials_id(self, attempt_id: str) -> str:
        """By which an attempt gets credentials: a UUID, as on Amazon ECS."""
        return str(uuid.UUID(bytes=self._derive("credentials", attempt_id)[:16]))

    def token(self, attempt_id: str) -> str:
        """What it must have besides where others may see its requests."""
        return self._derive("token", attempt_id).hex()

    def metadata_id(self, attempt_id: str) -> str:
        """By which it gets metadata. Programs print such addresses: it opens nothing else."""
        return self._derive("metadata", attempt_id)[:16].hex()

    def _derive(self, purpose: str, attempt_id: str) -> bytes:
        key = bytes.fromhex(self.key)
        return hmac.digest(key, f"{purpose}:{attempt_id}".encode(), hashlib.sha256)
