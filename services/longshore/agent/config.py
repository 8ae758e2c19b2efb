"""Settings of the agent."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from longshore.agent import machine
from longshore.agent.docker.network_volume import AMAZON, FileSystems
from longshore.agent.gpu import Gpu, find_gpus, gpu_ids
from longshore.agent.reporting.notice import EC2_ENDPOINT
from longshore.agent.secret.file import SecretsFile, secrets_file
from longshore.domain.instance import is_instance_id
from longshore.identity.material import Identity
from longshore.runtime.config import ConfigError, Settings, installation

#: An entry of LONGSHORE_FILE_SYSTEMS: id, host and directory.
_EXPORT = re.compile(r"(fs-[0-9A-Za-z-]{1,64})=([0-9A-Za-z.-]{1,253}):(/[^,]*)")
RUNTIMES = ("auto", "docker", "process", "simulated")
NETWORKS = ("sandbox", "bridge", "host", "none")
METADATA = ("none", "ec2")
JOB_ROLES = ("none", "sts")
#: Our two first, then AWS's four; `prefer-cached` and `if-missing` are the same.
PULL_BEHAVIOURS = ("if-missing", "default", "always", "once", "prefer-cached")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """How an agent runs. `from_environment` says which variable sets what."""

    scheduler_address: str
    logs_address: str
    data_dir: Path
    instance_id: str
    compute_environment: str
    instance_type: str
    unmanaged: bool
    vcpu_milli: int
    memory_mib: int
    #: What attempts get, and all that were found.
    gpu_ids: tuple[str, ...] = ()
    gpus_found: tuple[Gpu, ...] = ()
    runtime: str = "auto"
    network: str = "sandbox"
    node_network: str = "sandbox"
    pull: str = "if-missing"
    pull_attempts: int = 3
    concurrent_starts: int = 6
    container_pids: int = 4096
    container_log_mib: int = 100
    container_log_files: int = 3
    spool_mib: int = 100
    disk_free_mib: int = 512
    process_lenient: bool = False
    log_drain_seconds: float = 30.0
    metrics_address: str = ""
    metadata: str = "none"
    metadata_endpoint: str = EC2_ENDPOINT
    metadata_seconds: float = 5.0
    account: str = "123456789012"
    region: str = "us-east-1"
    jobs_otlp_endpoint: str = ""
    job_roles: str = "none"
    sts_region: str = "us-east-1"
    sts_endpoint_url: str = ""
    secrets: SecretsFile
    aws_region: str = "us-east-1"
    file_systems: FileSystems = AMAZON
    engine_log: str = "auto"
    #: Where to join, and with what.
    join_address: str = ""
    join_token: str = field(default="", repr=False)
    join_token_file: Path | None = None
    #: Of the instance, once it has joined; None: it speaks plaintext, in tests.
    identity: Identity | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Reads the settings.

        - LONGSHORE_JOIN, LONGSHORE_JOIN_TOKEN, LONGSHORE_JOIN_TOKEN_FILE (none): where a machine
          joins that has not yet, as `host:port`, and its token, or a file with it, which is removed
          once it is used up; where the services are is told there;
        - LONGSHORE_DATA_DIR (~/.longshore/agent): journal, spool, directories of processes;
        - LONGSHORE_INSTANCE_ID: given by provisioning, else made once and kept in the data
          directory;
        - LONGSHORE_COMPUTE_ENVIRONMENT (default), LONGSHORE_INSTANCE_TYPE (unmanaged),
          LONGSHORE_UNMANAGED (true without an instance type);
        - LONGSHORE_VCPU_MILLI, LONGSHORE_MEMORY_MIB, LONGSHORE_GPUS: declared resources; what is
          not declared is detected, memory less a reserve of 32 MiB; of GPUs that are declared those
          that are found count, where any is (NVIDIA's, by its management library);
        - LONGSHORE_RUNTIME (auto): docker where its socket answers, else process; or one of docker,
          process, simulated;
        - LONGSHORE_NETWORK (sandbox): what containers join: the network that all of the instance
          share, or `bridge`, `host`, `none`; LONGSHORE_NODE_NETWORK (the same): what nodes of
          multi-node jobs join; `host` where instances are machines, so that nodes reach each other;
        - LONGSHORE_PULL (if-missing), LONGSHORE_PULL_ATTEMPTS (3);
        - LONGSHORE_AGENT_STARTS (6): containers created and started at one time;
        - LONGSHORE_CONTAINER_PIDS (4096): processes and threads in one container;
        - LONGSHORE_CONTAINER_LOG_MIB (100), LONGSHORE_CONTAINER_LOG_FILES (3): size and number of
          the files in which the engine keeps a container's output, unless its log configuration
          says otherwise;
        - LONGSHORE_SPOOL_MIB (100): how long an attempt's log may be; of a longer one the beginning
          and the end are kept, with a mark between them;
        - LONGSHORE_DISK_FREE_MIB (512): room that the data directory and, where the agent sees it,
          the engine's own must have for attempts to start; 0: they are not looked at;
        - LONGSHORE_PROCESS_LENIENT (false): processes run although they cannot have what their
          container properties ask for;
        - LONGSHORE_LOG_DRAIN_SECONDS (30): how long a drained agent waits for the log service;
        - LONGSHORE_AGENT_METRICS_ADDRESS: `host:port` of Prometheus metrics; none unless set;
        - LONGSHORE_JOBS_OTLP_ENDPOINT: URL of an OpenTelemetry collector that jobs get as
          OTEL_EXPORTER_OTLP_ENDPOINT, with what they are in OTEL_RESOURCE_ATTRIBUTES, unless they
          set these themselves; none unless set;
        - LONGSHORE_METADATA (none): `ec2` where EC2's metadata service says when the instance will
          be taken away; LONGSHORE_METADATA_ENDPOINT and LONGSHORE_METADATA_SECONDS (5): where it
          is, and how often it is asked;
        - LONGSHORE_ACCOUNT, LONGSHORE_REGION: what stands in ARNs, as for submission: jobs are told
          theirs;
        - LONGSHORE_JOB_ROLES (none): `sts` where the roles of jobs (`jobRoleArn`) are assumed by
          AWS's Security Token Service or one like it, with the agent's own credentials, which AWS's
          chain finds; with `none` a job with a role fails at its start and says so;
        - LONGSHORE_STS_REGION (AWS_REGION, AWS_DEFAULT_REGION, else LONGSHORE_REGION) and
          LONGSHORE_STS_ENDPOINT_URL (AWS's own): whose service that is, and where;
        - LONGSHORE_SECRETS_FILE (~/.longshore/secrets), LONGSHORE_SECRETS_KEY_FILE
          (~/.longshore/secrets.key): longshore's own secrets and their key, which
          `longshore secret` writes. Parameters of AWS's that are named without a region are of
          AWS_REGION, AWS_DEFAULT_REGION, else LONGSHORE_REGION;
        - LONGSHORE_FILE_SYSTEMS: NFS servers behind the ids in `efsVolumeConfiguration`, as
          `ID=HOST:/DIRECTORY`, separated by commas; any other id is Amazon EFS's, in the region
          that parameters are of;
        - LONGSHORE_ENGINE_LOG (auto): where the engine's own log is that goes to the log service
          beside the agent's: an absolute path, or `auto` for the systemd journal of docker.service,
          else /var/log/docker.log, where they can be read; `none`: nowhere.
        """
        settings = Settings(environ)
        data_dir = settings.directory("LONGSHORE_DATA_DIR", Path("~/.longshore/agent"))
        instance_id = settings.text("LONGSHORE_INSTANCE_ID", "") or machine.instance_id(data_dir)
        if not is_instance_id(instance_id):
            raise ConfigError(
                f"LONGSHORE_INSTANCE_ID is {instance_id!r}; "
                "it must be `i-` and 17 hexadecimal digits."
            )
        instance_type = settings.text("LONGSHORE_INSTANCE_TYPE", "")
        network = settings.choice("LONGSHORE_NETWORK", NETWORKS, "sandbox")
        runtime, found = settings.choice("LONGSHORE_RUNTIME", RUNTIMES, "auto"), find_gpus()
        account, region = installation(settings)
        aws_region = region
        for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
            aws_region = settings.text(name, aws_region)
        return cls(
            scheduler_address=settings.peer_address("scheduler"),
            logs_address=settings.peer_address("logs"),
            data_dir=data_dir,
            instance_id=instance_id,
            compute_environment=settings.text("LONGSHORE_COMPUTE_ENVIRONMENT", "default"),
            instance_type=instance_type or "unmanaged",
            unmanaged=settings.flag("LONGSHORE_UNMANAGED", not instance_type),
            vcpu_milli=settings.integer(
                "LONGSHORE_VCPU_MILLI", machine.vcpu_milli(), 1, 100_000_000
            ),
            memory_mib=settings.integer(
                "LONGSHORE_MEMORY_MIB", machine.memory_mib(), 4, 1_000_000_000
            ),
            gpu_ids=gpu_ids(
                settings.integer("LONGSHORE_GPUS", len(found), 0, 1024),
                () if runtime == "simulated" else found,
            ),
            gpus_found=found,
            runtime=runtime,
            network=network,
            node_network=settings.choice("LONGSHORE_NODE_NETWORK", NETWORKS, network),
            pull=settings.choice("LONGSHORE_PULL", PULL_BEHAVIOURS, "if-missing"),
            pull_attempts=settings.integer("LONGSHORE_PULL_ATTEMPTS", 3, 1, 10),
            concurrent_starts=settings.integer("LONGSHORE_AGENT_STARTS", 6, 1, 64),
            container_pids=settings.integer("LONGSHORE_CONTAINER_PIDS", 4096, 16, 4_194_304),
            container_log_mib=settings.integer("LONGSHORE_CONTAINER_LOG_MIB", 100, 1, 1_000_000),
            container_log_files=settings.integer("LONGSHORE_CONTAINER_LOG_FILES", 3, 2, 100),
            spool_mib=settings.integer("LONGSHORE_SPOOL_MIB", 100, 1, 1_000_000),
            disk_free_mib=settings.integer("LONGSHORE_DISK_FREE_MIB", 512, 0, 1_000_000_000),
            process_lenient=settings.flag("LONGSHORE_PROCESS_LENIENT", False),
            log_drain_seconds=settings.seconds("LONGSHORE_LOG_DRAIN_SECONDS", 30, 0, 3600),
            metrics_address=settings.host_port("LONGSHORE_AGENT_METRICS_ADDRESS", ""),
            jobs_otlp_endpoint=_url(settings, "LONGSHORE_JOBS_OTLP_ENDPOINT"),
            metadata=settings.choice("LONGSHORE_METADATA", METADATA, "none"),
            metadata_endpoint=settings.text("LONGSHORE_METADATA_ENDPOINT", EC2_ENDPOINT),
            metadata_seconds=settings.seconds("LONGSHORE_METADATA_SECONDS", 5, 0.05, 60),
            account=account,
            region=region,
            job_roles=settings.choice("LONGSHORE_JOB_ROLES", JOB_ROLES, "none"),
            sts_region=settings.text("LONGSHORE_STS_REGION", aws_region),
            sts_endpoint_url=_url(settings, "LONGSHORE_STS_ENDPOINT_URL"),
            secrets=secrets_file(settings),
            aws_region=aws_region,
            file_systems=FileSystems(aws_region, _exports(settings)),
            engine_log=_engine_log(settings),
            join_address=settings.host_port("LONGSHORE_JOIN", ""),
            join_token=settings.text("LONGSHORE_JOIN_TOKEN", ""),
            join_token_file=settings.path("LONGSHORE_JOIN_TOKEN_FILE")
            if settings.text("LONGSHORE_JOIN_TOKEN_FILE", "")
            else None,
        )


def _exports(settings: Settings) -> dict[str, tuple[str, str]]:
    name = "LONGSHORE_FILE_SYSTEMS"
    found: dict[str, tuple[str, str]] = {}
    for entry in filter(None, settings.text(name, "").split(",")):
        match = _EXPORT.fullmatch(entry.strip())
        if match is None:
            raise ConfigError(f"{name} has {entry!r}; it must be like fs-1234=nfs.example:/data.")
        file_system, host, root = match.groups()
        found[file_system] = host, root
    return found


def _engine_log(settings: Settings) -> str:
    name = "LONGSHORE_ENGINE_LOG"
    place = settings.text(name, "auto")
    if place not in ("auto", "none") and not place.startswith("/"):
        raise ConfigError(f"{name} is {place!r}; it must be auto, none or an absolute path.")
    return place


def _url(settings: Settings, name: str) -> str:
    url = settings.text(name, "")
    if url and not url.startswith(("http://", "https://")):
        raise ConfigError(f"{name} is {url!r}; it must begin with http:// or https://.")
    return url
