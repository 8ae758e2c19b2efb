"""The submission service and the gateway before it, called by both of their wires.

Both run on a loop that goes on only while a call is made, over a database that can be looked at
whole and put back: between two calls nothing happens that the test has not asked for.
"""

import asyncio
import contextlib
import json
import logging
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import boto3
import botocore
import grpc
import structlog
from botocore.config import Config
from google.protobuf import message_factory
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from support.contract import SERVICE
from support.patience import PATIENCE_SECONDS
from support.submission import Stand, submission_stand

from longshore.gateway.behind import SERVICES
from longshore.gateway.config import GatewayConfig
from longshore.gateway.server import serve
from longshore.rpc.errors import from_rpc_error

Json = dict[str, Any]
T = TypeVar("T")
REQUESTS = {m.name: message_factory.GetMessageClass(m.input_type) for m in SERVICE.methods}
ANSWERS = {m.name: message_factory.GetMessageClass(m.output_type) for m in SERVICE.methods}


@dataclass(frozen=True)
class Answer:
    """How a call ended, whichever way it went."""

    #: HTTP's status, or gRPC's code.
    code: str
    #: AWS's name of the error; '' of a success.
    error: str
    #: What was said, or the answer as JSON.
    message: str
    #: What gRPC names as wrong.
    member: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the call did what it asks for."""
        return not self.error


class Complaints(logging.Handler):
    """All that was logged as an error since it was last asked."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line of a library."""
        self._found.append(record.getMessage())

    def note(self, _logger: Any, method: str, event: Json) -> Json:
        """Keeps a line of longshore, as one of structlog's processors."""
        if method in ("error", "exception", "critical"):
            self._found.append(repr(event))
        raise structlog.DropEvent

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Listens to all loggers."""
        # In place, as loggers that were used before may hold the list.
        processors = structlog.get_config()["processors"]
        before = list(processors)
        processors[:] = [structlog.processors.format_exc_info, self.note]
        logging.getLogger().addHandler(self)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(self)
            processors[:] = before

    def taken(self) -> list[str]:
        """What there was."""
        found, self._found = self._found, []
        return found


class Wire:
    """A client of both wires, and the database behind them."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, stand: Stand, target: str, url: str
    ) -> None:
        self._loop = loop
        self.stand = stand
        self.url = url
        self._channel = grpc.insecure_channel(target)
        self.complaints = Complaints()
        self._boto = boto3.client(
            "batch",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="anyone",
            aws_secret_access_key="anything",  # noqa: S106 - any credentials will do
            # Whether a request can be is the services' to say.
            config=Config(
                retries={"total_max_attempts": 1},
                read_timeout=PATIENCE_SECONDS,
                parameter_validation=False,
            ),
        )

    def run(self, awaited: Awaitable[T]) -> T:
        """The result of something that is awaited on the services' loop."""
        return self._loop.run_until_complete(asyncio.wait_for(awaited, PATIENCE_SECONDS))

    def aws(self, operation: str, /, **members: Any) -> Json:
        """A call by boto3."""
        method = getattr(self._boto, botocore.xform_name(operation))
        return dict(self.run(asyncio.to_thread(method, **members)))

    def call(self, operation: str, /, **members: Any) -> Json:
        """A call that does what it asks for; see `Stand`."""
        return self.run(self.stand(operation, **members))

    def http(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Any request to the gateway."""
        return self.run(asyncio.to_thread(self._http, method, path, body))

    def _http(self, method: str, path: str, body: bytes | None) -> Answer:
        request = urllib.request.Request(self.url + path, body, method=method)  # noqa: S310 - ours
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310 - ours
                return Answer(str(answer.status), "", answer.read().decode())
        except urllib.error.HTTPError as refused:
            with refused:
                said = refused.read().decode()
                if refused.headers.get_content_type() != "application/json":
                    return Answer(str(refused.code), "not in AWS's form", said)
                fault = json.loads(said)
                return Answer(str(refused.code), fault["__type"], fault["message"])

    def post(self, operation: str, body: bytes | Json) -> Answer:
        """A call of an operation whose members are all in the body."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http("POST", f"/v1/{operation.lower()}", data)

    def rpc(self, operation: str, request: bytes | Message | Json) -> Answer:
        """A call of an rpc, with whatever bytes."""
        if isinstance(request, dict):
            request = ParseDict(request, REQUESTS[operation]())
        data = request if isinstance(request, bytes) else request.SerializeToString()
        return self.run(asyncio.to_thread(self._rpc, operation, data))

    def _rpc(self, operation: str, data: bytes) -> Answer:
        path = f"/{SERVICE.full_name}/{operation}"
        try:
            answer = self._channel.unary_unary(path)(data, timeout=PATIENCE_SECONDS)
        except grpc.RpcError as failed:
            # What is raised is the call itself.
            call: Any = failed
            error = from_rpc_error(call)
            return Answer(
                call.code().name,
                type(error).__name__,
                error.message,
                str(error.fields.get("member", "")),
            )
        return Answer("OK", "", str(ANSWERS[operation].FromString(answer)))

    def close(self) -> None:
        """Leaves both."""
        self._boto.close()
        self._channel.close()


class Tables:
    """A database's whole content: remembered, compared, put back."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._names = wire.run(_remember(wire.stand.conn))
        self._digest = " UNION ALL ".join(
            f"SELECT '{name}', md5(string_agg(t::text, ';' ORDER BY t::text)) FROM public.{name} t"  # noqa: S608 - the schema's own names
            for name in self._names
        )
        self._before = wire.run(self._read())

    def changed(self) -> set[str]:
        """Tables whose content is not what is remembered."""
        return self._wire.run(self._changed())

    def put_back(self) -> None:
        """Makes all as it is remembered."""
        self._wire.run(self._put_back())

    async def _read(self) -> dict[str, str]:
        return {row[0]: row[1] for row in await self._wire.stand.conn.fetch(self._digest)}

    async def _changed(self) -> set[str]:
        now = await self._read()
        return {name for name in self._names if now[name] != self._before[name]}

    async def _put_back(self) -> None:
        conn = self._wire.stand.conn
        async with conn.transaction():
            # Neither foreign keys nor triggers: the whole is consistent again at the end.
            await conn.execute("SET LOCAL session_replication_role = replica")
            # The service knows shapes by heart, so those that were added stay.
            for name in await self._changed() - {"shapes"}:
                await conn.execute(f"DELETE FROM public.{name}")  # noqa: S608 - the schema's own
                await conn.execute(
                    f"INSERT INTO public.{name} OVERRIDING SYSTEM VALUE "  # noqa: S608 - the schema's own
                    f"SELECT * FROM remembered.{name}"
                )
        self._before = await self._read()


async def _remember(conn: asyncpg.Connection) -> list[str]:
    rows = await conn.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        # What is written beside calls may come when it is not looked for.
        " AND relname NOT LIKE 'audit\\_%'"
    )
    names = [row["relname"] for row in rows]
    await conn.execute("CREATE SCHEMA remembered")
    for name in names:
        await conn.execute(f"CREATE TABLE remembered.{name} AS TABLE public.{name}")
    return names


@contextlib.contextmanager
def running_wire(database_url: str) -> Iterator[Wire]:
    """Both services on free ports."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        ready: asyncio.Future[Wire] = loop.create_future()
        over = asyncio.Event()
        services = loop.create_task(_serve(database_url, ready, over))
        loop.run_until_complete(
            asyncio.wait({ready, services}, return_when=asyncio.FIRST_COMPLETED)
        )
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: loop.run_until_complete(services))
            stack.callback(over.set)
            wire = ready.result()
            stack.callback(wire.close)
            stack.enter_context(wire.complaints.heard())
            yield wire


async def _serve(database_url: str, ready: asyncio.Future[Wire], over: asyncio.Event) -> None:
    async with submission_stand(database_url) as stand, _gateway(stand) as url:
        ready.set_result(Wire(asyncio.get_running_loop(), stand, stand.target, url))
        await over.wait()


@contextlib.asynccontextmanager
async def _gateway(stand: Stand) -> AsyncIterator[str]:
    stop = asyncio.Event()
    ready = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(
        serve(GatewayConfig("127.0.0.1:0", dict.fromkeys(SERVICES, stand.target)), stop, ready)
    )
    await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield f"http://127.0.0.1:{ready.result()}"
    finally:
        stop.set()
        await serving


def an_id(number: int) -> str:
    """The id of a job that the test made itself."""
    return str(uuid.UUID(int=number))
