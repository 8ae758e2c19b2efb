"""The mirror's account of shapes that wait."""

from datetime import timedelta

from support.shapes import NOW, a_job, a_shape, a_snapshot, an_instance

from longshore.domain.placement import Waiting, plan
from longshore.scheduler.memory import Memory
from longshore.state.topology import Topology

LONG = timedelta(hours=1)
NODES = a_shape(1, vcpus=2, nodes=2)
SINGLE = a_shape(2, vcpus=1)


def _memory() -> Memory:
    shapes = {shape.shape_id: shape for shape in (NODES, SINGLE)}
    return Memory(Topology({}, {}), shapes, dict.fromkeys(shapes, 1), {})


def test_a_shape_for_which_instances_are_held_is_held_for_until_it_is_placed() -> None:
    """Also when it is tried again and others of equal priority come first, or it is not reached."""
    memory = _memory()
    entry = a_job(NODES, waited=LONG)
    one, two = (
        an_instance("i-0", vcpus=4, instance_type="a"),
        an_instance("i-1", vcpus=4, instance_type="a"),
    )
    memory.take_in(plan(a_snapshot([NODES], [one], entry), NOW, 0))
    [parked] = memory.parked.values()
    assert parked == Waiting(NODES.shape_id, NOW - LONG, entry.rank, entry.seq)
    # Something changed: it is tried again.
    memory.parked.clear()
    memory.unpark_after_holds()
    waiting = {NODES: LONG}
    assert [(w.shape_id, w.ready_at) for w in memory.waiting()] == [(NODES.shape_id, NOW - LONG)]
    # A full plan does not reach it.
    first = a_job(SINGLE, 2)
    snapshot = a_snapshot([NODES, SINGLE], [one, two], first, entry, parked=waiting)
    memory.take_in(plan(snapshot, NOW, 0, limit=0))
    assert [w.ready_at for w in memory.waiting()] == [NOW - LONG]
    # That it is still to be tried is no reason for all others to be tried again.
    other = Waiting(SINGLE.shape_id, NOW)
    memory.parked[SINGLE.shape_id] = other
    memory.unpark_after_holds()
    assert memory.parked == {SINGLE.shape_id: other}
    snapshot = a_snapshot([NODES], [one, two], entry, parked=waiting)
    memory.take_in(plan(snapshot, NOW, 0))
    assert [w.shape_id for w in memory.waiting()] == [SINGLE.shape_id]
    # But now it is.
    memory.unpark_after_holds()
    assert not memory.parked
