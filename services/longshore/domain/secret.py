"""Where a secret lies, as `valueFrom` and `credentialsParameter` say it; never the value itself.

- `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-SUFFIX[:KEY:STAGE:VERSION]`: AWS Secrets
  Manager. KEY is one of a JSON object; what is left empty is not asked for.
- `arn:aws:ssm:REGION:ACCOUNT:parameter/NAME`: SSM Parameter Store; a bare name, too, in the
  machine's own region. Either may end in `:VERSION` or `:LABEL`.
- `longshore:secret:NAME[:KEY]`: longshore's own file of secrets. No parameter's name has two
  colons, so this is never one.

Logins of registries (`credentialsParameter`) are secrets too; there a bare name is one of Secrets
Manager (Amazon ECS API, RepositoryCredentials).
"""

import enum
import re
from dataclasses import dataclass

from longshore.domain.errors import InvalidRequest

#: Longer than any ARN with key, stage and version.
REFERENCE_LENGTH = 2048
OWN_PREFIX = "longshore:secret:"
#: Names that AWS Secrets Manager takes, which longshore's own file takes as well.
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_SECRETS_MANAGER = re.compile(
    r"(?P<id>arn:aws[a-z-]*:secretsmanager:(?P<region>[a-z0-9-]{1,64}):[0-9]{12}"
    r":secret:[A-Za-z0-9/_+=.@!-]{1,520})"
    r"(?::(?P<key>[^:]*):(?P<stage>[^:\s]*):(?P<version>[^:\s]*))?"
)
_SELECTOR = r"(?::[A-Za-z0-9_.-]{1,100})?"
_PARAMETER_ARN = re.compile(
    rf"arn:aws[a-z-]*:ssm:(?P<region>[a-z0-9-]{{1,64}}):[0-9]{{12}}:parameter/[\w./-]+{_SELECTOR}",
    re.ASCII,
)
_PARAMETER = re.compile(rf"[\w./-]{{1,1011}}{_SELECTOR}", re.ASCII)


class Store(enum.Enum):
    """Who keeps a secret."""

    SECRETS_MANAGER = "AWS Secrets Manager"
    PARAMETER_STORE = "SSM Parameter Store"
    OWN = "longshore's own secrets"


@dataclass(frozen=True, slots=True)
class SecretReference:
    """A secret by name."""

    store: Store
    #: As the store takes it: a name, or an ARN of AWS's.
    secret_id: str
    #: None: the reader's own.
    region: str | None = None
    #: The value of this key of a JSON object; None: all of it.
    key: str | None = None
    version_stage: str | None = None
    version_id: str | None = None


def is_secret_name(name: str) -> bool:
    """Whether longshore's own file can have a secret of that name."""
    return _NAME.fullmatch(name) is not None


def parse_secret(text: str, *, member: str) -> SecretReference:
    """Reads `valueFrom`.

    Raises:
        InvalidRequest: it names no secret and no parameter.
    """
    found = _parse(text)
    if found is None and _PARAMETER.fullmatch(text):
        found = SecretReference(Store.PARAMETER_STORE, text)
    if found is None:
        raise InvalidRequest(
            f"{member} is {text[:128]!r}; it must be the ARN of a secret of Secrets Manager, the "
            f"name or ARN of a parameter of SSM, or {OWN_PREFIX}NAME.",
            member=member,
        )
    return found


def parse_login(text: str, *, member: str) -> SecretReference:
    """Reads `credentialsParameter`.

    Raises:
        InvalidRequest: it names no secret.
    """
    found = _parse(text)
    if found is None and _NAME.fullmatch(text):
        found = SecretReference(Store.SECRETS_MANAGER, text)
    if found is None or found.store is Store.PARAMETER_STORE:
        raise InvalidRequest(
            f"{member} is {text[:128]!r}; it must be the name or ARN of a secret of Secrets "
            f"Manager, or {OWN_PREFIX}NAME.",
            member=member,
        )
    return found


def _parse(text: str) -> SecretReference | None:
    """What is no bare name."""
    if len(text) > REFERENCE_LENGTH:
        return None
    if text.startswith(OWN_PREFIX):
        name, _, key = text.removeprefix(OWN_PREFIX).partition(":")
        return SecretReference(Store.OWN, name, key=key or None) if is_secret_name(name) else None
    if match := _SECRETS_MANAGER.fullmatch(text):
        return SecretReference(
            Store.SECRETS_MANAGER,
            match["id"],
            match["region"],
            match["key"] or None,
            match["stage"] or None,
            match["version"] or None,
        )
    if match := _PARAMETER_ARN.fullmatch(text):
        return SecretReference(Store.PARAMETER_STORE, text, match["region"])
    return None
