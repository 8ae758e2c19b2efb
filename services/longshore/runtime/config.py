"""Settings from the environment.

Every variable is `LONGSHORE_*`, every bad value names its variable. What follows is for several
services; `docs/settings.md` is made of it, of the like in each `config.py`, and of what is read.

- LONGSHORE_HOST (127.0.0.1), LONGSHORE_PORT_BASE (7070): where services are, each at a fixed
  distance from the port base;
- LONGSHORE_SUBMISSION_ADDRESS, LONGSHORE_SCHEDULER_ADDRESS, LONGSHORE_SCALER_ADDRESS,
  LONGSHORE_PROVISIONING_ADDRESS, LONGSHORE_LOGS_ADDRESS, LONGSHORE_EVENTS_ADDRESS,
  LONGSHORE_GATEWAY_ADDRESS: `host:port` of one of them, for itself and for those who speak to it;
- LONGSHORE_SUBMISSION_METRICS_ADDRESS, LONGSHORE_SCHEDULER_METRICS_ADDRESS,
  LONGSHORE_SCALER_METRICS_ADDRESS, LONGSHORE_PROVISIONING_METRICS_ADDRESS,
  LONGSHORE_LOGS_METRICS_ADDRESS, LONGSHORE_EVENTS_METRICS_ADDRESS: `host:port` of its Prometheus
  metrics; on loopback, 20 ports above its own;
- LONGSHORE_STACK_KEY_FILE (`stack.key` in LONGSHORE_TLS_DIR): the key that the services of a stack
  share, which `longshore up` makes; without it nobody could be known, so services do not start;
- LONGSHORE_ACCOUNT (123456789012), LONGSHORE_REGION (us-east-1): what stands in ARNs;
- LONGSHORE_READS_PER_SECOND, LONGSHORE_WRITES_PER_SECOND (20000): how often one access key may
  call one service, for calls that change nothing and for others; five times as many at once;
- LONGSHORE_OPEN (false): whoever reaches the services may do everything, on loopback alone;
- LONGSHORE_SUBMISSION_PEER_ADDRESS, LONGSHORE_SCHEDULER_PEER_ADDRESS,
  LONGSHORE_SCALER_PEER_ADDRESS, LONGSHORE_PROVISIONING_PEER_ADDRESS, LONGSHORE_LOGS_PEER_ADDRESS,
  LONGSHORE_EVENTS_PEER_ADDRESS: `host:port` of one of them for services and agents, who need
  certificates; 40 ports above the one for users;
- LONGSHORE_JOIN_ADDRESS: `host:port` at which machines join; 6 ports above the port base;
- LONGSHORE_TLS_DIR (`tls` in LONGSHORE_DATA_DIR, by default ~/.longshore): the stack's authority
  and the certificates of services, which `longshore up` makes;
- LONGSHORE_TLS_NAMES (none): names and addresses by which users on other machines reach services,
  with commas between: they stand in the services' certificates;
- LONGSHORE_TLS_CERTIFICATE, LONGSHORE_TLS_KEY (none): files with the certificates and the key, as
  PEM, that users on other machines see in place of those of the stack's own authority;
- LONGSHORE_DATABASE_URL: the PostgreSQL that holds all truth;
- LONGSHORE_LOCAL_VCPUS (four for each core), LONGSHORE_LOCAL_MEMORY_MIB (three quarters of what
  there is), LONGSHORE_LOCAL_GPUS (0): what this machine is declared to be, for instances on it;
- LONGSHORE_CATALOGUE: a file of instance types in place of the built-in ones;
- LONGSHORE_HISTORY_DAYS (90): how long what is over is kept;
- LONGSHORE_AUDIT_DAYS (90): how long records of the audit log are kept;
- LONGSHORE_AUDIT_READS (false): record calls that only read as well; refused ones always are;
- LONGSHORE_AUDIT_GATEWAYS (none): addresses of gateways on other machines, with commas between:
  where they say that a call comes from is believed, as it is of those on this machine.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from longshore.contract import DEFAULT_PORT_BASE, JOIN_OFFSET, PORT_OFFSETS
from longshore.domain.access.bucket import FREELY, Pace
from longshore.domain.arn import ACCOUNT, REGION, Arns
from longshore.domain.errors import LongshoreError
from longshore.identity.doors import Doors
from longshore.identity.material import Identity, service_identity
from longshore.runtime.stack_key import StackKey

#: Prometheus metrics of a gRPC service are served this far above its own port.
METRICS_OFFSET = 20
#: Its port for services and agents is this far above the one for users.
PEER_OFFSET = 40
#: The file in the folder of certificates that has the stack's key.
STACK_KEY = "stack.key"
#: Calls of so many seconds may come at once.
BURST_SECONDS = 5
#: How long what is over is kept.
HISTORY = timedelta(days=90)
#: A name or address (an IPv6 address in brackets), and a port.
_HOST_PORT = re.compile(r"(?:[^:\[\]\s]+|\[[^\]\s]+\]):([0-9]{1,5})")
#: A name, an IPv4 address or an IPv6 address without brackets.
_HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_PORT_MAX = 65_535


class ConfigError(LongshoreError):
    """A setting is missing or wrong; the message names the variable."""

    reason = "CONFIGURATION"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a variable where it is read."""

    #: What it may be, in words.
    takes: str
    #: What it is if nothing is said; None where it must be said.
    default: str | None


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What goes into the audit log."""

    kept: timedelta = HISTORY
    reads: bool = False
    #: Addresses of gateways on other machines.
    gateways: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who is let in."""

    #: Whether anybody is.
    is_open: bool = False
    key_path: Path = Path(STACK_KEY)
    #: Of the installation, for policies and what is said of them.
    account: str = "123456789012"
    region: str = "us-east-1"
    #: How fast one key may call one service.
    reads: Pace = FREELY
    writes: Pace = FREELY

    @property
    def arns(self) -> Arns:
        """ARNs of the installation."""
        return Arns(self.account, self.region)

    def key(self) -> StackKey | None:
        """The stack's key; None where anybody is let in.

        Raises:
            PreconditionFailed: it cannot be read.
        """
        if self.is_open:
            return None
        return StackKey.read(self.key_path)


