"""Records are written beside calls, each in the end, whatever happens to those who keep them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs
from support.patience import PATIENCE_SECONDS

from longshore.domain.audit import record as audit
from longshore.domain.audit.record import AuditedCaller, AuditRecord
from longshore.domain.errors import InvalidRequest, Unavailable
from longshore.runtime import recorder
from longshore.runtime.recorder import Recorder

CALLER = AuditedCaller(
    address="", user_agent="", access_key_id=None, request_id="r", account="1" * 12, region="r"
)
AT = datetime(2026, 11, 28, tzinfo=UTC)


def a_record(number: int = 0) -> AuditRecord:
    return audit.record_of(
        at=AT,
        event_id=audit.event_id_at(AT, number),
        source="s",
        name=f"Call{number}",
        caller=CALLER,
        parameters=None,
    )


class Kept:
    """Keeps what it is given, unless it is told to fail."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[str], bool]] = []
        self.failures: list[Exception] = []
        self.poison = ""
        self.written = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()

    async def write(self, records: Sequence[AuditRecord], *, is_repeated: bool) -> None:
        await self.may_write.wait()
        names = [record.event_name for record in records]
        if self.failures:
            raise self.failures.pop(0)
        if self.poison in names:
            raise InvalidRequest("no record")
        self.batches.append((names, is_repeated))
        self.written.set()

    @property
    def names(self) -> list[str]:
        return [name for names, _ in self.batches for name in names]


async def test_what_comes_while_one_batch_is_written_makes_up_the_next() -> None:
    kept = Kept()
    made = Recorder(kept.write)
    kept.may_write.clear()
    async with made.running():
        await made.reserve()
        made.put(a_record(0))
        await asyncio.sleep(0)
        for number in (1, 2, 3):
            await made.reserve()
            made.put(a_record(number))
        kept.may_write.set()
    assert kept.names == ["Call0", "Call1", "Call2", "Call3"]
    assert len(kept.batches) <= 2


async def test_what_is_not_written_is_tried_again_as_perhaps_written() -> None:
    kept = Kept()
    kept.failures = [Unavailable("away")]
    made = Recorder(kept.write)
    async with made.running():
        await made.reserve()
        made.put(a_record())
        await asyncio.wait_for(kept.written.wait(), PATIENCE_SECONDS)
    assert kept.batches == [(["Call0"], True)]


async def test_one_that_is_not_taken_keeps_no_other_out() -> None:
    kept = Kept()
    kept.poison = "Call1"
    made = Recorder(kept.write)
    with capture_logs() as logs:
        async with made.running():
            for number in range(3):
                await made.reserve()
                made.put(a_record(number))
    assert kept.names == ["Call0", "Call2"]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["audit.refused"]


async def test_without_a_place_calls_wait_and_are_then_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorder, "PATIENCE_SECONDS", 0.01)
    made = Recorder(Kept().write, places=1)
    await made.reserve()
    assert not made.try_reserve()
    with pytest.raises(Unavailable, match="cannot be recorded"):
        await made.reserve()
    waiting = asyncio.create_task(made.reserve())
    monkeypatch.setattr(recorder, "PATIENCE_SECONDS", 20)
    made.release()
    await waiting


async def test_what_cannot_be_written_until_the_end_is_said_to_be_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorder, "DRAIN_SECONDS", 0.01)
    kept = Kept()
    kept.may_write.clear()
    made = Recorder(kept.write)
    with capture_logs() as logs:
        async with made.running():
            await made.reserve()
            made.put(a_record())
    assert next(line for line in logs if line["event"] == "audit.lost")["records"] == 1
