"""Reading logs: positions, broken streams, attempts."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from unit.client.service import Script

from longshore.v1 import job_pb2, log_service_pb2
from longshore_cli import array_logs, streams
from longshore_client import Client, InvalidRequest, NotFound, Timeout, logs


def _part(*texts: str, end: int, complete: bool = False) -> log_service_pb2.TailLogsResponse:
    return log_service_pb2.TailLogsResponse(
        entries=[
            log_service_pb2.LogEntry(
                time=Timestamp(seconds=1), source=log_service_pb2.LOG_SOURCE_STDOUT, text=t.encode()
            )
            for t in texts
        ],
        next_offset=end,
        complete=complete,
    )


def _job(status: str, *streams: str, current: str = "", array: int = 0):  # noqa: ANN202
    job = job_pb2.JobDetail(
        job_id="j",
        status=status,
        attempts=[
            job_pb2.AttemptDetail(
                container=job_pb2.AttemptContainerDetail(log_stream_name=stream or None)
            )
            for stream in streams
        ],
        container=job_pb2.ContainerDetail(log_stream_name=current or None),
    )
    if array:
        job.array_properties.size = array
    return lambda _: job_pb2.DescribeJobsResponse(jobs=[job])


async def test_broken_stream_goes_on_where_it_broke(client: Client, script: Script) -> None:
    script.tails = [
        [_part("1", "2", end=20), grpc.StatusCode.UNAVAILABLE],
        [_part("3", end=30, complete=True)],
    ]
    read = [line.text async for line in client.tail_logs("log", follow=True, tail_lines=5)]
    assert read == ["1", "2", "3"]
    first, second = script.sent("TailLogs")
    assert (first.offset, first.tail_lines) == (0, 5)
    assert (second.offset, second.tail_lines) == (20, 0)


async def test_stream_that_ends_early_is_followed_again(client: Client, script: Script) -> None:
    """A log service that stops in good order ends the stream while the log goes on."""
    script.tails = [[_part("1", end=10)], [_part("2", end=20, complete=True)]]
    assert [line.text async for line in client.tail_logs("log", follow=True)] == ["1", "2"]


async def test_without_follow_what_is_there_is_all(client: Client, script: Script) -> None:
    script.tails = [[_part("1", end=10)]]
    assert [line.text async for line in client.tail_logs("log")] == ["1"]


async def test_unknown_log(client: Client, script: Script) -> None:
    script.tails = [[grpc.StatusCode.NOT_FOUND]]
    with pytest.raises(NotFound):
        [line async for line in client.tail_logs("log")]


async def test_attempts_come_in_order_with_their_numbers(client: Client, script: Script) -> None:
    script.on("DescribeJobs", _job("SUCCEEDED", "one", "", "three", current="three"))
    script.tails = [[_part("a", end=1, complete=True)], [_part("b", end=1, complete=True)]]
    read = [(line.attempt, line.text) async for line in client.job_logs("j")]
    assert read == [(1, "a"), (3, "b")]


async def test_only_one_attempt(client: Client, script: Script) -> None:
    script.on("DescribeJobs", _job("SUCCEEDED", "one", "two"))
    script.tails = [[_part("b", end=1, complete=True)]]
    assert [line.text async for line in client.job_logs("j", attempt=2)] == ["b"]
    assert script.sent("TailLogs")[0].log_stream_name == "two"


async def test_a_log_is_in_the_group_that_its_job_names(client: Client, script: Script) -> None:
    described = _job("SUCCEEDED", "one")(None)
    logging = described.jobs[0].container.log_configuration
    logging.log_driver, logging.options["awslogs-group"] = "awslogs", "/team/jobs"
    script.on("DescribeJobs", lambda _: described)
    script.tails = [[_part("a", end=1, complete=True)]]
    assert [line.text async for line in client.job_logs("j")] == ["a"]
    assert script.sent("TailLogs")[0].log_group_name == "/team/jobs"


async def test_following_waits_for_the_job_to_start(client: Client, script: Script) -> None:
    script.on(
        "DescribeJobs",
        _job("RUNNABLE"),
        _job("RUNNING", current="one"),
        _job("SUCCEEDED", "one", current="one"),
    )
    script.tails = [[_part("a", end=1, complete=True)]]
    assert [line.text async for line in client.job_logs("j", follow=True)] == ["a"]


async def test_log_without_an_end_is_left_after_its_attempt(
    client: Client, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that is lost never sends the rest of its logs, and that is said."""
    monkeypatch.setattr(logs, "REST_SECONDS", 1.0)
    script.on("DescribeJobs", _job("RUNNING", current="one"), _job("FAILED", "one"))
    script.tails = [[_part("a", end=1)], *([] for _ in range(100))]
    read = [line.text async for line in client.job_logs("j", follow=True)]
    assert read == ["a", logs.NO_REST]


