"""How a batch of calls is written that the database does not take as it is."""

import uuid
from collections.abc import Sequence
from typing import Any, cast

from longshore.domain.errors import Unavailable
from longshore.domain.limits import LONGSHORE
from longshore.domain.request.submission import Submission
from longshore.submission.submit import Submitter


class Failing(Submitter):
    """Refuses batches with a bad call, and loses its database after some that it stored."""

    def __init__(self, stores: int) -> None:
        super().__init__(cast("Any", None), cast("Any", None), LONGSHORE)
        self.stored: list[str] = []
        self._left = stores

    async def _write_once(self, batch: Sequence[Submission]) -> Sequence[uuid.UUID | Exception]:
        calls = cast("Sequence[str]", batch)
        if self._left <= 0:
            raise Unavailable("away")
        if "bad" in calls:
            raise ValueError("no place in the column")
        self._left -= 1
        self.stored += calls
        return [uuid.uuid4() for _ in calls]


async def _write(submitter: Submitter, *calls: str) -> list[type]:
    results = await submitter._write(cast("Sequence[Submission]", calls))
    return [type(result) for result in results]


async def test_what_the_database_refuses_stands_alone() -> None:
    submitter = Failing(stores=10)
    told = await _write(submitter, "a", "b", "bad", "c")
    assert told == [uuid.UUID, uuid.UUID, ValueError, uuid.UUID]
    assert submitter.stored == ["a", "b", "c"]


async def test_what_a_first_half_stored_is_not_answered_as_failed_by_the_second() -> None:
    """The database goes away in between: a caller whose job is stored gets its id."""
    submitter = Failing(stores=1)
    told = await _write(submitter, "a", "b", "bad", "c")
    assert told == [uuid.UUID, uuid.UUID, Unavailable, Unavailable]
    assert submitter.stored == ["a", "b"]
