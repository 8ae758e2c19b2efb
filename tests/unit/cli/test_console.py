"""What is printed, on a terminal and elsewhere."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from longshore.v1 import job_pb2, provisioning_service_pb2, resources_pb2
from longshore_cli import console, instance


def test_messages_become_awss_json() -> None:
    job = job_pb2.JobDetail(
        job_id="a",
        created_at=1_700_000_000_000,
        is_cancelled=False,
        tags={"b": "2", "a": "1"},
        depends_on=[job_pb2.JobDependency(job_id="x")],
    )
    job.array_properties.status_summary["FAILED"] = 0
    assert console.plain(job) == {
        "jobId": "a",
        "createdAt": 1_700_000_000_000,
        "isCancelled": False,
        "tags": {"a": "1", "b": "2"},
        "dependsOn": [{"jobId": "x"}],
        "arrayProperties": {"statusSummary": {"FAILED": 0}},
    }
    assert console.plain(resources_pb2.Resources(vcpu_milli=1000)) == {"vcpuMilli": 1000}


def test_plain_table_has_a_whole_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(("NAME", "WHY"), [("a", "x" * 300), ("longer", "")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "NAME    WHY"
    assert lines[1] == "a       " + "x" * 300
    assert lines[2] == "longer"


def test_table_on_a_terminal_keeps_the_first_column_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=30, color_system=None)
    monkeypatch.setattr(console, "is_terminal", lambda _: True)
    monkeypatch.setattr(console, "out", lambda: terminal)
    console.table(("JOB", "WHY"), [("0123456789abcdef", "many words that need folding")])
    lines = output.getvalue().splitlines()
    assert "0123456789abcdef" in lines[1]
    assert len(lines) > 2
    assert max(map(len, lines)) <= 30


@pytest.mark.parametrize(
    ("width", "headers"),
    [
        (140, ["JOB", "NAME", "STATUS", "CREATED", "WHY"]),
        (100, ["JOB", "NAME", "STATUS", "CREATED"]),
        (80, ["JOB", "NAME", "STATUS"]),
    ],
)
def test_narrow_terminal_goes_without_spare_columns_rather_than_fold_short_ones(
    monkeypatch: pytest.MonkeyPatch, width: int, headers: list[str]
) -> None:
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr(console, "is_terminal", lambda _: True)
    monkeypatch.setattr(console, "out", lambda: terminal)
    console.table(
        ("JOB", "NAME", "STATUS", "CREATED", "WHY"),
        [("i" * 36, "n" * 14, "SUCCEEDED", "2026-11-22 13:05:40", "because " * 4)],
        spare=("WHY", "CREATED"),
    )
    lines = output.getvalue().splitlines()
    assert lines[0].split() == headers
    assert lines[1].split()[:3] == ["i" * 36, "n" * 14, "SUCCEEDED"]
    assert max(map(len, lines)) <= width


_IDS = st.sampled_from(["i-0123456789abcdef0", "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "e" * 128])


@given(
    rows=st.lists(
        st.tuples(_IDS, *(st.text("abc -/()", max_size=60) for _ in range(11))), max_size=4
    ),
    width=st.integers(min_value=1, max_value=250),
)
def test_ids_are_never_cut(rows: list[tuple[str, ...]], width: int) -> None:
    """Whole where the terminal is as wide, folded with every character elsewhere."""
    headers = tuple(f"HEADER {letter}" for letter in "ABCDEFGHIJKL")
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=width, color_system=None)
    terminal.print(console.fitted([headers, *rows], width, headers[1:5]))
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for identifier in {row[0] for row in rows}:
        if len(identifier) <= width:
            assert sum(line.startswith(identifier) for line in lines) >= 1
        else:
            assert identifier in "".join(line.strip() for line in lines)


def test_the_instances_of_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(console, "is_terminal", lambda _: True)
    monkeypatch.setattr(console, "out", lambda: terminal)
    instance.show(
        [
            provisioning_service_pb2.InstanceDetail(
                instance_id="i-0123456789abcdef0",
                compute_environment="a-compute-environment-of-a-name",
                status="STARTING",
                instance_type="local.16xlarge",
                vcpus=128,
                held_vcpus=127.25,
                live_attempts=1000,
            )
        ]
    )
    (row,) = (line for line in output.getvalue().splitlines() if line.startswith("i-"))
    assert row.split()[0] == "i-0123456789abcdef0"
    assert "STARTING" in row
    assert "127.25/128" in row


def test_markup_in_values_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.fields([("name", "[bold]x[/bold]"), ("empty", "")])
    console.fail("[red]no[/red]")
    printed = capsys.readouterr()
    assert printed.out == "name  [bold]x[/bold]\n"
    assert printed.err == "longshore: [red]no[/red]\n"


def test_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json([{"a": 1}])
    console.print_json_line({"b": 2})
    out = capsys.readouterr().out
    assert json.loads(out.rpartition("{")[0]) == [{"a": 1}]
    assert out.endswith('{"b": 2}\n')


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, ""), (1500, "1.5s"), (61_000, "1m01s"), (3_723_000, "1h02m03s")],
)
def test_durations(milliseconds: int, text: str) -> None:
    assert console.duration(1000, 1000 + milliseconds if milliseconds else 0) == text


def test_times_and_names() -> None:
    assert console.when(0) == ""
    assert console.when(1_700_000_000_000).startswith("2023-11-1")
    assert console.short("arn:aws:batch:r:1:job-queue/default") == "default"
    assert console.short("default") == "default"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0000123, "0.000012"), (0.085, "0.0850"), (1234.567, "1,234.57")],
)
def test_dollars(value: float, text: str) -> None:
    assert console.dollars(value) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (8, "8"), (0.25, "0.25"), (1.50, "1.5")])
def test_quantities(value: float, text: str) -> None:
    assert console.number(value) == text


HOSTILE = "a\x1b[31mb\r\x07\x9b2J\u202ec\td"
NAMED = "a\\x1b[31mb\\r\\x07\\x9b2J\\u202ec\\td"


@pytest.mark.parametrize("on_terminal", [False, True])
def test_what_others_have_named_does_nothing_to_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], on_terminal: bool
) -> None:
    """Escapes, a carriage return, an inverted order: each is shown by its number."""
    if on_terminal:
        monkeypatch.setattr(console, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "200")
    console.table(("NAME", "WHY"), [("x", HOSTILE + "\nFAKE")])
    console.fields([("reason", HOSTILE), ("tags", "z")])
    console.say(HOSTILE)
    console.fail(HOSTILE)
    shown = capsys.readouterr()
    for text, times in ((shown.out, 2), (shown.err, 2)):
        assert text.count(NAMED) == times
        assert not set(text) & set("\x07\r\x9b\u202e\t")
    assert f"{NAMED}\\nFAKE" in shown.out


def test_no_line_of_a_value_looks_like_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    console.fields([("reason", "no\nstatus      SUCCEEDED"), ("queue", "q")])
    assert capsys.readouterr().out.splitlines() == [
        "reason  no",
        "        status      SUCCEEDED",
        "queue   q",
    ]


def test_letters_of_all_scripts_are_shown_as_they_are() -> None:
    for text in ("né", "שלום", "日本語", "👩‍🚀", "a\\b"):
        assert console.harmless(text) == text
