"""What waits for an agent, and in which order it is told."""

from longshore.scheduler.session import MESSAGE_LIMIT, Session
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