@pytest.mark.parametrize("follow", [True, False])
async def test_an_ended_log_is_read_to_its_end_however_long_that_takes(
    client: Client, script: Script, monkeypatch: pytest.MonkeyPatch, follow: bool
) -> None:
    """Only silence ends it early."""
    monkeypatch.setattr(logs, "REST_SECONDS", 1.0)
    script.on("DescribeJobs", _job("SUCCEEDED", "one"))
    parts = [_part(str(number), end=number + 1, complete=number == 39) for number in range(40)]
    script.tails = [parts]
    read = []
    async for line in client.job_logs("j", follow=follow):
        read.append(line.text)
        await asyncio.sleep(0.03)
    assert read == [str(number) for number in range(40)]


async def test_reading_goes_on_when_one_call_takes_too_long(client: Client, script: Script) -> None:
    script.tails = [
        [_part("1", end=10), grpc.StatusCode.DEADLINE_EXCEEDED],
        [_part("2", end=20, complete=True)],
    ]
    assert [line.text async for line in client.tail_logs("log")] == ["1", "2"]
    script.tails = [[grpc.StatusCode.DEADLINE_EXCEEDED]]
    with pytest.raises(Timeout):
        [line async for line in client.tail_logs("log")]


async def test_following_can_be_cancelled_while_nothing_is_printed(
    client: Client, script: Script
) -> None:
    script.on("DescribeJobs", _job("RUNNING", current="one"))
    script.tails = [[_part("a", end=1)], *([] for _ in range(100))]
    printed = asyncio.Event()

    async def follow() -> None:
        async for _ in client.job_logs("j", follow=True):
            printed.set()

    following = asyncio.create_task(follow())
    await printed.wait()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_array_job_has_no_log_of_its_own(client: Client, script: Script) -> None:
    script.on("DescribeJobs", _job("PENDING", array=3))
    with pytest.raises(InvalidRequest, match="j:0"):
        [line async for line in client.job_logs("j")]


def _nodes(job_status: str, node_status: str, *streams: str, current: str = ""):  # noqa: ANN202
    """A multi-node job whose main node is 1, and that node."""
    job = job_pb2.JobDetail(job_id="j", status=job_status)
    job.node_properties.num_nodes, job.node_properties.main_node = 2, 1
    known = {"j": job, "j#1": _job(node_status, *streams, current=current)(None).jobs[0]}
    known["j#1"].job_id = "j#1"
    return lambda request: job_pb2.DescribeJobsResponse(
        jobs=[known[name] for name in request.jobs if name in known]
    )


async def test_a_multi_node_job_prints_what_its_main_node_prints(
    client: Client, script: Script
) -> None:
    script.on("DescribeJobs", _nodes("SUCCEEDED", "SUCCEEDED", "one", current="one"))
    for name in ("j", "j#1"):
        script.tails = [[_part("a", end=1, complete=True)]]
        assert [line.text async for line in client.job_logs(name)] == ["a"]
    with pytest.raises(NotFound, match="j#7"):
        [line async for line in client.job_logs("j#7")]


