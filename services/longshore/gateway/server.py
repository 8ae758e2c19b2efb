"""The gateway's listener: opens, serves until told to stop, drains, closes."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from longshore.admission.asked import Asking, keeping
from longshore.domain.errors import Unavailable
from longshore.gateway import fault
from longshore.gateway.authentication import Authentication
from longshore.gateway.config import GatewayConfig
from longshore.gateway.fault import Fault
from longshore.gateway.handler import Gateway, refusal
from longshore.gateway.recording import Recording
from longshore.gateway.tls import UserTls
from longshore.rpc.assertion import Assertions
from longshore.rpc.channel import peer_channel
from longshore.rpc.remote_audit import RemoteAudit
from longshore.runtime.recorder import Recorder
from longshore.runtime.stack_key import StackKey

log = structlog.get_logger()

#: Time in which the rest of a refused body is still read, so that its sender sees the answer.
LINGER_SECONDS = 5.0
#: Longest first line of a request: UntagResource has its keys there, 50 of 128 characters, and each
#: character may take twelve bytes.
LINE_BYTES = 128 * 1024


async def serve(
    config: GatewayConfig,
    stop: asyncio.Event,
    ready: asyncio.Future[int] | None = None,
    key: StackKey | None = None,
) -> None:
    """Serves until `stop` is set, then lets requests in hand end within the grace period.

    Args:
        config: the settings.
        stop: asks to end.
        ready: told the port once connections are taken.
        key: of the stack; None: anybody may call.

    Raises:
        Unavailable: the address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        channels = {
            name: await stack.enter_async_context(peer_channel(address, name, config.identity))
            for name, address in config.addresses.items()
        }
        recorder = Recorder(RemoteAudit(channels["submission"]).write)
        recording = Recording(recorder, config.account, config.region)
        await stack.enter_async_context(recorder.running())
        authentication = None
        if key is not None:
            asking = Asking(channels["submission"])
            authentication = Authentication(asking, Assertions(key.assertions))
            await stack.enter_async_context(keeping(asking, authentication.forget))
        runner = web.AppRunner(
            Gateway(config, channels, recording, authentication).application(),
            shutdown_timeout=config.grace_seconds,
        )
        await runner.setup()
        listener: asyncio.Server | None = None

        def protocol() -> _Protocol:
            return _Protocol(
                cast("web.Server", runner.server),
                note=recording.malformed,
                loop=loop,
                access_log=None,
                lingering_time=min(LINGER_SECONDS, config.timeout_seconds),
                max_line_size=LINE_BYTES,
                # A small body may come out a thousand times as large, and all wait meanwhile.
                auto_decompress=False,
            )

        try:
            try:
                tls = None if config.users is None else UserTls(config.users)
                listener = await loop.create_server(
                    protocol, config.host, config.port, ssl=tls.context if tls else None
                )
            except OSError as error:
                raise Unavailable(f"Cannot listen on {config.address}: {error.strerror}") from None
            port: int = listener.sockets[0].getsockname()[1]
            if key is None:
                log.warning("gateway.open", address=config.address)
            if tls is not None:
                renewing = asyncio.ensure_future(tls.run())
                stack.callback(renewing.cancel)
            log.info("gateway.listening", address=f"{config.host}:{port}")
            if ready is not None:
                ready.set_result(port)
            await stop.wait()
        finally:
            if listener is not None:
                listener.close()
            await runner.cleanup()


class _Protocol(web.RequestHandler):
    """One connection. What is no request at all is answered in AWS's form too.

    aiohttp answers it with what it has read, and logs it as an error of the service's.
    """

    def __init__(self, *args: Any, note: Callable[[str, Fault, str], None], **options: Any) -> None:
        """Makes one; `note` is told the address, the answer and the request's id."""
        super().__init__(*args, **options)
        self._note = note

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 - aiohttp's own
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what could not be read."""
        request_id = str(uuid.uuid4())
        log.info("http.malformed", error=type(exc).__name__, request_id=request_id)
        if request.writer.output_size > 0:
            raise ConnectionError(message)
        answer = fault.malformed(LINE_BYTES if isinstance(exc, LineTooLong) else None)
        self._note(request.remote or "", answer, request_id)
        response = refusal(answer)
        response.headers["x-amzn-RequestId"] = request_id
        response.force_close()
        return response
