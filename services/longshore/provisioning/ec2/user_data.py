"""User data: the script that makes a new machine an instance of its compute environment.

It asks the metadata service who the machine is, writes the agent's settings, installs Docker and
the agent where they are missing, and starts the agent under systemd. When any of that fails it says
why on the console and shuts the machine down, which ends it: a machine that cannot work should not
cost money until somebody notices. For the same reason it shuts down as soon as its agent has
drained and exits.
"""

import hashlib
import shlex
from collections.abc import Iterable
from email import message_from_string, policy
from email.message import EmailMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from longshore.domain.errors import InvalidRequest
from longshore.provisioning.ec2.config import Ec2Config

#: The agent removes it once it has joined.
TOKEN_PATH = "/etc/longshore/join-token"  # noqa: S105 - a path
#: What EC2 accepts, before it is encoded.
BYTES_MAXIMUM = 16 * 1024

_HEAD = """\
#!/bin/bash
# Makes this machine an instance of longshore.
set -euo pipefail
umask 022
root=${LONGSHORE_ROOT:-}
fail() {
    echo "longshore: line $1 of the user data failed; this machine shuts down" >&2
    shutdown -h now
    exit 1
}
trap 'fail "$LINENO"' ERR

metadata=${LONGSHORE_METADATA_ENDPOINT:-http://169.254.169.254}
fetch() { curl --silent --show-error --fail --max-time 5 --retry 8 --retry-connrefused "$@"; }
token=$(fetch -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$metadata/latest/api/token")
of_me() { fetch -H "X-aws-ec2-metadata-token: $token" "$metadata/latest/meta-data/$1"; }
instance_id=$(of_me instance-id)
instance_type=$(of_me instance-type)

mkdir -p "$root/etc/longshore" "$root/var/lib/longshore-agent"
chmod 700 "$root/var/lib/longshore-agent"
"""

_IDENTITY = """\
printf 'LONGSHORE_INSTANCE_ID="%s"\\nLONGSHORE_INSTANCE_TYPE="%s"\\n' \\
    "$instance_id" "$instance_type" >> "$root/etc/longshore/agent.env"
chmod 600 "$root/etc/longshore/agent.env"

"""

_INSTALL = """\
have() { command -v "$1" >/dev/null 2>&1; }
add() {
    if have dnf; then dnf -y -q install "$@"
    elif have yum; then yum -y -q install "$@"
    else apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -y -q install "$@"
    fi
}
have docker || add docker || add docker.io
python=
for name in python3.14 python3.13 python3.12 python3.11; do
    if [ -z "$python" ] && have "$name"; then python=$name; fi
done
if [ -z "$python" ]; then
    for name in python3.12 python3.11; do
        if [ -z "$python" ] && add "$name"; then python=$name; fi
    done
fi
[ -n "$python" ]
# On Debian and its like, environments are a package of their own.
if ! "$python" -c 'import ensurepip'; then add "$python-venv"; fi
# The agent of Amazon's image would take the machine for its own.
systemctl disable --now ecs || true
"$python" -m venv "$root/opt/longshore"
"$root/opt/longshore/bin/pip" install --quiet --disable-pip-version-check -- PACKAGE
systemctl daemon-reload
systemctl enable --now docker
systemctl enable --now longshore-agent
"""