async def test_following_a_node_goes_on_while_its_job_may_be_tried_again(
    client: Client, script: Script
) -> None:
    script.on(
        "DescribeJobs",
        _nodes("RUNNING", "RUNNING", current="one"),
        _nodes("RUNNING", "RUNNING", current="one"),
        _nodes("RUNNING", "FAILED", "one", current="one"),
        _nodes("RUNNABLE", "RUNNABLE", "one"),
        _nodes("RUNNING", "RUNNING", "one", current="two"),
        _nodes("SUCCEEDED", "SUCCEEDED", "one", "two", current="two"),
    )
    script.tails = [[_part("a", end=1, complete=True)], [_part("b", end=1, complete=True)]]
    read = [(line.attempt, line.text) async for line in client.job_logs("j", follow=True)]
    assert read == [(1, "a"), (2, "b")]


def test_bytes_that_are_no_text_are_replaced() -> None:
    entry = log_service_pb2.LogEntry(text=b"a\xffb", source=log_service_pb2.LOG_SOURCE_STDERR)
    line = logs.LogLine.from_entry(entry)
    assert (line.text, line.is_stderr) == ("a\ufffdb", True)


class _Array:
    """An array of which all children are over, as the scripted service tells of it."""

    def __init__(self, script: Script, statuses: list[str]) -> None:
        self.statuses = statuses
        script.on("DescribeJobs", self._describe)
        script.on("ListJobs", self._list)

    def _describe(self, request: job_pb2.DescribeJobsRequest) -> job_pb2.DescribeJobsResponse:
        found = []
        for job_id in request.jobs:
            job = job_pb2.JobDetail(job_id=job_id, status="FAILED")
            job.array_properties.size = len(self.statuses)
            if ":" in job_id:
                index = int(job_id.partition(":")[2])
                job.status = self.statuses[index]
                job.array_properties.index = index
                job.container.log_stream_name = f"log-{index}"
            found.append(job)
        return job_pb2.DescribeJobsResponse(jobs=found)

    def _list(self, request: job_pb2.ListJobsRequest) -> job_pb2.ListJobsResponse:
        return job_pb2.ListJobsResponse(
            job_summary_list=[
                job_pb2.JobSummary(job_id=f"{request.array_job_id}:{index}")
                for index, status in enumerate(self.statuses)
                if status == request.job_status
            ]
        )


def _files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


async def test_logs_of_an_array_go_into_a_folder_and_complete_ones_are_not_read_again(
    client: Client, script: Script, tmp_path: Path
) -> None:
    array = _Array(script, ["SUCCEEDED"] * 9 + ["RUNNING", "FAILED"])
    script.tails = [[_part("a\x00", "b", end=9, complete=True)] for _ in range(11)]
    told = await array_logs.save(client, "j", tmp_path / "logs", [])
    assert (told.children, told.saved, told.present) == (11, 10, 0)
    assert told.incomplete == ["j:9"]
    names = [f"j-{n:02}.log" + (".part" if n == 9 else "") for n in range(11)]
    assert _files(tmp_path / "logs") == dict.fromkeys(names, "a\x00\nb\n")

    array.statuses[9] = "SUCCEEDED"
    script.tails = [[_part("all", end=9, complete=True)]]
    told = await array_logs.save(client, "j", tmp_path / "logs", [])
    assert (told.children, told.saved, told.present, told.incomplete) == (11, 1, 10, [])
    assert _files(tmp_path / "logs")["j-09.log"] == "all\n"


async def test_only_failed_children(client: Client, script: Script, tmp_path: Path) -> None:
    _Array(script, ["SUCCEEDED", "FAILED", "SUCCEEDED"])
    script.tails = [[_part("why", end=9, complete=True)]]
    told = await array_logs.save(client, "j", tmp_path, ["FAILED"])
    assert (told.children, told.saved) == (1, 1)
    assert _files(tmp_path) == {"j-1.log": "why\n"}


