"""Starts provisioning: `python -m longshore.provisioning`."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from longshore.admission.stored import admitting
from longshore.identity.doors import Doors
from longshore.identity.keeping import Certificates
from longshore.provisioning.config import ProvisioningConfig
from longshore.provisioning.instances.history import InstanceHistory
from longshore.provisioning.instances.loop import Reconciler
from longshore.provisioning.instances.reporting import InstanceReports
from longshore.provisioning.join_servicer import JOIN, TOKENS, JoinServicer, JoinTokenServicer
from longshore.provisioning.joining import Joining
from longshore.provisioning.local.provider import LocalProvider
from longshore.provisioning.orders.fulfilling import Fulfilling
from longshore.provisioning.orders.quoting import Quotes
from longshore.provisioning.provider import Provider
from longshore.provisioning.service import Provisioning
from longshore.provisioning.servicer import ProvisioningServicer
from longshore.rpc.server import GrpcServer
from longshore.runtime.config import ConfigError, is_loopback
from longshore.runtime.host import host_architecture
from longshore.runtime.loop import Loop
from longshore.runtime.machine import boot_identity, machine_identity
from longshore.runtime.metrics import serve_metrics
from longshore.runtime.process import run_until_stopped
from longshore.state import lease
from longshore.state import stack as stack_table
from longshore.state.leadership import Leadership
from longshore.state.listen import DEMAND, ENVIRONMENTS, Listener
from longshore.state.pool import Pool, connection, open_pool
from longshore.state.provisioning import instance
from longshore.v1 import join_service_pb2_grpc as join_grpc
from longshore.v1 import provisioning_service_pb2_grpc as pb_grpc

SERVICE = "longshore.v1.ProvisioningService"
#: Notifications that come so close together fold into one look for notices.
GATHER_SECONDS = 0.1
#: How often what was over long ago is looked for.
HISTORY_SECONDS = 60.0


async def serve(stop: asyncio.Event, config: ProvisioningConfig) -> None:
    """Serves until the event is set; serving means that records and provider were compared once.

    SIGTERM, which sets the event, leaves instances to the next provisioning, unless it is set that
    they end too. SIGUSR1 ends them and the service.
    """
    ends_instances = config.stop_instances

    def end_instances() -> None:
        nonlocal ends_instances
        ends_instances = True
        stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, end_instances)
    async with AsyncExitStack() as stack:
        stack.enter_context(serve_metrics(config.metrics_address))
        pool = await open_pool(config.database_url, maximum=6)
        stack.push_async_callback(pool.close)
        await _check_provider(pool, config.provider)

        def on_exit() -> None:
            reconciler.process_ended()

        def wake_after(seconds: float) -> None:
            asyncio.get_running_loop().call_later(seconds, instances.wake)

        joining = Joining(pool, config.tls_directory) if config.tls_directory else None
        provider = await _open_provider(stack, config, pool, joining, on_exit)
        machine = "" if config.provider != "local" else machine_identity(config.instances_dir)
        leadership = Leadership(
            pool, lease.PROVISIONING, _holder(config, machine), lease.SERVICE_SECONDS
        )
        reconciler = Reconciler(
            pool,
            provider,
            leadership=leadership,
            machine=machine,
            grace=config.grace,
            wake_after=wake_after,
        )

        async def tick() -> None:
            await server.set_serving(await reconciler.tick())

        instances = Loop("provisioning", tick, config.interval_seconds)
        provisioning = Provisioning(
            pool,
            leadership=leadership,
            fulfilling=Fulfilling(leadership, provider, config.catalogue, machine),
            provider_name=provider.name,
            wake=instances.wake,
        )
        quotes = Quotes(pool, leadership, provider, config.catalogue, config.quote_interval)
        interval = config.interval_seconds
        orders = Loop("provisioning.orders", provisioning.resume, interval)
        notices = Loop(
            "provisioning.notices", provisioning.take_notices, interval, gather=GATHER_SECONDS
        )
        history = InstanceHistory(leadership, config.history)
        forgetting = Loop("provisioning.history", history.tick, HISTORY_SECONDS)
        offers = Loop("provisioning.offers", quotes.tick, config.quote_interval.total_seconds())
        listener = Listener(config.database_url, {DEMAND: notices.wake, ENVIRONMENTS: offers.wake})
        users = await stack.enter_async_context(
            admitting(config.access.key(), config.access, pool, config.database_url)
        )
        server = GrpcServer(config.address, doors=config.doors, users=users)
        server.add(
            pb_grpc.add_ProvisioningServiceServicer_to_server,
            ProvisioningServicer(provisioning, InstanceReports(pool)),
            SERVICE,
        )
        if joining is not None:
            server.add(
                join_grpc.add_JoinTokenServiceServicer_to_server,
                JoinTokenServicer(joining, int(config.join_address.rpartition(":")[2])),
                TOKENS,
            )
            await stack.enter_async_context(_join_server(config, joining))
            keeping = asyncio.ensure_future(_keep_certificates(config))
            stack.callback(keeping.cancel)
        async with server, asyncio.TaskGroup() as group:
            # A pass over instances is finished; what is cut short of these is taken up again.
            others = [
                group.create_task(run())
                for run in (listener.run, orders.run, notices.run, offers.run, forgetting.run)
            ]
            group.create_task(instances.run())
            await stop.wait()
            for task in others:
                task.cancel()
            instances.stop()
        if ends_instances:
            await reconciler.stop_all()
        await leadership.release()


def _join_server(config: ProvisioningConfig, joining: Joining) -> GrpcServer:
    """Serves machines that have no certificate yet, and nobody else."""
    assert config.doors is not None  # noqa: S101 - settings have both or none
    identity = config.doors.identity
    scheduler, logs = config.told_scheduler_address, config.told_logs_address
    if config.ec2 is not None:
        scheduler, logs = config.ec2.scheduler_address, config.ec2.logs_address
    server = GrpcServer(config.join_address, doors=Doors(identity, "", identity))
    server.add(
        join_grpc.add_JoinServiceServicer_to_server,
        JoinServicer(joining, _told(scheduler), _told(logs)),
        JOIN,
    )
    return server


async def _keep_certificates(config: ProvisioningConfig) -> None:
    """Renews the certificates of all services in time, until cancelled."""
    assert config.tls_directory is not None  # noqa: S101 - seen before
    await Certificates(config.tls_directory, config.tls_names).run()


def _told(address: str) -> str:
    """An address as machines are told it: one that is of this machine alone without its host."""
    host, _, port = address.rpartition(":")
    is_here = is_loopback(address) or host.strip("[]") in ("0.0.0.0", "::")  # noqa: S104 - told apart
    return f":{port}" if is_here else address


async def _check_provider(pool: Pool, provider: str) -> None:
    """Instances of another provider would never end: nobody would ask it."""
    async with connection(pool) as conn:
        others = await instance.other_providers(conn, provider)
    if others:
        raise ConfigError(
            f"LONGSHORE_PROVIDER is {provider!r}, but instances of {others[0]!r} are live: set it "
            f"to {others[0]!r} until they have ended."
        )


async def _open_provider(
    stack: AsyncExitStack,
    config: ProvisioningConfig,
    pool: Pool,
    joining: Joining | None,
    on_exit: Callable[[], None],
) -> Provider:
    """The provider that is set; the stack closes it."""
    if config.ec2 is not None:
        # Here alone: the local provider needs nothing of AWS's library, which is large.
        from longshore.provisioning.ec2.provider import open_ec2_provider  # noqa: PLC0415

        async with connection(pool) as conn:
            name = str(await stack_table.stack_id(conn))
        assert joining is not None  # noqa: S101 - settings have it
        return await stack.enter_async_context(
            open_ec2_provider(config.ec2, name, joining.provide_for)
        )
    local = LocalProvider(
        config.instances_dir,
        config.catalogue,
        architecture=host_architecture(),
        environment={
            "LONGSHORE_SCHEDULER_PEER_ADDRESS": config.scheduler_address,
            "LONGSHORE_LOGS_PEER_ADDRESS": config.logs_address,
            "LONGSHORE_JOIN": config.join_address,
            "LONGSHORE_RUNTIME": config.runtime,
        },
        instances_limit=config.instances_limit,
        on_exit=on_exit,
        new_token=joining.provide if joining is not None else None,
        agent_command=config.agent_command,
        cleanup_command=config.cleanup_command,
    )
    stack.callback(local.close)
    return local


def _holder(config: ProvisioningConfig, machine: str) -> str:
    """Names this machine's provisioning: the one that comes after takes the lease back at once.

    Only while the machine runs on: a copy of it, with all its files, is another one.
    """
    if machine:
        return f"local:{machine}:{boot_identity()}:{config.instances_dir}"
    return f"{config.provider}:{socket.gethostname()}:{boot_identity()}:{config.address}"


async def _main(stop: asyncio.Event) -> None:
    await serve(stop, ProvisioningConfig.from_environment())


if __name__ == "__main__":
    sys.exit(run_until_stopped("provisioning", _main))
