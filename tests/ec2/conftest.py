"""moto's server, the proxy before it, and a provider that talks to it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from ec2.stand import STACK, Stand, a_token
from support.ec2 import FaultProxy
from support.patience import PATIENCE_SECONDS

from longshore.provisioning.ec2.api import Api, open_api
from longshore.provisioning.ec2.config import Ec2Config
from longshore.provisioning.ec2.provider import open_ec2_provider
from longshore.runtime import aws


@pytest.hookimpl(tryfirst=True)  # xdist's own reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of moto's server are one worker's: it takes long to load and to start."""
    for item in items:
        if "moto_url" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("moto"))


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow to load, and for few workers

    with pytest.MonkeyPatch.context() as patch:
        # Hundreds of images, made anew for each test; who looks at one makes it.
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(aws, "PAUSE_FIRST_SECONDS", 0.001)


@pytest.fixture
async def proxy(moto_url: str) -> AsyncIterator[FaultProxy]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{moto_url}/moto-api/reset") as answer,
    ):
        answer.raise_for_status()
    proxy = FaultProxy(moto_url)
    runner = await proxy.start()
    yield proxy
    await runner.cleanup()


@pytest.fixture
def config(proxy: FaultProxy) -> Ec2Config:
    return Ec2Config(
        region="us-east-1",
        endpoint_url=proxy.url,
        scheduler_address="10.0.0.1:7071",
        logs_address="10.0.0.1:7074",
        join_address="10.0.0.1:7076",
        package="longshore[server]==0.1.0",
        call_seconds=PATIENCE_SECONDS,
    )


@pytest.fixture
async def ec2(config: Ec2Config) -> AsyncIterator[Api]:
    async with open_api("ec2", config) as client:
        yield client


@pytest.fixture
async def stand(proxy: FaultProxy, config: Ec2Config, ec2: Api) -> AsyncIterator[Stand]:
    answer = await ec2.call("describe_subnets")
    subnets = {item["AvailabilityZone"]: item["SubnetId"] for item in answer["Subnets"]}
    proxy.zones = {subnet: zone for zone, subnet in subnets.items()}
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(open_ec2_provider(config, STACK, a_token))
        yield Stand(provider, proxy, ec2, config, subnets, stack)
