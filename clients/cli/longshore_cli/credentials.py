"""`credentials`: what lets AWS's own clients find longshore."""

import os
import shlex
from pathlib import Path

import typer

from longshore_cli import console
from longshore_cli.settings import settings
from longshore_client.credentials import KEY_ID, SECRET

#: Services that the gateway speaks, as their variables name them. Never all of AWS's at once, by
#: AWS_ENDPOINT_URL: that would send S3 and everything else here as well.
SERVICES = ("BATCH", "CLOUDWATCH_LOGS", "EVENTBRIDGE", "CLOUDTRAIL", "ECS")


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(credentials)


def credentials() -> None:
    """Print the variables by which AWS's clients find longshore.

    For a shell: eval "$(longshore credentials)". Each service that longshore speaks has a variable
    of its own, so that all others stay with AWS. The access key is the one that this command calls
    with: the environment's, else that of who owns the stack.
    """
    url = f"http://{settings.gateway}"
    found = {f"AWS_ENDPOINT_URL_{service}": url for service in SERVICES}
    key = settings.access_key
    if key is not None:
        found |= {
            "AWS_ACCESS_KEY_ID": key.access_key_id,
            "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
            # One that is left from elsewhere would be sent with this key.
            "AWS_SESSION_TOKEN": "",
            # The same, for clients of gRPC.
            KEY_ID: key.access_key_id,
            SECRET: key.secret_access_key,
        }
    elif not _has_credentials():
        # A stack that is open takes any.
        found |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    if not _has_region():
        found["AWS_DEFAULT_REGION"] = "us-east-1"
    for name, value in found.items():
        console.line(f"export {name}={shlex.quote(value)}")
    console.line("# aws logs start-live-tail also wants AWS_DISABLE_HOST_PREFIX_INJECTION=true")


def _has_credentials() -> bool:
    """Whether AWS's clients find any without us, as far as can be told without asking."""
    named = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
    return any(os.environ.get(name) for name in named) or _is_there(
        "AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"
    )


def _has_region() -> bool:
    return any(
        os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE")
    ) or _is_there("AWS_CONFIG_FILE", "~/.aws/config")


def _is_there(variable: str, usual: str) -> bool:
    try:
        return Path(os.environ.get(variable) or usual).expanduser().exists()
    except RuntimeError:
        return False  # there is no home
