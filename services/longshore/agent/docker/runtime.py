"""Runs attempts as containers."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from longshore.agent import machine, metrics
from longshore.agent.attempts.attempt import (
    NO_SECRETS,
    Attempt,
    AttemptKey,
    Exit,
    Phase,
    RuntimeAway,
    StepFailed,
    no_network,
    now,
)
from longshore.agent.config import AgentConfig
from longshore.agent.docker.container import (
    ATTEMPT_LABEL,
    CONTAINER_LABEL,
    GPUS_LABEL,
    INSTANCE_LABEL,
    JOB_LABEL,
    NEVER,
    Container,
    ContainerLimits,
    Surroundings,
    anchor_config,
    container_config,
    container_name,
    log_bounds,
    network_volumes,
    refused,
    shared_volumes,
    trial_config,
    volume_name,
)
from longshore.agent.docker.door import Door
from longshore.agent.docker.engine import (
    Engine,
    EngineAwayError,
    EngineError,
    EngineTimeoutError,
    EngineUnreachableError,
    filters,
)
from longshore.agent.docker.events import watch_events
from longshore.agent.docker.facts import facts_of
from longshore.agent.docker.image import Images
from longshore.agent.docker.login import Logins
from longshore.agent.docker.network import Network
from longshore.agent.docker.output import Output
from longshore.agent.docker.sandbox import IMAGE, SANDBOX_LABEL, SandboxError
from longshore.agent.endpoint.document import Facts
from longshore.agent.endpoint.endpoint import Endpoint
from longshore.agent.endpoint.server import NotFetched
from longshore.agent.gpu import IN_CONTAINER, GpuPool
from longshore.agent.logs import naming
from longshore.agent.logs.spool import Spool
from longshore.agent.runtime import Found, Joined
from longshore.agent.secret.reading import Secrets
from longshore.v1 import agent_service_pb2 as pb
from longshore.v1 import container_pb2, resources_pb2

log = structlog.get_logger()

CREATE_SECONDS = 240.0
START_SECONDS = 180.0
INSPECT_SECONDS = 30.0
REMOVE_SECONDS = 300.0
STOP_GRACE_SECONDS = 60.0
RETRY_SECONDS = 0.5
#: Times that a container is made again because the sandbox was gone or the image vanished.
LAUNCH_TRIES = 4
#: Exit code of a process that SIGKILL ended.
KILLED = 137
#: Time that word of a lack of memory may come after the end that it caused, on a busy machine as
#: well: without it a job that needs more memory is taken for one that somebody killed.
OOM_SECONDS = 5.0
#: How long the end of an attempt is not told for the sake of its log, which may be incomplete.
LOG_SECONDS = 5.0
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


@dataclass(slots=True)
class _Container:
    """A container of an attempt."""

    output: Output
    #: Done when the container's end, or its being gone, was seen.
    over: asyncio.Event = field(default_factory=asyncio.Event)
    #: Set when the engine said that the kernel killed for memory in it.
    out_of_memory: asyncio.Event = field(default_factory=asyncio.Event)
    started_at: datetime | None = None


class DockerRuntime:
    """Attempts as containers of an engine that others may use too: labels tell whose they are."""

    kind = resources_pb2.RUNTIME_DOCKER

    def __init__(
        self,
        config: AgentConfig,
        engine: Engine,
        spool: Spool,
        endpoint: Endpoint,
        secrets: Secrets,
    ) -> None:
        self._config = config
        self._engine = engine
        self._spool = spool
        self._secrets = secrets
        self._limits = ContainerLimits(
            pids=config.container_pids,
            log_file_mib=config.container_log_mib,
            log_files=config.container_log_files,
            spool_mib=config.spool_mib,
            file_systems=config.file_systems,
        )
        self._images = Images(engine, config.pull, config.pull_attempts, Logins(secrets))
        self._network = Network(engine, config)
        self._endpoint = endpoint
        self._door = Door(engine, self._network.sandbox, endpoint)
        endpoint.tell_of(self)
        self._containers: dict[str, _Container] = {}
        #: Where the engine keeps images and containers, once it was asked.
        self._root: Path | None = None
        self._gpus = GpuPool(config.gpu_ids, IN_CONTAINER)
        #: Of attempts of several containers, the one whose namespaces they share.
        self._anchors: dict[AttemptKey, asyncio.Task[str]] = {}

    async def answers(self) -> bool:
        """Whether the engine is there."""
        return await self._engine.answers()

    def joined(self) -> Joined:
        """The sandbox, or what else."""
        return self._network.joined()

    async def trial(self) -> None:
        """Starts and removes a container of our own, with the network and the GPUs of attempts."""
        instance_id = self._config.instance_id
        name = f"longshore-{instance_id}-trial"
        containers = self._engine.docker.containers
        await self._delete(name)
        try:
            await self._network.sandbox.make_image()
            config = trial_config(
                image=IMAGE,
                labels={SANDBOX_LABEL: instance_id, INSTANCE_LABEL: instance_id},
                network_mode=await self._network.mode(node=False),
                gpus=bool(self._config.gpu_ids),
            )
            created = await self._engine.call(containers.create(config, name=name), CREATE_SECONDS)
            await self._engine.call(created.start(), START_SECONDS)
        except SandboxError as error:
            # Without a program for this machine nothing can be said against it.
            log.warning("trial.impossible", error=str(error))
        except EngineError as error:
            raise StepFailed("CannotStartContainerError", _said(error)) from error
        except EngineAwayError as error:
            raise RuntimeAway(str(error)) from error
        except EngineTimeoutError as error:
            raise StepFailed("DockerTimeoutError", str(error)) from error
        finally:
            with contextlib.suppress(StepFailed, RuntimeAway):
                await self._delete(name)

    async def room(self) -> tuple[str, int] | None:
        """What is left in the data directory, or where the engine keeps its own, if we see that."""
        directories = [self._config.data_dir]
        if self._root is None:
            with contextlib.suppress(EngineError, EngineAwayError, EngineTimeoutError):
                info = await self._engine.call(self._engine.docker.system.info(), INSPECT_SECONDS)
                self._root = Path(info["DockerRootDir"])
        if self._root is not None:
            directories.append(self._root)
        return await machine.least_room(directories)

    async def find(self) -> dict[AttemptKey, Found]:
        """The containers with this instance's label."""
        found: dict[AttemptKey, Found] = {}
        try:
            there = [c for c in await self._list() if SANDBOX_LABEL not in c["Labels"]]
            shown = {c["Id"]: await self._show(c["Id"]) for c in there}
        except (EngineAwayError, EngineTimeoutError) as error:
            raise RuntimeAway(str(error)) from error
        for listed in there:
            labels = listed["Labels"]
            key = AttemptKey(
                labels[JOB_LABEL], int(labels[ATTEMPT_LABEL]), int(labels.get(CONTAINER_LABEL, 0))
            )
            container = shown[listed["Id"]]
            if container is not None:
                found[key] = Found(
                    listed["Id"],
                    _time(container["State"]["StartedAt"]),
                    await self._address(container) if "#" in key.job_id else "",
                )
            self._gpus.restore(key, filter(None, labels.get(GPUS_LABEL, "").split(",")))
        return found

    def adopt(self, attempt: Attempt) -> None:
        """Watches and reads a container that an earlier life of the agent made."""
        if not attempt.handle:
            return
        self._track(attempt)
        self._endpoint.take_up(attempt)
        if attempt.phase is Phase.RUNNING:
            self._containers[attempt.handle].output.follow_soon(0)

    def prepared(self, attempt: Attempt) -> bool:
        """Whether the image is known to be there, and no secret is to be read."""
        if attempt.is_node and self._config.node_network == "none":
            raise no_network("LONGSHORE_NODE_NETWORK (or else LONGSHORE_NETWORK) is none")
        image = attempt.assignment.container.image
        known = self._images.known(image)
        if known:
            attempt.image = pb.ImageStart(image=image)
        return known and self._endpoint.prepared(attempt) and self._secrets.ready(attempt)

    async def prepare(self, attempt: Attempt) -> None:
        """Assumes the role, reads secrets, and pulls the image as the pull behaviour says."""
        await self._endpoint.prepare(attempt)
        await self._secrets.fetch(attempt)
        attempt.image = await self._make_present(attempt.assignment.container)

    async def _make_present(self, container: Container) -> pb.ImageStart:
        return await self._images.make_present(
            container.image, container.repository_credentials.credentials_parameter
        )

    async def started(self, attempt: Attempt) -> datetime | None:
        """Whether a container runs whose start was not answered; a wrong guess would run it twice.

        One that is gone is forgotten.
        """
        try:
            shown = await self._show(attempt.handle)
        except (EngineError, EngineAwayError, EngineTimeoutError) as error:
            raise RuntimeAway(str(error)) from error
        if shown is None:
            self._forget_container(attempt)
            return None
        started_at = _time(shown["State"]["StartedAt"])
        if started_at is not None:
            self._containers[attempt.handle].output.follow_soon()
            if attempt.is_node:
                await self._find_address(attempt)
        return started_at

    async def launch(self, attempt: Attempt) -> datetime:
        """Creates and starts the container."""
        begun = time.perf_counter()
        try:
            started_at = await self._launch(attempt)
        except RuntimeAway:
            if not attempt.reached:
                self._gpus.release(attempt.key)
            raise
        if attempt.is_node:
            await self._find_address(attempt)
        metrics.LAUNCH_SECONDS.observe(time.perf_counter() - begun)
        return started_at

    async def wait(self, attempt: Attempt) -> Exit:
        """Waits for the container's end and reads how it came."""
        container = self._containers.get(attempt.handle)
        if container is None:
            raise StepFailed("DockerStateError", "The container is gone")
        await container.over.wait()
        shown = await self._show_patiently(attempt.handle)
        if shown is None:
            raise StepFailed("DockerStateError", "The container is gone")
        state = shown["State"]
        code = int(state["ExitCode"])
        out_of_memory = bool(state["OOMKilled"])
        if code == KILLED and not out_of_memory and not attempt.stopping:
            # The engine learns of the end and of its cause in either order.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OOM_SECONDS):
                    out_of_memory = await container.out_of_memory.wait()
        if container.output.followed:
            await container.output.finish_within(LOG_SECONDS)
        return Exit(
            code,
            _time(state["FinishedAt"]) or now(),
            OUT_OF_MEMORY if out_of_memory else None,
            container.output.lost,
        )

    async def stop(self, attempt: Attempt) -> None:
        """Has the engine send SIGTERM, wait, and send SIGKILL."""
        container = self._engine.docker.containers.container(attempt.handle)
        seconds = attempt.stop_seconds
        try:
            await self._engine.call(container.stop(t=round(seconds)), seconds + STOP_GRACE_SECONDS)
        except EngineError as error:
            if error.status not in (304, 404):
                raise StepFailed("CannotStopContainerError", error.message) from error
        except (EngineAwayError, EngineTimeoutError) as error:
            raise StepFailed("CannotStopContainerError", str(error)) from error

    async def collect(self, attempt: Attempt) -> None:
        """Reads the rest of the output and closes the log."""
        self._endpoint.shut_out(attempt)
        # The attempt is over for the scheduler, which may place the next one on its GPUs.
        self._gpus.release(attempt.key)
        container = self._containers.get(attempt.handle)
        name = naming.name_of(attempt.assignment)
        if container is not None and attempt.started_at is not None:
            await container.output.finish()
        elif not self._spool.finished(name):
            # Of what ran and left no container the end is not known.
            self._spool.finish(name, whole=attempt.started_at is None)

    async def remove(self, attempt: Attempt) -> None:
        """Removes the container and its volumes without a host path.

        Of several containers each has its turn, and last the whole with what they share.
        """
        # A creation that was not answered in time may have left a container under the name.
        name = container_name(self._config.instance_id, attempt.key)
        await self._delete(attempt.handle or name)
        self._containers.pop(attempt.handle, None)
        # What was collected before the agent's last start was found with its GPUs.
        if attempt.of is not None:
            self._gpus.release(attempt.key)
            return
        self._anchors.pop(attempt.key, None)
        for volume in shared_volumes(attempt.assignment):
            await self._delete_volume(volume)
        self._gpus.release(attempt.key)

    async def discard(self, key: AttemptKey, found: Found) -> None:
        """Removes a container of which nobody knows any more."""
        while True:
            try:
                await self._delete(found.handle)
            except (StepFailed, RuntimeAway) as error:
                log.warning("container.not_removed", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._gpus.release(key)
                return

    async def run(self, suspect: Callable[[], object]) -> None:
        """Keeps the sandbox and watches events until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._network.wants_sandbox:
                group.create_task(self._network.keep())
                group.create_task(self._open_door())
            group.create_task(
                watch_events(
                    self._engine, self._config.instance_id, self._seen, self._reconcile, suspect
                )
            )

    async def close(self, *, last: bool) -> None:
        """Stops reading; containers run on unless this was the end of the instance."""
        await self._door.close()
        for container in self._containers.values():
            await container.output.close()
        await self._images.close()
        await self._secrets.close()
        if last and self._network.may_have_sandbox:
            await self._network.sandbox.remove()
        await self._network.sandbox.settle()
        await self._engine.close()

    # Launch

    async def _launch(self, attempt: Attempt) -> datetime:
        gpu_ids = self._gpus.take(attempt.key, attempt.assignment.resources.gpus)
        for tries in range(1, LAUNCH_TRIES + 1):
            surroundings = await self._surroundings(attempt)
            if not attempt.handle:
                attempt.handle = await self._create(attempt, surroundings, gpu_ids)
                self._track(attempt)
            try:
                await self._engine.call(self._container(attempt).start(), START_SECONDS)
                break
            except EngineError as error:
                if tries < LAUNCH_TRIES and _company_gone(error, surroundings):
                    log.warning("sandbox.gone", error=error.message)
                    self._doubt_namespaces(attempt)
                    await self._delete(attempt.handle)
                    self._forget_container(attempt)
                    continue
                if (volume := _unmounted(error, attempt)) is not None:
                    why = self._limits.file_systems.refusal(
                        volume.efs_volume_configuration, error.message
                    )
                    raise StepFailed(
                        "CannotCreateVolumeError", f"volume {volume.name}: {why}"
                    ) from error
                raise _refused("CannotStartContainerError", error, attempt) from error
            except EngineAwayError as error:
                raise RuntimeAway(str(error)) from error
            except EngineTimeoutError as error:
                if (started_at := await self.started(attempt)) is not None:
                    return started_at
                volumes = ", ".join(network_volumes(attempt.assignment))
                mounting = f"; it mounts the network's volumes {volumes}" if volumes else ""
                raise StepFailed(
                    "DockerTimeoutError",
                    f"Could not transition to started; {error}{mounting}",
                    may_be_machine=not volumes,
                ) from error
        container = self._containers[attempt.handle]
        container.output.follow_soon()
        return container.started_at or now()

    async def _find_address(self, attempt: Attempt) -> None:
        """Sets where other nodes reach the attempt.

        Raises:
            StepFailed: it runs, and they do not: the job could only wait.
        """
        shown = await self._show_patiently(attempt.handle)
        if shown is not None:
            attempt.address = await self._address(shown)
            if not attempt.address and shown["State"]["Running"]:
                raise no_network("the container has no address")

    # Namespaces

    async def _surroundings(self, attempt: Attempt) -> Surroundings:
        """What an attempt's container shares with others.

        Several containers of one attempt have one network, if need be that of a paused one.
        """
        network = await self._network.mode(node=attempt.is_node)
        if attempt.of is None:
            return Surroundings(network)
        if network.startswith("container:"):
            network = await self._network_of_others(attempt.of) or network
        task = attempt.of.assignment.task
        modes, anchor = (task.ipc_mode, task.pid_mode), ""
        is_own = not network.startswith(("container:", "host"))
        if is_own or "task" in modes:
            anchor = f"container:{await self._anchor(attempt.of, network)}"
        ipc, pid = (anchor if mode == "task" else mode for mode in modes)
        return Surroundings(
            anchor if is_own else network, ipc, pid, attempt.container_name, attempt.key.container
        )

    async def _network_of_others(self, whole: Attempt) -> str:
        """The network of those of an attempt's containers that run; empty if none does.

        The sandbox that they joined may be gone. Its network is there as long as they are.
        """
        for part in whole.parts:
            container = self._containers.get(part.handle)
            if container is None or part.started_at is None or container.over.is_set():
                continue
            try:
                shown = await self._show(part.handle)
            except (EngineError, EngineAwayError, EngineTimeoutError) as error:
                raise RuntimeAway(str(error)) from error
            if shown is not None and shown["State"]["Running"]:
                joined = str(shown["HostConfig"]["NetworkMode"])
                is_there = self._network.sandbox.is_container(joined.removeprefix("container:"))
                return joined if is_there else f"container:{part.handle}"
        return ""

    async def _anchor(self, whole: Attempt, network_mode: str) -> str:
        """The id of the container whose namespaces the several of an attempt share.

        Raises:
            StepFailed: there can be none.
            RuntimeAway: the engine did not answer.
        """
        making = self._anchors.get(whole.key)
        if making is None or (making.done() and (making.cancelled() or making.exception())):
            making = asyncio.create_task(self._make_anchor(whole, network_mode))
            self._anchors[whole.key] = making
        # It belongs to all who wait for it, and goes on when one of them is stopped.
        return await asyncio.shield(making)

    async def _make_anchor(self, whole: Attempt, network_mode: str) -> str:
        name = container_name(self._config.instance_id, whole.key)
        containers = self._engine.docker.containers
        try:
            shown = await self._show(name)
            if shown is not None and shown["State"]["Running"]:
                return str(shown["Id"])
            await self._delete(name)
            await self._network.sandbox.make_image()
            config = anchor_config(
                whole.assignment,
                image=IMAGE,
                instance_id=self._config.instance_id,
                network_mode=network_mode,
            )
            created = await self._engine.call(containers.create(config, name=name), CREATE_SECONDS)
            await self._engine.call(created.start(), START_SECONDS)
        except SandboxError as error:
            raise StepFailed("CannotCreateContainerError", str(error)) from error
        except EngineError as error:
            raise StepFailed(
                "CannotStartContainerError", _said(error), may_be_machine=error.status >= 500
            ) from error
        except EngineAwayError as error:
            raise RuntimeAway(str(error)) from error
        except EngineTimeoutError as error:
            raise StepFailed("DockerTimeoutError", str(error), may_be_machine=True) from error
        return str(created.id)

    def _doubt_namespaces(self, attempt: Attempt) -> None:
        """What it was to share is gone: the next to need it looks again."""
        self._network.sandbox.invalidate()
        self._anchors.pop(attempt.key.whole(), None)

    async def _create(
        self, attempt: Attempt, surroundings: Surroundings, gpu_ids: Sequence[str]
    ) -> str:
        assignment = attempt.assignment
        config = await self._container_config(attempt, surroundings, gpu_ids)
        name = container_name(self._config.instance_id, attempt.key)
        containers = self._engine.docker.containers
        for _ in range(LAUNCH_TRIES):
            was_reached, attempt.reached = attempt.reached, True
            try:
                created = await self._engine.call(
                    containers.create(config, name=name), CREATE_SECONDS
                )
            except EngineError as error:
                if error.status == 404 and "no such image" in error.message.lower():
                    self._images.forget(assignment.container.image)
                    attempt.image = await self._make_present(assignment.container)
                elif error.status == 404 and _company_gone(error, surroundings):
                    self._doubt_namespaces(attempt)
                    surroundings = await self._surroundings(attempt)
                    config = await self._container_config(attempt, surroundings, gpu_ids)
                elif error.status == 409 and "name" in error.message:
                    # Left by a creation whose answer never came; it was never started.
                    await self._delete(name)
                else:
                    raise await self._not_created(error, attempt) from error
            except EngineUnreachableError as error:
                attempt.reached = was_reached
                raise RuntimeAway(str(error)) from error
            except EngineAwayError as error:
                raise RuntimeAway(str(error)) from error
            except EngineTimeoutError as error:
                raise StepFailed(
                    "DockerTimeoutError",
                    f"Could not transition to created; {error}",
                    may_be_machine=True,
                ) from error
            else:
                return created.id
        raise StepFailed("CannotCreateContainerError", f"gave up after {LAUNCH_TRIES} tries")

    async def _not_created(self, error: EngineError, attempt: Attempt) -> StepFailed:
        """The failure of an attempt whose container the engine refuses.

        Of a log driver that it has not it says only that there is no such plugin.
        """
        driver = attempt.assignment.container.log_configuration.log_driver
        if not driver or f"logging plugin {driver}" not in error.message:
            return _refused("CannotCreateContainerError", error, attempt)
        known = ""
        with contextlib.suppress(EngineError, EngineAwayError, EngineTimeoutError):
            info = await self._engine.call(self._engine.docker.system.info(), INSPECT_SECONDS)
            known = f", which has {', '.join(sorted(info['Plugins']['Log']))}"
        return refused(
            "logConfiguration.logDriver",
            f"{driver} is no log driver of the engine of instance "
            f"{self._config.instance_id}{known}",
        )

    async def _container_config(
        self, attempt: Attempt, surroundings: Surroundings, gpu_ids: Sequence[str]
    ) -> dict[str, Any]:
        # An anchor has no door of its own: what it joined does, if that may have one.
        way = await self._door.way(await self._network.mode(node=attempt.is_node))
        return container_config(
            attempt.assignment,
            instance_id=self._config.instance_id,
            compute_environment=self._config.compute_environment,
            otlp_endpoint=self._config.jobs_otlp_endpoint,
            surroundings=surroundings,
            gpu_ids=gpu_ids,
            limits=self._limits,
            variables=await self._endpoint.let_in(attempt, way) | self._gpus.variables(gpu_ids),
            secrets=attempt.secrets or NO_SECRETS,
        )

    async def _open_door(self) -> None:
        # What runs already goes on asking the endpoint.
        with contextlib.suppress(StepFailed, RuntimeAway):
            await self._door.way(await self._network.mode(node=False))

    async def _address(self, shown: dict[str, Any]) -> str:
        """Where other nodes reach a container; empty if it has ended, or cannot be told."""
        try:
            return await self._network.address(shown)
        except (EngineError, EngineAwayError, EngineTimeoutError, OSError) as error:
            log.warning("address.unknown", error=str(error))
            return ""

    def _forget_container(self, attempt: Attempt) -> None:
        self._containers.pop(attempt.handle, None)
        attempt.handle = ""

    def _track(self, attempt: Attempt) -> None:
        output = Output(
            self._engine,
            self._spool,
            attempt.handle,
            naming.name_of(attempt.assignment),
            log_bounds(attempt.assignment.container.log_configuration, self._limits),
        )
        self._containers[attempt.handle] = _Container(output)

    # What containers are told of themselves

    async def facts(self, attempt: Attempt) -> Facts:
        """What the engine says of an attempt's container."""
        try:
            shown = await self._show(attempt.handle)
        except (EngineError, EngineAwayError, EngineTimeoutError) as error:
            raise NotFetched(str(error)) from error
        if shown is None:
            raise NotFetched("the container is gone")
        return facts_of(shown, filter(None, [await self._address(shown)]))

    async def statistics(self, attempt: Attempt) -> Any:
        """What the engine counted of an attempt's container."""
        work = self._container(attempt).stats(stream=False)
        try:
            [statistics] = await self._engine.call(work, INSPECT_SECONDS)
        except (EngineError, EngineAwayError, EngineTimeoutError) as error:
            raise NotFetched(str(error)) from error
        return statistics

    # What happens to containers

    def _seen(self, event: dict[str, Any]) -> None:
        container_id = event["Actor"]["ID"]
        container = self._containers.get(container_id)
        if event["Action"] == "start":
            if container is not None:
                container.started_at = datetime.fromtimestamp(event["timeNano"] / 1e9, UTC)
        elif event["Action"] == "oom":
            if container is not None:
                container.out_of_memory.set()
        elif self._network.sandbox.is_container(container_id):
            self._network.sandbox.invalidate()
        elif container is not None:
            container.over.set()

    async def _reconcile(self) -> None:
        """Ends the wait for all that does not run, save for what was only just made."""
        known = dict(self._containers)
        listed = {listed["Id"]: listed["State"] for listed in await self._list()}
        for container_id, container in known.items():
            if listed.get(container_id, "gone") in ("exited", "dead", "gone"):
                container.over.set()

    async def _list(self) -> list[dict[str, Any]]:
        label = f"{INSTANCE_LABEL}={self._config.instance_id}"
        containers = await self._engine.call(
            self._engine.docker.containers.list(all="1", filters=filters(label=[label])),
            INSPECT_SECONDS,
        )
        return [
            {name: container[name] for name in ("Id", "State", "Labels")}
            for container in containers
        ]

    async def _show(self, container_id: str) -> dict[str, Any] | None:
        """What the engine says of a container; None if it has none such."""
        container = self._engine.docker.containers.container(container_id)
        try:
            return await self._engine.call(container.show(), INSPECT_SECONDS)
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    async def _show_patiently(self, container_id: str) -> dict[str, Any] | None:
        """As `_show`, waiting for an engine that is away."""
        while True:
            with contextlib.suppress(EngineError, EngineAwayError, EngineTimeoutError):
                return await self._show(container_id)
            await asyncio.sleep(RETRY_SECONDS)

    async def _delete(self, container_id: str) -> None:
        container = self._engine.docker.containers.container(container_id)
        try:
            await self._engine.call(container.delete(force=True, v=True), REMOVE_SECONDS)
        except EngineError as error:
            # 409: a removal is under way already.
            if error.status not in (404, 409):
                raise StepFailed("CannotRemoveContainerError", error.message) from error
        except EngineAwayError as error:
            raise RuntimeAway(str(error)) from error
        except EngineTimeoutError as error:
            raise StepFailed("CannotRemoveContainerError", str(error)) from error

    async def _delete_volume(self, name: str) -> None:
        try:
            find = self._engine.docker.volumes.get(name)  # type: ignore[no-untyped-call]
            volume = await self._engine.call(find, INSPECT_SECONDS)
            await self._engine.call(volume.delete(), REMOVE_SECONDS)
        except EngineError as error:
            if error.status != 404:
                raise StepFailed("CannotRemoveVolumeError", error.message) from error
        except (EngineAwayError, EngineTimeoutError) as error:
            raise StepFailed("CannotRemoveVolumeError", str(error)) from error

    def _container(self, attempt: Attempt) -> Any:
        return self._engine.docker.containers.container(attempt.handle)


def _company_gone(error: EngineError, surroundings: Surroundings) -> bool:
    """Whether a failure comes from the death of what a container was to share something of."""
    joined = (surroundings.network, surroundings.ipc, surroundings.pid)
    text = error.message
    return any(mode.startswith("container:") for mode in joined) and (
        "cannot join network" in text
        or "No such container" in text
        or ("namespace" in text and "not running" in text)
    )


def _unmounted(error: EngineError, attempt: Attempt) -> container_pb2.Volume | None:
    """Which of an attempt's volumes of the network could not be mounted; None: it is not that."""
    return next(
        (
            volume
            for volume in attempt.assignment.container.volumes
            if volume.HasField("efs_volume_configuration")
            and f"/{volume_name(attempt.assignment, volume.name)}/" in error.message
        ),
        None,
    )


def _refused(name: str, error: EngineError, attempt: Attempt) -> StepFailed:
    """The failure for what the engine refused; where it blames itself it may be the machine's.

    In its words may be the values of secrets that it was given.
    """
    said = (attempt.secrets or NO_SECRETS).hide(_said(error))
    return StepFailed(name, said, may_be_machine=error.status >= 500)


def _said(error: EngineError) -> str:
    return f"Error response from daemon: {error.message}"


def _time(text: str) -> datetime | None:
    """The engine's time, cut to microseconds; None for a thing that never happened."""
    if text == NEVER:
        return None
    head, _, fraction = text.rstrip("Z").partition(".")
    micros = fraction[:6].ljust(6, "0")
    return datetime.fromisoformat(f"{head}.{micros}+00:00")
