"""The records of a day in one chain, each held by all that follow."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from longshore.domain.audit.record import AuditRecord, is_sound


@dataclass(frozen=True, slots=True)
class ChainedRecord:
    """A record in its day's chain."""

    number: int
    record: AuditRecord
    digest: bytes


@dataclass(frozen=True, slots=True)
class Checked:
    """What a day's records come to: how many, the digest of the last, and what is wrong, if so."""

    records: int
    digest: bytes
    fault: str


class DayCheck:
    """Goes through a day's records in their order: are they as they were written?"""

    def __init__(self, day: date, records: int, digest: bytes | None) -> None:
        """Begins with a day.

        Args:
            day: the day.
            records: how many there are by the day's entry; more may be added meanwhile.
            digest: the digest of the last of these, by the day's entry; None if it has none.
        """
        self._expected = records
        self._head = digest
        self._digest = first_digest(day)
        self._day = day
        self._seen = 0
        #: What is wrong; '' if nothing is so far.
        self.fault = ""
        self._meets_head = digest is not None and records == 0 and digest == self._digest

    def go_on(self, page: Sequence[ChainedRecord]) -> None:
        """Checks the next records; stops at the first fault."""
        for entry in page:
            if self.fault:
                return
            self._digest = next_digest(self._digest, entry.number, entry.record.text)
            self._seen += 1
            if entry.digest != self._digest:
                self.fault = (
                    f"record {entry.number} is not what was written, or one before it is missing"
                )
            elif not is_sound(entry.record) or entry.record.day != self._day:
                self.fault = f"record {entry.number} is looked up by what it does not say"
            if self._seen == self._expected:
                self._meets_head = self._digest == self._head

    def result(self) -> Checked:
        """What was found, once there are no more records."""
        if not self.fault and self._seen < self._expected:
            self.fault = f"{self._expected - self._seen} of {self._expected} records are missing"
        elif not self.fault and not self._meets_head:
            self.fault = "the day's entry is not what its records come to"
        return Checked(self._seen, self._digest, self.fault)


def first_digest(day: date) -> bytes:
    """What stands before the first record of a day."""
    return hashlib.sha256(f"longshore audit {day.isoformat()}".encode()).digest()


def next_digest(before: bytes, number: int, text: str) -> bytes:
    """The digest of a record that follows one with the digest `before`."""
    return hashlib.sha256(before + number.to_bytes(8) + text.encode()).digest()
