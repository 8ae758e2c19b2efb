"""Where the commands are: a module is imported when one of its commands is used.

What commands import, gRPC and the messages first of all, takes far longer than most of them do.
"""

import importlib
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """A command that is not loaded yet."""

    #: Of this package; it has `register`, or `app` where it is a group of commands.
    module: str
    #: First sentence of its help, for the list of commands.
    summary: str
    is_group: bool = False

    def load(self, name: str) -> Any:
        """The command itself, a `TyperCommand` or `TyperGroup`."""
        module = importlib.import_module(f"longshore_cli.{self.module}")
        parent = typer.Typer(rich_markup_mode=None)
        if self.is_group:
            parent.add_typer(module.app, name=name)
        else:
            module.register(parent)
        return typer.main.get_group(parent).commands[name]


#: By name, in the order in which help lists them.
ENTRIES = {
    "up": LazyCommand("stack", "Start longshore on this machine."),
    "status": LazyCommand("stack", "Show services and their health, jobs by status, capacity."),
    "down": LazyCommand("stack", "Stop longshore on this machine."),
    "run": LazyCommand("run", "Submit a job, follow its log, and leave with its exit code."),
    "submit": LazyCommand("submit", "Submit a job and print its id."),
    "jobs": LazyCommand("inspect_jobs", "List jobs, newest first."),
    "describe": LazyCommand("inspect_jobs", "Show everything known of jobs."),
    "logs": LazyCommand("inspect_jobs", "Print what a job printed, attempt after attempt."),
    "wait": LazyCommand("inspect_jobs", "Wait until jobs have ended."),
    "explain": LazyCommand("inspect_jobs", "Say why a job is where it is."),
    "cancel": LazyCommand("stop_jobs", "Ask that jobs which have not started do not run."),
    "terminate": LazyCommand("stop_jobs", "End jobs in whatever status they are."),
    "update": LazyCommand("change_jobs", "Change a job that has not started."),
    "rerun": LazyCommand(
        "change_jobs", "Run the failed children of an array again, as a new array."
    ),
    "capacity": LazyCommand(
        "capacity", "Show what compute environments have, and the last decision about each."
    ),
    "activities": LazyCommand(
        "capacity", "List scaling decisions that changed something, newest first."
    ),
    "cost": LazyCommand("capacity", "Show what instances cost so far, in US dollars."),
    "instances": LazyCommand("instance", "List instances, the newest order first."),
    "instance": LazyCommand("instance", "One instance.", is_group=True),
    "audit": LazyCommand("audit", "Who called what, the newest first.", is_group=True),
    "image": LazyCommand("image", "Container images.", is_group=True),
    "events": LazyCommand("events", "Print events as they happen, or those of a time before."),
    "dead-letter": LazyCommand("dead_letter", "Events that could not be delivered.", is_group=True),
    "simulate": LazyCommand(
        "simulate", "Run a workload in virtual time; print makespan, waiting times and cost."
    ),
    "token": LazyCommand("token", "Tokens by which machines join.", is_group=True),
    "ca": LazyCommand("ca", "The stack's certificate authority.", is_group=True),
    "agent": LazyCommand("agent", "Run jobs of an unmanaged compute environment on this machine."),
    "credentials": LazyCommand(
        "credentials", "Print the variables by which AWS's clients find longshore."
    ),
    "user": LazyCommand("user", "People and programs that call.", is_group=True),
    "key": LazyCommand("key", "Access keys.", is_group=True),
    "access": LazyCommand("access", "What users may do.", is_group=True),
    "queue": LazyCommand("queue", "Job queues.", is_group=True),
    "policy": LazyCommand("policy", "Scheduling policies.", is_group=True),
    "consumable": LazyCommand("consumable", "Consumable resources.", is_group=True),
    "schedule": LazyCommand("schedule", "Jobs that are submitted by the clock.", is_group=True),
    "rule": LazyCommand("rule", "Rules of events.", is_group=True),
    "env": LazyCommand("environment", "Compute environments.", is_group=True),
    "definition": LazyCommand("definition", "Job definitions.", is_group=True),
    "secret": LazyCommand("secret", "Longshore's own secrets on this machine.", is_group=True),
    "catalogue": LazyCommand(
        "catalogue", "Instance types: what they offer and cost.", is_group=True
    ),
}


class _Commands(MutableMapping[str, Any]):
    """Commands by name, each loaded when it is asked for."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = ENTRIES[name].load(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*ENTRIES, *self._loaded)))

    def __len__(self) -> int:
        return len(ENTRIES.keys() | self._loaded.keys())


class LazyGroup(TyperGroup):
    """The command itself: lists its sub-commands without loading them."""

    def __init__(self, **attrs: Any) -> None:
        own = attrs.pop("commands", None) or {}
        super().__init__(**attrs)
        self.commands = _Commands()
        self.commands.update(own)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature is typer's
        """Names, in the order of help."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list of commands into the help."""
        rows = []
        for name in self.list_commands(ctx):
            entry = ENTRIES.get(name)
            summary = self.commands[name].get_short_help_str() if entry is None else entry.summary
            rows.append((name, summary))
        with formatter.section("Commands"):
            formatter.write_dl(rows)
