"""What instances lack for jobs that wait, counted and told."""

from support.shapes import a_shape, an_instance, instances

from longshore.domain.placing import words
from longshore.domain.placing.lacking import Lack, Lacking, lacking, lacks


def test_reasons_are_counted_most_frequent_first() -> None:
    shape = a_shape(vcpus=4, memory_mib=4096)
    rooms = [
        *instances(2, vcpus=8, free=2),
        an_instance("i-mem", vcpus=8, memory_mib=2048),
        an_instance("i-drain", vcpus=8, draining=True),
        an_instance("i-elsewhere", vcpus=1, environment="other"),
    ]
    counts = lacks(shape, ("ce",), tuple(rooms))
    assert counts == {Lack.VCPU: 2, Lack.DRAINING: 1, Lack.MEMORY: 1}
    assert next(iter(counts)) is Lack.VCPU
    assert words.lacks(Lacking(counts)) == (
        "Waiting for room: 4 instances: 2 short of vCPU, 1 draining, 1 short of memory."
    )


def test_gpus_and_held_instances_are_reasons() -> None:
    rooms = (an_instance("i-0", vcpus=8), an_instance("i-1", vcpus=8, gpus=1))
    counts = lacks(a_shape(gpus=1), ("ce",), rooms)
    assert counts == {Lack.GPU: 1, Lack.HELD: 1}


def test_slots_of_another_size_are_a_reason_and_used_ones_are_nobodys() -> None:
    shape = a_shape(vcpus=1, memory_mib=2048)
    rooms = (
        an_instance("i-0", vcpus=1, memory_mib=4096, slot=True),
        an_instance("i-1", vcpus=1, memory_mib=2048, slot=True, draining=True),
    )
    counts = lacks(shape, ("ce",), rooms)
    assert counts == {Lack.SLOT_SIZE: 1}
    assert words.lacks(Lacking(counts)) == "Waiting for room: 1 instance: 1 slot of another size."
    assert words.lacks(Lacking({Lack.SLOT_SIZE: 2})).endswith("2 slots of another size.")


def test_no_instance_is_a_reason_too() -> None:
    assert words.lacks(Lacking(lacks(a_shape(), ("ce",), ()))) == (
        "Waiting for an instance: none is there yet."
    )
    assert words.lacks(Lacking({Lack.VCPU: 1})) == "Waiting for room: 1 instance: 1 short of vCPU."


def test_nodes_want_empty_instances_of_one_type() -> None:
    shape = a_shape(vcpus=2, nodes=3)
    rooms = (
        an_instance("i-0", vcpus=4, free=3, instance_type="a.large"),
        an_instance("i-1", vcpus=4, instance_type="a.large"),
        an_instance("i-2", vcpus=1, instance_type="a.small"),
    )
    counts = lacks(shape, ("ce",), rooms)
    assert counts == {Lack.BUSY: 1, Lack.VCPU: 1, Lack.TOO_FEW: 1}
    assert words.lacks(Lacking(counts, shape.nodes)) == (
        "Waiting for 3 empty instances of one type: 3 instances: 1 in use, 1 short of vCPU, "
        "1 ready, too few of a type."
    )
    # Where there are enough they are not too few: an earlier job gathers some of them.
    pair, one = a_shape(vcpus=2, nodes=2), a_shape(vcpus=2, nodes=1)
    more = (*rooms, an_instance("i-3", vcpus=4, instance_type="a.large"))
    assert lacks(pair, ("ce",), more) == {Lack.HELD: 2, Lack.BUSY: 1, Lack.VCPU: 1}
    assert lacks(one, ("ce",), rooms) == {Lack.BUSY: 1, Lack.HELD: 1, Lack.VCPU: 1}
    only = a_shape(vcpus=2, nodes=3, instance_type="b.large")
    assert lacks(only, ("ce",), rooms) == {Lack.OTHER_TYPE: 3}
    assert words.lacks(Lacking({Lack.OTHER_TYPE: 3}, 3, "b.large")) == (
        "Waiting for 3 empty instances of b.large: 3 instances: 3 of another type."
    )
    alone, three = words.lacks(Lacking({}, 1, "b.large")), words.lacks(Lacking({}, 3))
    assert alone == "Waiting for an empty instance of b.large: none is there yet."
    assert three == "Waiting for 3 empty instances of one type: none is there yet."


def test_where_nothing_takes_nodes_their_instances_are_not_looked_for() -> None:
    shape, rooms = a_shape(nodes=2), (an_instance("i-0", vcpus=8),)
    found = lacking(shape, ("ce",), (), rooms, no_takers=True)
    assert found == Lacking({}, 2, "", no_takers=True)
    assert words.lacks(found).startswith("Multi-node jobs run on on-demand instances")
    # What is for one instance goes to any.
    assert lacking(a_shape(), ("ce",), (), rooms, no_takers=True) == Lacking({Lack.HELD: 1})
