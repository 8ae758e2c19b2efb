"""STS for tests: moto's server over real HTTP, and one that refuses as AWS does."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer

ROLE = "arn:aws:iam::123456789012:role/job"
REFUSAL = (
    "User: arn:aws:iam::123456789012:user/agent is not authorized to perform: sts:AssumeRole on "
    f"resource: {ROLE}"
)
_REFUSED = f"""\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>AccessDenied</Code><Message>{REFUSAL}</Message></Error>
  <RequestId>6d6f2b32-0000-4000-8000-000000000001</RequestId>
</ErrorResponse>
"""


@contextmanager
def serving_moto() -> Iterator[str]:
    """The server of moto; yields its address."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow to load, and for few workers

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@asynccontextmanager
async def refusing_sts() -> AsyncIterator[str]:
    """An STS that lets nobody assume anything; yields its address."""

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=403, text=_REFUSED, content_type="text/xml")

    application = web.Application()
    application.router.add_post("/", refuse)
    server = TestServer(application)
    await server.start_server()
    try:
        yield str(server.make_url("/"))
    finally:
        await server.close()


def agent_settings(url: str) -> dict[str, str]:
    """What an agent is told so that it assumes roles there."""
    return {
        "LONGSHORE_JOB_ROLES": "sts",
        "LONGSHORE_STS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "agent",
        "AWS_SECRET_ACCESS_KEY": "agent",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
