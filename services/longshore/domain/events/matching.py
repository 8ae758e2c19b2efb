"""Which rules may get which events, before an event is made."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from longshore.domain.checks import Json
from longshore.domain.events.envelope import Sketch, sketches
from longshore.domain.events.occurrence import Happened, JobMoved, Position
from longshore.domain.events.pattern import Pattern, compile_pattern

#: Members that patterns may ask for and of which every sketch says all.
_KNOWN = ("source", "detail-type")


@dataclass(frozen=True, slots=True)
class Matcher:
    """A pattern, and the parts of it that can be tried on the sketch of an event."""

    pattern: Pattern
    _members: Pattern | None
    _status: Pattern | None

    @classmethod
    def of(cls, text: str) -> "Matcher":
        """The matcher of a pattern.

        Raises:
            InvalidRequest: it is none.
        """
        pattern, asked = compile_pattern(text), json.loads(text)
        # What a pattern asks for must hold all together: where a part does not, nothing does.
        members: Json = {n: asked[n] for n in _KNOWN if isinstance(asked.get(n), list)}
        detail = asked.get("detail")
        status = detail.get("status") if isinstance(detail, dict) else None
        return cls(
            pattern,
            compile_pattern(json.dumps(members)) if members else None,
            compile_pattern(json.dumps({"status": status})) if isinstance(status, list) else None,
        )

    def may_match(self, sketch: Sketch) -> bool:
        """Whether an event could match of which only its sketch is known."""
        members = {"source": sketch.source, "detail-type": str(sketch.detail_type)}
        if self._members is not None and not self._members.matches(members):
            return False
        if self._status is None or sketch.status is None:
            return True
        return self._status.matches({"status": sketch.status})


@dataclass(frozen=True, slots=True)
class MatchedRule:
    """A rule that gets events, with its targets."""

    bus: str
    name: str
    matcher: Matcher
    targets: tuple[str, ...] = ()
    #: Whether calls that only read are for it as well.
    with_reads: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened, the position behind it, and who may get its events.

    Without anybody it may stand for many jobs at once.
    """

    after: Position
    candidates: tuple[tuple[Sketch, tuple[MatchedRule, ...]], ...]


def steps(
    happened: Sequence[Happened],
    candidates_of: Callable[[Sketch], tuple[MatchedRule, ...]],
    limit: int,
) -> Iterator[Step]:
    """What happened, one by one, in order, so many at most."""
    taken = 0
    for one in happened:
        # Who may get an event does not depend on which of several children it is about.
        if not any(candidates_of(sketch) for sketch in sketches(one)):
            yield Step(one.behind, ())
            continue
        for each in one.each() if isinstance(one, JobMoved) else (one,):
            if taken == limit:
                return
            taken += 1
            found = ((sketch, candidates_of(sketch)) for sketch in sketches(each))
            yield Step(each.after, tuple((s, rules) for s, rules in found if rules))


class Candidates:
    """The rules that may get an event of a kind."""

    def __init__(self, rules: Sequence[MatchedRule]) -> None:
        self._rules = tuple(rules)
        self._found: dict[tuple[str, str, str, str | None, bool], tuple[MatchedRule, ...]] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._rules)

    def of(self, sketch: Sketch) -> tuple[MatchedRule, ...]:
        """The rules, in order."""
        key = (sketch.bus, sketch.source, str(sketch.detail_type), sketch.status, sketch.is_read)
        found = self._found.get(key)
        if found is None:
            found = tuple(
                rule
                for rule in self._rules
                if rule.bus == sketch.bus
                and (rule.with_reads or not sketch.is_read)
                and rule.matcher.may_match(sketch)
            )
            if len(self._found) < _KINDS:
                self._found[key] = found
        return found


#: Kinds of events of which it is remembered who may get them: from outside any number may come.
_KINDS = 1_000
