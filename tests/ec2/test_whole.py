"""A whole longshore on EC2: from a submitted job to an instance that boots, runs it and goes.

moto's instances are records alone. What such a machine would do the test does: it boots with the
user data of its launch template, and runs the agent with the settings that these write.
"""

import base64
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
import requests
from acceptance.stand import Stack, eventually
from support.patience import PATIENCE_SECONDS
from support.ports import free_port_base
from support.scratch import scratch_directory

REGION = "us-east-1"
_CURL = """#!/bin/bash
case "${*: -1}" in
    */latest/api/token) printf token ;;
    */latest/meta-data/instance-id) printf %s "$INSTANCE_ID" ;;
    */latest/meta-data/instance-type) printf %s "$INSTANCE_TYPE" ;;
    *) exit 22 ;;
esac
"""


def _address() -> str:
    """An address of this machine's besides loopback's."""
    every = [one for some in psutil.net_if_addrs().values() for one in some]
    found = [one.address for one in every if one.family is socket.AF_INET]
    return next(address for address in found if not address.startswith("127."))


@pytest.fixture
def stack(moto_url: str) -> Iterator[Stack]:
    requests.post(f"{moto_url}/moto-api/reset", timeout=PATIENCE_SECONDS).raise_for_status()
    base, here = free_port_base(), _address()
    settings = {
        "LONGSHORE_PROVIDER": "ec2",
        "LONGSHORE_EC2_ENDPOINT_URL": moto_url,
        "LONGSHORE_EC2_REGION": REGION,
        "LONGSHORE_EC2_USER_DATA": "ready",
        # Users come on loopback, instances from elsewhere.
        "LONGSHORE_SCHEDULER_PEER_ADDRESS": f"{here}:{base + 41}",
        "LONGSHORE_LOGS_PEER_ADDRESS": f"{here}:{base + 44}",
        "LONGSHORE_JOIN_ADDRESS": f"{here}:{base + 6}",
        "LONGSHORE_IDLE_SECONDS": "1",
        "LONGSHORE_SCALE_INTERVAL": "1",
        "LONGSHORE_PROVISION_INTERVAL": "0.5",
    }
    with scratch_directory() as place:
        made = Stack(place / "stack", runtime="process", port_base=base, settings=settings)
        made.up()
        yield made
        made.down()


@pytest.fixture
def ec2(moto_url: str) -> Iterator[Any]:
    client = boto3.client("ec2", endpoint_url=moto_url, region_name=REGION)
    yield client
    client.close()


def _running(ec2: Any) -> list[dict[str, Any]]:
    answer = ec2.describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    )
    return [item for group in answer["Reservations"] for item in group["Instances"]]


def _boot(ec2: Any, instance: dict[str, Any], place: Path) -> dict[str, str]:
    """Runs the user data of an instance's launch template; the agent's settings that they write."""
    (template,) = ec2.describe_launch_templates()["LaunchTemplates"]
    versions = ec2.describe_launch_template_versions(LaunchTemplateId=template["LaunchTemplateId"])
    data = versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]["UserData"]
    commands = place / "bin"
    commands.mkdir(parents=True)
    for name, text in (("curl", _CURL), ("systemctl", "#!/bin/bash\n")):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    environ = {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "LONGSHORE_ROOT": str(place),
        "INSTANCE_ID": instance["InstanceId"],
        "INSTANCE_TYPE": instance["InstanceType"],
    }
    subprocess.run(
        ["bash"], input=base64.b64decode(data), env=environ, check=True, timeout=PATIENCE_SECONDS
    )
    lines = (place / "etc/longshore/agent.env").read_text().splitlines()
    return dict(shlex.split(line)[0].split("=", 1) for line in lines)


@pytest.mark.slow
def test_a_job_gets_an_instance_of_ec2_and_leaves_none(
    stack: Stack, ec2: Any, tmp_path: Path
) -> None:
    """The environment grows from zero for a job, and shrinks back when the job is over."""
    batch = boto3.client(
        "batch",
        endpoint_url=stack.gateway_url,
        region_name=REGION,
        aws_access_key_id=stack.access_key.access_key_id,
        aws_secret_access_key=stack.access_key.secret_access_key,
    )
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    batch.create_compute_environment(
        computeEnvironmentName="cloud",
        type="MANAGED",
        computeResources={
            "type": "EC2",
            "allocationStrategy": "BEST_FIT_PROGRESSIVE",
            "minvCpus": 0,
            "maxvCpus": 16,
            "instanceTypes": ["c6i"],
            "subnets": subnets,
            "securityGroupIds": ["sg-0123456789abcdef0"],
            "instanceRole": "longshore-instance",
        },
    )
    eventually(
        lambda: (
            ("cloud", "VALID")
            in [(one["computeEnvironmentName"], one["status"]) for one in stack.json("env", "list")]
        ),
        "the environment can be used",
    )
    stack.call("queue", "create", "cloud", "--env", "cloud", check=True)
    command = [
        *(sys.executable, "-c", "from longshore_cli.main import main; main()"),
        *("run", "--queue", "cloud", "busybox:latest", "--", "echo", "from the cloud"),
    ]
    with subprocess.Popen(command, env=stack.environ, stdout=subprocess.PIPE, text=True) as job:
        (instance,) = eventually(lambda: _running(ec2), "an instance is launched")
        assert instance["InstanceType"] == "c6i.large"
        settings = _boot(ec2, instance, tmp_path / "machine")
        assert settings["LONGSHORE_INSTANCE_ID"] == instance["InstanceId"]
        assert settings["LONGSHORE_JOIN"] == f"{_address()}:{stack.port_base + 6}"
        token = tmp_path / "machine" / "etc/longshore/join-token"
        here = {
            "LONGSHORE_JOIN_TOKEN_FILE": str(token),
            "LONGSHORE_RUNTIME": "process",
            "LONGSHORE_DATA_DIR": str(tmp_path / "agent"),
            "LONGSHORE_METADATA": "none",
            "LONGSHORE_VCPU_MILLI": "2000",
            "LONGSHORE_MEMORY_MIB": "3600",
        }
        agent = subprocess.Popen(
            [sys.executable, "-m", "longshore.agent"], env={**os.environ, **settings, **here}
        )
        try:
            out, _ = job.communicate(timeout=60)
            assert out == "from the cloud\n"
            assert job.returncode == 0
            # Drained, the agent exits cleanly: then its machine shuts down, and moto's is ended.
            assert agent.wait(timeout=40) == 0
        finally:
            if agent.poll() is None:
                agent.kill()
                agent.wait()
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    eventually(
        lambda: (
            [
                item["status"]
                for item in stack.json("instances", "--all")
                if item["instanceId"] == instance["InstanceId"]
            ]
            == ["TERMINATED"]
        ),
        "the instance is over on record",
    )
    assert _running(ec2) == []
    batch.close()
