"""The script that a new machine boots with: read by bash, and run with commands that only note."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import InvalidRequest
from longshore.provisioning.ec2.config import Ec2Config
from longshore.provisioning.ec2.user_data import BYTES_MAXIMUM, boot_script, merged

#: Stands for commands that the script calls: notes what it was called with.
_STUB = """#!/bin/bash
echo "$(basename "$0") $*" >> "$LONGSHORE_ROOT/calls"
"""
_CURL = """#!/bin/bash
echo "curl $*" >> "$LONGSHORE_ROOT/calls"
case "${*: -1}" in
    */latest/api/token) printf token ;;
    */latest/meta-data/instance-id) printf i-0123456789abcdef0 ;;
    */latest/meta-data/instance-type) printf c6i.large ;;
    *) exit 22 ;;
esac
"""
_PYTHON = """#!/bin/bash
echo "python $*" >> "$LONGSHORE_ROOT/calls"
if [ "$2" = venv ]; then
    mkdir -p "$3/bin"
    printf '#!/bin/bash\\necho "pip $*" >> "$LONGSHORE_ROOT/calls"\\n' > "$3/bin/pip"
    chmod +x "$3/bin/pip"
fi
"""


TOKEN = f"lsjoin.{0:016x}.secret.fingerprint"


def _config(**changes: Any) -> Ec2Config:
    fields: dict[str, Any] = {
        "region": "us-east-1",
        "scheduler_address": "10.0.0.1:7071",
        "logs_address": "10.0.0.1:7074",
        "join_address": "10.0.0.1:7076",
        "package": "longshore[server] @ https://example.com/a b;c/longshore.whl",
    }
    return Ec2Config(**{**fields, **changes})


class Machine:
    """A directory that the script takes for the machine, and the commands that it finds there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir()
        for name in ("bash", "mkdir", "chmod", "cat", "basename", "dirname"):
            (self.bin / name).symlink_to(Path("/usr/bin") / name)
        for name in ("systemctl", "shutdown", "dnf", "docker"):
            self.add(name, _STUB)
        self.add("curl", _CURL)
        self.add("python3.12", _PYTHON)

    def add(self, name: str, text: str) -> None:
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def boot(self, script: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.bin), "LONGSHORE_ROOT": str(self.root)}
        return subprocess.run(
            ["/usr/bin/bash"],
            input=script,
            env=environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines()

    @property
    def environment(self) -> dict[str, str]:
        """The agent's settings, as a shell would read them."""
        lines = (self.root / "etc/longshore/agent.env").read_text().splitlines()
        return dict(shlex.split(line)[0].split("=", 1) for line in lines)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    return Machine(tmp_path)


def test_a_machine_installs_and_joins(machine: Machine) -> None:
    """It knows who it is, installs the package as it was named, and starts the agent."""
    done = machine.boot(boot_script(_config(), "blue", TOKEN))
    assert done.returncode == 0, done.stderr
    assert machine.environment == {
        "LONGSHORE_JOIN": "10.0.0.1:7076",
        "LONGSHORE_JOIN_TOKEN_FILE": "/etc/longshore/join-token",
        "LONGSHORE_COMPUTE_ENVIRONMENT": "blue",
        "LONGSHORE_RUNTIME": "docker",
        "LONGSHORE_METADATA": "ec2",
        "AWS_REGION": "us-east-1",
        "LONGSHORE_DATA_DIR": "/var/lib/longshore-agent",
        "LONGSHORE_NODE_NETWORK": "host",
        "LONGSHORE_STS_REGION": "us-east-1",
        "LONGSHORE_INSTANCE_ID": "i-0123456789abcdef0",
        "LONGSHORE_INSTANCE_TYPE": "c6i.large",
    }
    assert (machine.root / "etc/longshore/agent.env").stat().st_mode & 0o777 == 0o600
    token = machine.root / "etc/longshore/join-token"
    assert token.read_text() == f"{TOKEN}\n"
    assert token.stat().st_mode & 0o777 == 0o600
    assert "pip install --quiet --disable-pip-version-check -- " + _config().package in (
        machine.calls
    )
    assert machine.calls[-1] == "systemctl enable --now longshore-agent"
    unit = (machine.root / "etc/systemd/system/longshore-agent.service").read_text()
    assert "EnvironmentFile=/etc/longshore/agent.env" in unit
    assert "SuccessAction=poweroff" in unit.partition("[Service]")[0]
    assert "ExecStart=/opt/longshore/bin/python -m longshore.agent" in unit
    asked = [call for call in machine.calls if "meta-data" in call]
    assert all("X-aws-ec2-metadata-token: token" in call for call in asked)
    assert not any(call.startswith(("shutdown", "dnf")) for call in machine.calls)


def test_what_is_missing_is_installed(machine: Machine) -> None:
    """Docker and Python, by the machine's own installer."""
    (machine.bin / "docker").unlink()
    (machine.bin / "python3.12").unlink()
    installer = f"""#!/bin/bash
echo "dnf $*" >> "$LONGSHORE_ROOT/calls"
if [ "${{*: -1}}" = python3.12 ]; then
cat > "$LONGSHORE_ROOT/bin/python3.12" <<'END'
{_PYTHON}END
chmod +x "$LONGSHORE_ROOT/bin/python3.12"
fi
"""
    machine.add("dnf", installer)
    done = machine.boot(boot_script(_config(), "blue", TOKEN))
    assert done.returncode == 0, done.stderr
    assert "dnf -y -q install docker" in machine.calls
    assert "dnf -y -q install python3.12" in machine.calls


def test_a_ready_image_only_starts_the_agent(machine: Machine) -> None:
    """No installer, no unit: those are the image's."""
    done = machine.boot(boot_script(_config(user_data="ready", package=""), "blue", TOKEN))
    assert done.returncode == 0, done.stderr
    assert [call for call in machine.calls if not call.startswith("curl")] == [
        "systemctl restart longshore-agent"
    ]
    assert not (machine.root / "etc/systemd").exists()


@pytest.mark.parametrize("broken", ["curl", "python3.12", "systemctl"])
def test_a_machine_that_cannot_work_ends_itself(machine: Machine, broken: str) -> None:
    """It says which line failed, and shuts down."""
    machine.add(broken, "#!/bin/bash\nexit 1\n")
    done = machine.boot(boot_script(_config(), "blue", TOKEN))
    assert done.returncode == 1
    assert machine.calls[-1] == "shutdown -h now"
    assert "this machine shuts down" in done.stderr


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1))
def test_settings_are_quoted(value: str) -> None:
    """The line is what systemd takes for the value."""
    config = _config(agent_settings=(("LONGSHORE_NETWORK", value),), package=value)
    if not value.isprintable():
        with pytest.raises(InvalidRequest):
            boot_script(config, "blue", TOKEN)
        return
    script = boot_script(config, "blue", TOKEN)
    (line,) = [item for item in script.split("\n") if item.startswith("LONGSHORE_NETWORK=")]
    text = line.removeprefix("LONGSHORE_NETWORK=")
    assert text[0] == text[-1] == '"'
    plain = text[1:-1].replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\")
    assert plain == value