_record: ContextVar[dict[str, Setting] | None] = ContextVar("_record", default=None)


@contextmanager
def recording() -> Iterator[dict[str, Setting]]:
    """Collects, by name and in order, the variables that are read meanwhile: the reference does."""
    found: dict[str, Setting] = {}
    token = _record.set(found)
    try:
        yield found
    finally:
        _record.reset(token)


def _note(name: str, takes: str, default: str | None) -> None:
    found = _record.get()
    if found is not None:
        # What is read as a number is read as a text on the way: the first word is the exact one.
        found.setdefault(name, Setting(takes, default))


class Settings:
    """Reads `LONGSHORE_*` from a mapping, by default values and within bounds."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str | None = None) -> str:
        """The variable's text; without a default it must be there."""
        _note(name, "text", default)
        value = self._environ.get(name) or default
        if value is None:
            raise ConfigError(f"{name} is not set; set it in the environment.")
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """One of a few words."""
        _note(name, ", ".join(choices), default)
        value = self.text(name, default)
        if value not in choices:
            raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
        return value

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """A whole number within bounds, both included."""
        _note(name, f"{minimum:,} to {maximum:,}", str(default))
        text = self.text(name, str(default))
        try:
            value = int(text)
        except ValueError:
            raise ConfigError(f"{name} is {text!r}; it must be a whole number.") from None
        if not minimum <= value <= maximum:
            raise ConfigError(f"{name} is {value}; it must be from {minimum} to {maximum}.")
        return value

    def seconds(self, name: str, default: float, minimum: float, maximum: float) -> float:
        """A time in seconds within bounds, both included."""
        _note(name, f"seconds, {minimum:,g} to {maximum:,g}", f"{default:g}")
        text = self.text(name, str(default))
        try:
            value = float(text)
        except ValueError:
            raise ConfigError(f"{name} is {text!r}; it must be a number of seconds.") from None
        if not minimum <= value <= maximum:
            raise ConfigError(f"{name} is {value}; it must be from {minimum} to {maximum}.")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """`true` or `false` (also 1 and 0)."""
        _note(name, "true, false", "true" if default else "false")
        text = self.text(name, "true" if default else "false").lower()
        if text not in ("true", "false", "1", "0"):
            raise ConfigError(f"{name} is {text!r}; it must be true or false.")
        return text in ("true", "1")

    def hosts(self, name: str) -> tuple[str, ...]:
        """Names and addresses without ports, separated by commas; none by default."""
        _note(name, "names, with commas between", "")
        texts = [text.strip() for text in self._environ.get(name, "").split(",")]
        found = tuple(text.strip("[]") for text in texts if text)
        for text in found:
            if _HOST.fullmatch(text) is None:
                raise ConfigError(
                    f"{name} has {text!r}; it must be names or addresses without ports, separated "
                    "by commas."
                )
        return found

    def path(self, name: str, default: Path | None = None) -> Path:
        """A path, `~` expanded, made absolute."""
        _note(name, "path", None if default is None else str(default))
        text = self.text(name, None if default is None else str(default))
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError:
            raise ConfigError(f"{name} is {text!r}; there is no such user's home.") from None

    def directory(self, name: str, default: Path | None = None) -> Path:
        """The path of a directory, which need not be there yet."""
        found = self.path(name, default)
        if found.exists() and not found.is_dir():
            raise ConfigError(f"{name} is {str(found)!r}; it must be a directory.")
        return found

    def history(self) -> timedelta:
        """How long what is over is kept: LONGSHORE_HISTORY_DAYS, a week at least."""
        return timedelta(days=self.integer("LONGSHORE_HISTORY_DAYS", HISTORY.days, 7, 36_500))

    def audit(self) -> AuditSettings:
        """What goes into the audit log: LONGSHORE_AUDIT_*."""
        return AuditSettings(
            kept=timedelta(days=self.integer("LONGSHORE_AUDIT_DAYS", HISTORY.days, 1, 36_500)),
            reads=self.flag("LONGSHORE_AUDIT_READS", default=False),
            gateways=self._addresses("LONGSHORE_AUDIT_GATEWAYS"),
        )

    def access(self) -> AccessSettings:
        """Who is let in: LONGSHORE_STACK_KEY_FILE, LONGSHORE_OPEN."""
        path = self.path("LONGSHORE_STACK_KEY_FILE", self.tls_directory() / STACK_KEY)
        reads = self.integer("LONGSHORE_READS_PER_SECOND", 20_000, 1, 1_000_000)
        writes = self.integer("LONGSHORE_WRITES_PER_SECOND", 20_000, 1, 1_000_000)
        return AccessSettings(
            self.flag("LONGSHORE_OPEN", default=False),
            path,
            *installation(self),
            reads=Pace(reads, BURST_SECONDS * reads),
            writes=Pace(writes, BURST_SECONDS * writes),
        )

    def _addresses(self, name: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        _note(name, "addresses, with commas between", "")
        texts = [text.strip() for text in self._environ.get(name, "").split(",")]
        try:
            return tuple(ipaddress.ip_network(text.strip("[]")) for text in texts if text)
        except ValueError as error:
            raise ConfigError(
                f"{name} must be addresses or networks, as 10.0.0.0/24, separated by commas: "
                f"{error}."
            ) from None

    def port_base(self) -> int:
        """Where the ports of all services begin."""
        return self.integer("LONGSHORE_PORT_BASE", DEFAULT_PORT_BASE, 1024, 65_000)

    def address(self, service: str) -> str:
        """`host:port` of a service: LONGSHORE_<SERVICE>_ADDRESS, else host and port base."""
        name = f"LONGSHORE_{service.upper()}_ADDRESS"
        host = self.text("LONGSHORE_HOST", "127.0.0.1")
        return self.host_port(name, f"{host}:{self.port_base() + PORT_OFFSETS[service]}")

    def peer_address(self, service: str) -> str:
        """`host:port` of a service for services and agents: LONGSHORE_<SERVICE>_PEER_ADDRESS.

        Else 40 above its port for users; any free port where it takes any.
        """
        host, _, text = self.address(service).rpartition(":")
        port = int(text)
        default = f"{host}:{port + PEER_OFFSET if port else 0}"
        return self.host_port(f"LONGSHORE_{service.upper()}_PEER_ADDRESS", default)

    def join_address(self) -> str:
        """`host:port` at which machines join: LONGSHORE_JOIN_ADDRESS, 6 above the port base."""
        host = self.text("LONGSHORE_HOST", "127.0.0.1")
        default = f"{host}:{self.port_base() + JOIN_OFFSET}"
        return self.host_port("LONGSHORE_JOIN_ADDRESS", default)

    def tls_directory(self) -> Path:
        """The folder with the stack's authority and certificates: LONGSHORE_TLS_DIR."""
        data_dir = self.directory("LONGSHORE_DATA_DIR", Path("~/.longshore"))
        return self.directory("LONGSHORE_TLS_DIR", data_dir / "tls")

    def identity(self, service: str) -> Identity:
        """Where the key and certificates of a service are."""
        return service_identity(self.tls_directory(), service)

    def tls_names(self) -> tuple[str, ...]:
        """Names and addresses by which users reach services.

        LONGSHORE_TLS_NAMES, and what is known without being told.
        """
        host = self.text("LONGSHORE_HOST", "127.0.0.1").strip("[]")
        found = ["localhost", "127.0.0.1", "::1", *self.hosts("LONGSHORE_TLS_NAMES")]
        return tuple(found if host in ("0.0.0.0", "::") else [*found, host])  # noqa: S104 - told apart

    def check_open(self, service: str) -> None:
        """Checks that who is open to everybody is so on this machine alone.

        Raises:
            ConfigError: others would reach it.
        """
        if self.flag("LONGSHORE_OPEN", default=False) and not is_loopback(self.address(service)):
            raise ConfigError(
                f"{service} would listen on {self.address(service)}, and LONGSHORE_OPEN lets "
                "anybody in: keep to 127.0.0.1, or leave it out."
            )

    def user_identity(self, service: str) -> Identity | None:
        """What users see of a service who come by TLS; None: they come by plaintext, on loopback.

        Raises:
            ConfigError: one of LONGSHORE_TLS_CERTIFICATE and LONGSHORE_TLS_KEY is set alone.
        """
        self.check_open(service)
        own = self.identity(service)
        certificate = self.text("LONGSHORE_TLS_CERTIFICATE", "")
        key = self.text("LONGSHORE_TLS_KEY", "")
        if bool(certificate) is not bool(key):
            raise ConfigError(
                "LONGSHORE_TLS_CERTIFICATE and LONGSHORE_TLS_KEY belong together; set both."
            )
        if is_loopback(self.address(service)):
            return None
        if not certificate:
            return own
        given = self.path("LONGSHORE_TLS_CERTIFICATE")
        return Identity(given, own.trusted, self.path("LONGSHORE_TLS_KEY"))

    def doors(self, service: str) -> Doors:
        """How a service is reached beside its address for users."""
        return Doors(
            self.identity(service), self.peer_address(service), self.user_identity(service)
        )

    def metrics_address(self, service: str) -> str:
        """`host:port` of a service's metrics.

        LONGSHORE_<SERVICE>_METRICS_ADDRESS, else 20 above it; any free port where the service
        takes any.
        """
        address = self.address(service)
        host, _, text = address.rpartition(":")
        port = int(text)
        # They ask nobody who he is: others reach them only where that is said.
        host = host if is_loopback(address) else "127.0.0.1"
        default = f"{host}:{port + METRICS_OFFSET if port else 0}"
        return self.host_port(f"LONGSHORE_{service.upper()}_METRICS_ADDRESS", default)

    def host_port(self, name: str, default: str) -> str:
        """`host:port`; empty only where that is the default."""
        _note(name, "HOST:PORT", default)
        value = self.text(name, default)
        match = _HOST_PORT.fullmatch(value)
        if not value and not default:
            return ""
        if match is None or int(match.group(1)) > _PORT_MAX:
            raise ConfigError(f"{name} is {value!r}; it must be HOST:PORT.")
        return value

    def database_url(self) -> str:
        """The PostgreSQL that holds all truth."""
        return self.text("LONGSHORE_DATABASE_URL")


def is_loopback(address: str) -> bool:
    """Whether nobody but this machine reaches `host:port`."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def installation(settings: Settings) -> tuple[str, str]:
    """Account and region that stand in ARNs: LONGSHORE_ACCOUNT, LONGSHORE_REGION.

    Raises:
        ConfigError: one has another form.
    """
    account = settings.text("LONGSHORE_ACCOUNT", "123456789012")
    if ACCOUNT.fullmatch(account) is None:
        raise ConfigError(f"LONGSHORE_ACCOUNT is {account!r}; it must have 12 digits.")
    region = settings.text("LONGSHORE_REGION", "us-east-1")
    if REGION.fullmatch(region) is None:
        raise ConfigError(f"LONGSHORE_REGION is {region!r}; it must look like us-east-1.")
    return account, region