_UNIT = """\
[Unit]
Description=longshore agent
After=network-online.target docker.service
Wants=network-online.target docker.service
# An agent that has drained, or whose instance is over, exits cleanly: nothing else is to be done.
SuccessAction=poweroff

[Service]
Type=exec
EnvironmentFile=/etc/longshore/agent.env
ExecStart=/opt/longshore/bin/python -m longshore.agent
KillMode=process
TimeoutStopSec=30
Restart=on-failure
RestartSec=2
StateDirectory=longshore-agent
StateDirectoryMode=0700
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


def agent_environment(config: Ec2Config, compute_environment: str) -> dict[str, str]:
    """The settings of an agent, but those that only its machine knows."""
    return {
        "LONGSHORE_JOIN": config.join_address,
        "LONGSHORE_JOIN_TOKEN_FILE": TOKEN_PATH,
        "LONGSHORE_COMPUTE_ENVIRONMENT": compute_environment,
        "LONGSHORE_RUNTIME": "docker",
        "LONGSHORE_METADATA": "ec2",
        "AWS_REGION": config.region,
        "LONGSHORE_DATA_DIR": "/var/lib/longshore-agent",
        # Nodes of a multi-node job reach each other by the addresses of their machines.
        "LONGSHORE_NODE_NETWORK": "host",
        "LONGSHORE_STS_REGION": config.region,
        **dict(config.agent_settings),
    }


def boot_script(config: Ec2Config, compute_environment: str, token: str) -> str:
    """The script.

    Args:
        config: how the provider works.
        compute_environment: the instances'.
        token: by which they join; used up by as many as were ordered, and over soon.

    Raises:
        InvalidRequest: a setting has a character that an environment file cannot have.
    """
    lines = (
        f"{name}={_quoted(name, value)}\n"
        for name, value in agent_environment(config, compute_environment).items()
    )
    parts = [
        _HEAD,
        _written("/etc/longshore/agent.env", lines),
        f'(umask 077; : > "$root{TOKEN_PATH}")\n',
        _written(TOKEN_PATH, [f"{token}\n"]),
        _IDENTITY,
    ]
    if config.user_data == "ready":
        parts.append("systemctl restart longshore-agent\n")
    else:
        parts.append('mkdir -p "$root/etc/systemd/system"\n')
        parts.append(_written("/etc/systemd/system/longshore-agent.service", [_UNIT]))
        parts.append(_INSTALL.replace("PACKAGE", shlex.quote(config.package)))
    return "".join(parts)


def _written(path: str, texts: Iterable[str]) -> str:
    """A command that writes a file as it stands; no line of it is the delimiter."""
    return f"cat > \"$root{path}\" <<'END_OF_LONGSHORE'\n{''.join(texts)}END_OF_LONGSHORE\n"


def _quoted(name: str, value: str) -> str:
    """As systemd reads it in an environment file."""
    if not value.isprintable():
        raise InvalidRequest(f"{name} has a character that cannot be printed.")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def merged(own: str, given: str) -> str:
    """Our script after the user data of somebody's own launch template.

    Args:
        own: the boot script.
        given: a MIME multi-part document, or anything that cloud-init tells by its first line.

    Raises:
        InvalidRequest: together they are more than EC2 takes.
    """
    text = own if not given.strip() else _multipart(own, given)
    if len(text.encode()) > BYTES_MAXIMUM:
        raise InvalidRequest(
            f"The user data of the launch template and longshore's own are {len(text.encode())} "
            f"bytes together; EC2 takes {BYTES_MAXIMUM}."
        )
    return text


def _multipart(own: str, given: str) -> str:
    # Equal texts make equal documents: launch templates are told apart by what they hold.
    digest = hashlib.sha256(f"{given}\0{own}".encode()).hexdigest()
    whole = MIMEMultipart(boundary=f"longshore-{digest[:32]}")
    message = message_from_string(given, policy=policy.default)
    if isinstance(message, EmailMessage) and message.is_multipart():
        for part in message.iter_parts():
            whole.attach(part)
    else:
        whole.attach(MIMEText(given, _kind(given), "utf-8" if not given.isascii() else "us-ascii"))
    whole.attach(MIMEText(own, "x-shellscript", "utf-8" if not own.isascii() else "us-ascii"))
    return whole.as_string()


def _kind(text: str) -> str:
    """The subtype of `text/` by which cloud-init knows a part."""
    first = text.lstrip().split("\n", 1)[0]
    kinds = {
        "#cloud-config": "cloud-config",
        "#cloud-boothook": "cloud-boothook",
        "#include": "x-include-url",
    }
    return next((kind for start, kind in kinds.items() if first.startswith(start)), "x-shellscript")
