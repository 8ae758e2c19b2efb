"""What a compute environment has before anything is decided."""

from collections.abc import Iterable
from datetime import datetime

from longshore.domain.packing.rooms import Rooms
from longshore.domain.scaling.capacity import Environment, Instance, InstanceState
from longshore.domain.scaling.decision import GiveBack, Leave, ScalingSettings
from longshore.domain.scaling.giving_back import is_outdated
from longshore.domain.scaling.strategy import Choice


class Estate:
    """What a compute environment has before anything is decided."""

    def __init__(
        self,
        before: Environment,
        env: Environment,
        instances: Iterable[Instance],
        now: datetime,
        settings: ScalingSettings,
    ) -> None:
        self.before = before
        self.env = env
        self.choice = Choice(env)
        #: vCPUs that count towards maxvCpus, and those of them that are not on their way out.
        self.total = 0.0
        self.staying_vcpus = 0.0
        #: vCPUs of those on their way out that nothing runs on any more.
        self.ending_vcpus = 0.0
        #: Instances that may take something, in the order in which they are to be used.
        self.staying: list[Instance] = []
        #: Given back whatever is wanted.
        self.given: list[GiveBack] = []
        for instance in instances:
            self._add(instance, now, settings)
        self.staying.sort(key=_use_order)
        self.rooms = Rooms.of(instance.free for instance in self.staying)
        by_name = {offer.kind.name: offer.kind.offer for offer in self.choice.offers}
        by_size = {size: name for name, size in reversed(by_name.items())}
        #: Empty instances by the type that they are of, as positions in `staying`.
        self.empty: dict[str, list[int]] = {}
        for number, instance in enumerate(self.staying):
            name = instance.instance_type
            if not name:
                name = by_size.get(instance.free, "")
            elif by_name.get(name) != instance.free:
                continue
            if name and not instance.live_attempts and instance.is_ours:
                self.empty.setdefault(name, []).append(number)

    @property
    def empty_vcpus(self) -> float:
        """What the empty instances count towards maxvCpus."""
        return sum(self.staying[number].vcpus for some in self.empty.values() for number in some)

    def _add(self, instance: Instance, now: datetime, settings: ScalingSettings) -> None:
        """Counts an instance."""
        self.total += instance.vcpus
        if self._stays(instance, now, settings):
            self.staying_vcpus += instance.vcpus
            self.staying.append(instance)
        elif not instance.live_attempts:
            self.ending_vcpus += instance.vcpus

    def _stays(self, instance: Instance, now: datetime, settings: ScalingSettings) -> bool:
        """Whether an instance may take something.

        One that was lost, never came or is outdated is given back.
        """
        if instance.state is InstanceState.LEAVING:
            return False
        is_late = (
            instance.state is InstanceState.BOOTING and now - instance.ordered_at >= settings.boot
        )
        if instance.is_ours and (instance.state is InstanceState.LOST or is_late):
            self.given.append(GiveBack(instance.instance_id, Leave.LATE if is_late else Leave.LOST))
        elif is_outdated(instance, self.env):
            self.given.append(
                GiveBack(instance.instance_id, Leave.REPLACED, drain_until=self.env.replace_by)
            )
        else:
            return instance.state is not InstanceState.LOST
        return False


def _use_order(instance: Instance) -> tuple[bool, bool, float, int, datetime, str]:
    """Instances that run jobs first, the fullest at the head; then idle ones, the cheapest first.

    So what is dear and idle stays idle, and can go.
    """
    is_idle = not instance.live_attempts
    return (
        instance.state is InstanceState.BOOTING,
        is_idle,
        instance.price_per_hour if is_idle else 0.0,
        instance.free.vcpu_milli,
        instance.ordered_at,
        instance.instance_id,
    )
