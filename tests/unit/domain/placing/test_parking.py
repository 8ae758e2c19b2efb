"""Shapes that wait, from plan to plan."""

from datetime import timedelta

from support.shapes import NOW, a_job, a_shape, a_snapshot, an_instance

from longshore.domain.placing.parking import Parking
from longshore.domain.placing.plan import plan
from longshore.domain.placing.shapes import Waiting

LONG = timedelta(hours=1)
NODES = a_shape(1, vcpus=2, nodes=2)
SINGLE = a_shape(2, vcpus=1)
RUNNABLE = {NODES.shape_id, SINGLE.shape_id}


def test_a_shape_for_which_instances_are_held_is_held_for_until_it_is_placed() -> None:
    """Also when it is tried again and others of equal priority come first, or it is not reached."""
    parking = Parking()
    entry = a_job(NODES, waited=LONG)
    one, two = (
        an_instance("i-0", vcpus=4, instance_type="a"),
        an_instance("i-1", vcpus=4, instance_type="a"),
    )
    parking.take_in(plan(a_snapshot([NODES], [one], entry), NOW, 0), RUNNABLE)
    [parked] = parking.parked.values()
    assert parked == Waiting(NODES.shape_id, NOW - LONG, entry.rank, entry.seq)
    # Something changed: it is tried again.
    parking.parked.clear()
    parking.unpark_after_holds(RUNNABLE)
    waiting = {NODES: LONG}
    assert [(w.shape_id, w.ready_at) for w in parking.waiting(RUNNABLE)] == [
        (NODES.shape_id, NOW - LONG)
    ]
    # A full plan does not reach it.
    first = a_job(SINGLE, 2)
    snapshot = a_snapshot([NODES, SINGLE], [one, two], first, entry, parked=waiting)
    parking.take_in(plan(snapshot, NOW, 0, limit=0), RUNNABLE)
    assert [w.ready_at for w in parking.waiting(RUNNABLE)] == [NOW - LONG]
    # That it is still to be tried is no reason for all others to be tried again.
    other = Waiting(SINGLE.shape_id, NOW)
    parking.parked[SINGLE.shape_id] = other
    parking.unpark_after_holds(RUNNABLE)
    assert parking.parked == {SINGLE.shape_id: other}
    snapshot = a_snapshot([NODES], [one, two], entry, parked=waiting)
    parking.take_in(plan(snapshot, NOW, 0), RUNNABLE)
    assert [w.shape_id for w in parking.waiting(RUNNABLE)] == [SINGLE.shape_id]
    # But now it is.
    parking.unpark_after_holds(RUNNABLE)
    assert not parking.parked
