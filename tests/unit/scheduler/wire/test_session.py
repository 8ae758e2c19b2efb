"""What waits for an agent, and in which order it is told."""

from longshore.rpc.batch import BATCH_BYTES
from longshore.scheduler.wire.session import MESSAGE_LIMIT, Session, answers
from longshore.v1 import agent_service_pb2 as pb


def _key(number: int) -> pb.AttemptKey:
    return pb.AttemptKey(job_id=f"job-{number}", attempt=1)


async def test_no_stop_comes_before_its_assignment() -> None:
    """An agent knows nothing to stop before; also where more waits than one message takes."""
    session = Session("i-0")
    many = range(MESSAGE_LIMIT + 1)
    session.drain("It goes.")
    session.stop([pb.AttemptStop(key=_key(n)) for n in many])
    session.assign([pb.Assignment(key=_key(n)) for n in many])
    session.close()
    known: set[str] = set()
    kinds: list[str | None] = []
    async for message in session.messages():
        kinds.append(message.WhichOneof("message"))
        if kinds[-1] == "stop" and len(kinds) == 3:
            # More of both comes while a message is on its way.
            session.stop([pb.AttemptStop(key=_key(-1))])
            session.assign([pb.Assignment(key=_key(-1))])
        known |= {a.key.job_id for a in message.assign.assignments}
        assert {s.key.job_id for s in message.stop.stops} <= known
    assert kinds == ["assign", "assign", "stop", "assign", "stop", "drain"]


def _large(number: int) -> pb.Assignment:
    return pb.Assignment(key=_key(number), job_name="x" * (BATCH_BYTES // 10))


async def test_messages_are_bounded_by_bytes() -> None:
    session = Session("i-0")
    session.assign([_large(n) for n in range(25)])
    long = "x" * 1024
    session.stop(
        [pb.AttemptStop(key=_key(n), status_reason=long) for n in range(2 * MESSAGE_LIMIT)]
    )
    session.close()
    messages = [message async for message in session.messages()]
    assert all(message.ByteSize() < 1.1 * BATCH_BYTES for message in messages)
    assert [a.key for m in messages for a in m.assign.assignments] == [_key(n) for n in range(25)]
    assert sum(len(m.stop.stops) for m in messages) == 2 * MESSAGE_LIMIT
    assert len(messages) == 3 + 2


def test_a_large_answer_comes_in_parts_of_which_the_last_says_so() -> None:
    assignments = [_large(n) for n in range(25)]
    stops = [pb.AttemptStop(key=_key(n), status_reason="x" * 1024) for n in range(2_500)]
    parts = [
        answer.registered
        for answer in answers(pb.AgentRegistered(session_id="s", draining=True), assignments, stops)
    ]
    assert all(part.ByteSize() < 1.1 * BATCH_BYTES for part in parts)
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert all(part.draining and part.session_id == "s" for part in parts)
    assert [a for part in parts for a in part.assignments] == assignments
    assert [s for part in parts for s in part.stops] == stops


def test_a_small_answer_is_one_message() -> None:
    (answer,) = answers(pb.AgentRegistered(session_id="s"), [], [])
    assert answer.registered == pb.AgentRegistered(session_id="s")
