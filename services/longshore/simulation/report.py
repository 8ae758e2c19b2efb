"""A summary as JSON for programs and as text for people."""

import io

import msgspec
from rich.console import Console
from rich.table import Table

from longshore.simulation.summary import Summary

HOUR_SECONDS = 3600.0
#: Of a text report's width.
COLUMNS = 100


def to_json(summary: Summary) -> str:
    """For programs."""
    return msgspec.json.format(msgspec.json.encode(summary), indent=2).decode()


def to_text(summary: Summary, width: int = COLUMNS) -> str:
    """For people."""
    output = io.StringIO()
    console = Console(file=output, width=width, highlight=False, soft_wrap=True)
    console.print(f"{summary.workload}, seed {summary.seed}", markup=False)
    _print_facts(console, summary)
    console.print()
    console.print(_waits_table(summary), soft_wrap=False)
    console.print()
    if summary.shares:
        console.print(_shares_table(summary), soft_wrap=False)
        console.print()
    if summary.consumable_resources:
        console.print(_consumables_table(summary), soft_wrap=False)
        console.print()
    console.print(_environments_table(summary), soft_wrap=False)
    if summary.instance_types:
        console.print()
        console.print(_types_table(summary), soft_wrap=False)
    for env in summary.compute_environments:
        if env.status != "VALID":
            console.print(f"{env.name} is {env.status}: {env.status_reason}", markup=False)
    for blocked in summary.blocked:
        count = f"{blocked.jobs:,} job" + ("" if blocked.jobs == 1 else "s")
        console.print(f"{count} of {blocked.queue}: {blocked.reason}", markup=False)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


def _print_facts(console: Console, summary: Summary) -> None:
    jobs = summary.jobs
    ends = [f"{jobs.succeeded:,} SUCCEEDED", f"{jobs.failed:,} FAILED"]
    if jobs.unfinished:
        ends.append(f"{jobs.unfinished:,} unfinished")
    idle = summary.idle_cost / summary.cost if summary.cost else 0.0
    facts = [
        ("makespan", span(summary.makespan_seconds)),
        ("jobs", f"{jobs.total:,}: {', '.join(ends)}"),
        ("cost", f"${summary.cost:,.4f}, of it ${summary.idle_cost:,.4f} ({idle:.0%}) idle"),
        ("vCPUs", f"{summary.vcpu_utilisation:.1%} used, {summary.peak_vcpus:g} at the peak"),
        ("interruptions", f"{summary.interruptions:,}"),
        ("retries", f"{jobs.attempts_retried:,}"),
    ]
    if summary.capacity_errors:
        facts.append(("capacity errors", f"{summary.capacity_errors:,}"))
    for name, value in facts:
        console.print(f"{name:<16}{value}", markup=False)


def _waits_table(summary: Summary) -> Table:
    table = _table("QUEUE", "STARTED", "WAIT MEDIAN", "P95", "MAX")
    for wait in summary.waits:
        values = (wait.median_seconds, wait.p95_seconds, wait.max_seconds)
        table.add_row(
            wait.queue,
            f"{wait.started:,}",
            *("-" if value is None else span(value) for value in values),
        )
    return table


def _shares_table(summary: Summary) -> Table:
    table = _table("QUEUE", "SHARE", "WEIGHT", "VCPU HOURS", "OF ALL")
    totals: dict[str, float] = {}
    for share in summary.shares:
        totals[share.queue] = totals.get(share.queue, 0.0) + share.vcpu_seconds
    for share in summary.shares:
        part = share.vcpu_seconds / totals[share.queue] if totals[share.queue] else 0.0
        table.add_row(
            share.queue,
            share.share_identifier,
            f"{share.weight_factor:g}",
            f"{share.vcpu_seconds / 3600:,.2f}",
            f"{part:.1%}",
        )
    return table


def _consumables_table(summary: Summary) -> Table:
    table = _table("RESOURCE", "TYPE", "TOTAL", "PEAK IN USE", "GIVEN")
    for one in summary.consumable_resources:
        figures = (one.total_quantity, one.peak_in_use, one.given)
        table.add_row(one.name, one.resource_type, *(f"{figure:,}" for figure in figures))
    return table


def _environments_table(summary: Summary) -> Table:
    table = _table(
        "ENVIRONMENT", "INSTANCES", "PEAK VCPUS", "USED", "COST", "IDLE COST", "INTERRUPTED"
    )
    for env in summary.compute_environments:
        table.add_row(
            env.name,
            f"{env.instances:,}",
            f"{env.peak_vcpus:g} of {env.maxv_cpus}",
            f"{env.vcpu_utilisation:.1%}",
            f"${env.cost:,.4f}",
            f"${env.idle_cost:,.4f}",
            f"{env.interruptions:,}",
        )
    return table


def _types_table(summary: Summary) -> Table:
    table = _table("INSTANCE TYPE", "OPTION", "INSTANCES")
    for kind in summary.instance_types:
        table.add_row(kind.instance_type, kind.purchase_option, f"{kind.instances:,}")
    return table


def _table(first: str, *headers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first)
    for header in headers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def span(seconds: float) -> str:
    """Seconds as people say them: `4.2 s`, `12 min 30 s`, `3 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / HOUR_SECONDS)
    return f"{hours // 24} d {hours % 24:02d} h"