@pytest.mark.parametrize("package", ["a b", "$(reboot)", "`reboot`", "'; reboot; '", "a\\"])
def test_bash_reads_it(package: str) -> None:
    """Whatever the package is called."""
    script = boot_script(_config(package=package), "blue", TOKEN)
    done = subprocess.run(
        ["/usr/bin/bash", "-n"], input=script, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("package", ["$(touch ran)", "`touch ran`", "'; touch ran; '", "a\\"])
def test_a_package_is_one_word(machine: Machine, package: str) -> None:
    """Nothing of its name is run."""
    done = machine.boot(boot_script(_config(package=package), "blue", TOKEN))
    assert done.returncode == 0, done.stderr
    assert machine.calls.count(f"pip install --quiet --disable-pip-version-check -- {package}") == 1
    assert not Path(os.getcwd(), "ran").exists()  # noqa: PTH109 - where bash ran


@pytest.mark.parametrize("bad", ["two\nlines", "END_OF_LONGSHORE\n", "\x00", "\x1b[31m"])
def test_what_no_environment_file_can_hold_is_refused(bad: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be printed"):
        boot_script(_config(agent_settings=(("LONGSHORE_PULL", bad),)), "blue", TOKEN)


def test_alone_it_stays_a_script() -> None:
    assert merged("#!/bin/bash\n", " \n") == "#!/bin/bash\n"


@pytest.mark.parametrize(
    ("given_text", "kind"),
    [
        ("#!/bin/sh\necho theirs\n", "text/x-shellscript"),
        ("#cloud-config\nruncmd: []\n", "text/cloud-config"),
        ("#include\nhttps://example.com/x\n", "text/x-include-url"),
    ],
)
def test_after_the_templates_own(given_text: str, kind: str) -> None:
    """Both are parts of one document, theirs first."""
    text = merged("#!/bin/bash\necho ours\n", given_text)
    assert text == merged("#!/bin/bash\necho ours\n", given_text)
    parts = _parts(text)
    assert [part for part, _ in parts] == [kind, "text/x-shellscript"]
    assert [body.strip() for _, body in parts] == [given_text.strip(), "#!/bin/bash\necho ours"]


def test_parts_of_a_document_stay_parts() -> None:
    first = merged("#!/bin/bash\necho two\n", "#!/bin/sh\necho one\n")
    parts = _parts(merged("#!/bin/bash\necho thrée\n", first))
    assert [body.strip().split("echo ")[1] for _, body in parts] == ["one", "two", "thrée"]


def _parts(text: str) -> list[tuple[str, str]]:
    message = message_from_string(text)
    assert message.is_multipart()
    parts = []
    for part in message.walk():
        if not part.is_multipart():
            body = part.get_payload(decode=True)
            assert isinstance(body, bytes)
            parts.append((part.get_content_type(), body.decode()))
    return parts


def test_more_than_ec2_takes_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="16384"):
        merged("#!/bin/bash\n", "#!/bin/sh\n" + "#" * BYTES_MAXIMUM)


def test_the_script_is_short() -> None:
    """Most of what EC2 takes is left to the launch template."""
    assert len(boot_script(_config(), "e" * 128, TOKEN).encode()) < BYTES_MAXIMUM / 3