@pytest.mark.parametrize("lines", [1, 100_000], ids=["as it is closed", "as it is written"])
async def test_a_folder_that_is_full_is_told_by_its_file(
    client: Client, script: Script, tmp_path: Path, lines: int
) -> None:
    """Not by standard output, of which alone errors have no name."""
    _Array(script, ["FAILED"])
    script.tails = [[_part(*["why"] * lines, end=9, complete=True)]]
    part = tmp_path / "j-0.log.part"
    part.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        await array_logs.save(client, "j", tmp_path, [])
    assert caught.value.filename == str(part)
    assert not streams.is_output(caught.value)


async def test_a_log_that_is_gone_is_not_complete(
    client: Client, script: Script, tmp_path: Path
) -> None:
    _Array(script, ["FAILED", "FAILED"])
    script.tails = [[grpc.StatusCode.NOT_FOUND], [_part("b", end=1, complete=True)]]
    told = await array_logs.save(client, "j", tmp_path, [])
    assert len(told.incomplete) == told.saved == 1


async def test_what_is_on_its_way_when_a_child_ends_is_waited_for(
    client: Client, script: Script
) -> None:
    job = job_pb2.JobDetail(job_id="j:0", status="FAILED", stopped_at=int(time.time() * 1000))
    job.container.log_stream_name = "log"
    script.tails = [[_part("a", end=1)], [_part("b", end=2, complete=True)]]
    printed: list[bytes] = []

    async def write(piece: bytes) -> None:
        printed.append(piece)

    assert await client.copy_logs(job, write)
    assert printed == [b"a\n", b"b\n"]
    assert [(r.offset, r.follow) for r in script.sent("TailLogs")] == [(0, False), (1, True)]


async def test_a_job_without_children_has_no_logs_of_children(
    client: Client, script: Script, tmp_path: Path
) -> None:
    script.on("DescribeJobs", _job("FAILED", "one"))
    with pytest.raises(InvalidRequest, match="j has no children"):
        await array_logs.save(client, "j", tmp_path, [])


def _said(at: datetime, *texts: str, complete: bool = False) -> log_service_pb2.TailLogsResponse:
    part = _part(*texts, end=1, complete=complete)
    for entry in part.entries:
        entry.time.FromDatetime(at)
    return part


async def test_what_an_agent_says_is_read_day_after_day(client: Client, script: Script) -> None:
    now = datetime.now(UTC)
    since = now - timedelta(days=2)
    script.tails = [
        [_said(since - timedelta(seconds=1), "early"), _said(since, "one", complete=True)],
        [grpc.StatusCode.NOT_FOUND],
        [_said(now, "two")],
        [grpc.StatusCode.NOT_FOUND],  # where the day ends just now
    ]
    read = [line.text async for line in client.agent_logs("i-1", "engine", since=since)]
    assert read == ["one", "two"]
    sent = script.sent("TailLogs")[:3]
    days = [(since + timedelta(days=number)).date() for number in range(3)]
    assert [one.log_stream_name for one in sent] == [f"i-1/engine/{day}" for day in days]
    assert {one.log_group_name for one in sent} == {"/longshore/agent"}


async def test_an_agent_s_next_day_is_followed_when_one_ends(
    client: Client, script: Script
) -> None:
    now = datetime.now(UTC)
    script.tails = [[_said(now, "one", complete=True)], [_said(now, "two", complete=True)]]
    lines = client.agent_logs("i-1", since=now, follow=True)
    assert [(await anext(lines)).text, (await anext(lines)).text] == ["one", "two"]
    await lines.aclose()
    first, second = script.sent("TailLogs")
    assert first.follow
    assert second.log_stream_name > first.log_stream_name


async def test_an_agent_that_nobody_knows(client: Client, script: Script) -> None:
    script.tails = [[grpc.StatusCode.NOT_FOUND]] * 2
    with pytest.raises(NotFound, match="Nothing is known of what the agent of i-1 has said"):
        [line async for line in client.agent_logs("i-1", since=datetime.now(UTC))]
