"""Orders: what EC2 is asked for, and what becomes of its answer."""

import asyncio
import uuid
from dataclasses import replace

import pytest
from ec2.stand import STACK, Stand, a_type, an_order, entry
from support.patience import PATIENCE_SECONDS

from longshore.domain.errors import Unavailable
from longshore.domain.order import SPOT

SHORT = "InsufficientInstanceCapacity"


def _tags(instance: dict[str, list[dict[str, str]]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


async def test_an_order_gets_instances_of_ec2(stand: Stand) -> None:
    """With EC2's own ids, in one of the zones, tagged, with the environment's own tags."""
    order = an_order(entry("c6i.large", 3), generation=4)
    got = await stand.fulfil(order)
    assert got.errors == ()
    instances = {instance["InstanceId"]: instance for instance in await stand.instances()}
    assert {one.instance_id for one in got.instances} == set(instances)
    assert len(instances) == 3
    for one in got.instances:
        instance = instances[one.instance_id]
        assert one.provider_id == one.instance_id
        assert one.entry == order.entries[0]
        assert one.zone == instance["Placement"]["AvailabilityZone"] == "us-east-1a"
        assert instance["InstanceType"] == "c6i.large"
        tags = _tags(instance)
        assert tags["longshore:order"] == f"{order.order_id}/0"
        assert tags["longshore:compute-environment"] == "blue"
        assert tags["longshore:generation"] == "4"
        assert tags["longshore:stack"] == STACK
        assert tags["team"] == "blue"


async def test_what_is_asked_for(stand: Stand) -> None:
    """Types by subnets in order, whole weights, one token for the order and the rank."""
    order = an_order(entry("c6i.large", 2), entry("c6i.xlarge", 2), target_vcpus=7)
    await stand.fulfil(order)
    asked = stand.proxy.last("CreateFleet")
    assert asked["Type"] == "instant"
    assert asked["ClientToken"] == f"{order.order_id.hex}-0"
    assert asked["TargetCapacitySpecification.TotalTargetCapacity"] == "7"
    assert asked["TargetCapacitySpecification.DefaultTargetCapacityType"] == "on-demand"
    assert asked["OnDemandOptions.AllocationStrategy"] == "lowest-price"
    start = "LaunchTemplateConfigs.1.Overrides"
    names = [asked[f"{start}.{number}.InstanceType"] for number in (1, 2, 3, 4)]
    assert names == ["c6i.large", "c6i.large", "c6i.xlarge", "c6i.xlarge"]
    assert [asked[f"{start}.{number}.SubnetId"] for number in (1, 2)] == stand.resources["subnets"]
    assert [float(asked[f"{start}.{n}.WeightedCapacity"]) for n in (1, 3)] == [2, 4]
    assert [float(asked[f"{start}.{n}.Priority"]) for n in (1, 2, 3)] == [0, 1, 2]
    assert f"{start}.1.MaxPrice" not in asked


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("BEST_FIT", "lowest-price"),
        ("BEST_FIT_PROGRESSIVE", "lowest-price"),
        ("SPOT_CAPACITY_OPTIMIZED", "capacity-optimized"),
        ("SPOT_PRICE_CAPACITY_OPTIMIZED", "price-capacity-optimized"),
        ("SPOT_CAPACITY_OPTIMIZED_PRIORITIZED", "capacity-optimized-prioritized"),
    ],
)
async def test_spot_instances(stand: Stand, strategy: str, name: str) -> None:
    """By the environment's strategy, and not above its highest price, by unit of weight."""
    order = an_order(
        entry("c6i.large", 2, option=SPOT, max_price_per_hour=0.05), allocation_strategy=strategy
    )
    got = await stand.fulfil(order)
    assert len(got.instances) == 2
    asked = stand.proxy.last("CreateFleet")
    assert asked["TargetCapacitySpecification.DefaultTargetCapacityType"] == "spot"
    assert asked["SpotOptions.AllocationStrategy"] == name
    assert asked["LaunchTemplateConfigs.1.Overrides.1.MaxPrice"] == "0.025000"
    assert {instance["InstanceLifecycle"] for instance in await stand.instances()} == {"spot"}


async def test_a_list_in_order_is_prioritized(stand: Stand) -> None:
    await stand.fulfil(an_order(entry(), allocation_strategy="BEST_FIT_PROGRESSIVE_ORDERED"))
    assert stand.proxy.last("CreateFleet")["OnDemandOptions.AllocationStrategy"] == "prioritized"


async def test_the_list_is_walked_by_rank(stand: Stand) -> None:
    """What one rank does not have the next one gives; what is short is told by type and zone."""
    stand.proxy.short = {("c6i.large", ""): SHORT}
    order = an_order(entry("c6i.large", 2), entry("m6i.large", 2, rank=1), target_vcpus=4)
    got = await stand.fulfil(order)
    assert [one.entry.instance_type for one in got.instances] == ["m6i.large", "m6i.large"]
    assert [(e.instance_type, e.zone, e.reason) for e in got.errors] == [
        ("c6i.large", "", "INSUFFICIENT_INSTANCE_CAPACITY")
    ]
    assert "There is none" in got.errors[0].message


async def test_one_zone_is_short(stand: Stand) -> None:
    """The other one gives; the error names the zone."""
    stand.proxy.short = {("c6i.large", "us-east-1a"): SHORT}
    got = await stand.fulfil(an_order(entry("c6i.large", 2)))
    assert {one.zone for one in got.instances} == {"us-east-1b"}
    assert [(e.instance_type, e.zone) for e in got.errors] == [("c6i.large", "us-east-1a")]


async def test_an_entry_may_name_its_zone(stand: Stand) -> None:
    """Only its subnets are asked for; a zone without any cannot be had."""
    order = an_order(
        entry("c6i.large", 1, zone="us-east-1b"), entry("m6i.large", 1, zone="us-east-1c")
    )
    got = await stand.fulfil(order)
    assert [(one.zone, one.entry.zone) for one in got.instances] == [("us-east-1b", "us-east-1b")]
    assert [(e.instance_type, e.zone, e.reason) for e in got.errors] == [
        ("m6i.large", "us-east-1c", "UNSUPPORTED")
    ]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("UnfulfillableCapacity", "INSUFFICIENT_INSTANCE_CAPACITY"),
        ("SpotMaxPriceTooLow", "PRICE_TOO_LOW"),
        ("Unsupported", "UNSUPPORTED"),
        ("VcpuLimitExceeded", "INSTANCE_LIMIT"),
        ("MaxSpotInstanceCountExceeded", "INSTANCE_LIMIT"),
        ("RequestLimitExceeded", "THROTTLED"),
        ("AuthFailure.ServiceLinkedRoleCreationNotPermitted", "NOT_PERMITTED"),
        ("AccessDeniedException", "NOT_PERMITTED"),
        ("SomethingNew", "PROVIDER_ERROR"),
    ],
)
async def test_reasons(stand: Stand, code: str, reason: str) -> None:
    """EC2's codes as constant reasons."""
    stand.proxy.short = {("c6i.large", ""): code}
    got = await stand.fulfil(an_order(entry()))
    assert [error.reason for error in got.errors] == [reason]
    assert got.instances == ()


async def test_half_a_fleet_is_taken(stand: Stand) -> None:
    """The rest comes from the next rank, up to the target and not beyond."""
    stand.proxy.share = 0.5
    order = an_order(entry("c6i.large", 4), entry("c5.large", 4, rank=1), target_vcpus=8)
    got = await stand.fulfil(order)
    kinds = [one.entry.instance_type for one in got.instances]
    assert kinds == ["c6i.large", "c6i.large", "c5.large"]
    assert {error.reason for error in got.errors} == {"INSUFFICIENT_INSTANCE_CAPACITY"}
    targets = [
        members["TargetCapacitySpecification.TotalTargetCapacity"]
        for action, members in stand.proxy.calls
        if action == "CreateFleet"
    ]
    assert targets == ["8", "4"]


async def test_the_same_order_again_launches_nothing(stand: Stand) -> None:
    """Asked by a provider that knows nothing of the first, too."""
    order = an_order(entry("c6i.large", 2), entry("m6i.large", 1, rank=1))
    first = await stand.fulfil(order)
    again = await stand.fulfil(order, await stand.another())
    ids = sorted(one.instance_id for one in first.instances)
    assert sorted(one.instance_id for one in again.instances) == ids
    assert {one.entry for one in again.instances} == {one.entry for one in first.instances}
    assert len(await stand.instances()) == 3
    assert stand.proxy.count("CreateFleet") == 2


async def test_no_answer_after_success_launches_once(stand: Stand) -> None:
    """The connection breaks when EC2 has launched already: asked again, it is found by its tag."""
    stand.proxy.unanswered["CreateFleet"] = 1
    order = an_order(entry("c6i.large", 2))
    with pytest.raises(Unavailable):
        await stand.fulfil(order)
    assert len(await stand.instances()) == 2
    got = await stand.fulfil(order)
    assert len(got.instances) == 2
    assert len(await stand.instances()) == 2
    assert stand.proxy.count("CreateFleet") == 1


async def test_too_late_an_answer_launches_once(stand: Stand) -> None:
    """The same where the answer takes longer than anybody waits."""
    hasty = await stand.another(replace(stand.config, call_seconds=2))
    order = an_order(entry("c6i.large", 2))
    await stand.fulfil(an_order(entry("c6i.large", 1)))
    launches = stand.proxy.held["CreateFleet"] = asyncio.Event()
    with pytest.raises(Unavailable):
        await stand.fulfil(order, hasty)
    launches.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(await stand.instances()) < 3:
            await asyncio.sleep(0.05)
    got = await stand.fulfil(order)
    assert len(got.instances) == 2
    assert len(await stand.instances()) == 3


async def test_a_fault_of_ec2_is_not_repeated_blindly(stand: Stand) -> None:
    """An internal error may have launched something: it is looked up before it is asked again."""
    stand.proxy.broken["CreateFleet"] = 1
    order = an_order(entry())
    with pytest.raises(Unavailable):
        await stand.fulfil(order)
    assert stand.proxy.count("CreateFleet") == 1
    got = await stand.fulfil(order)
    assert len(got.instances) == len(await stand.instances()) == 1


async def test_throttling_passes(stand: Stand) -> None:
    """A throttled call has done nothing, and is made again."""
    stand.proxy.throttled.update(CreateFleet=2, DescribeInstances=2, CreateLaunchTemplate=1)
    got = await stand.fulfil(an_order(entry("c6i.large", 2)))
    assert len(got.instances) == len(await stand.instances()) == 2


async def test_throttling_that_does_not_pass_is_told(stand: Stand) -> None:
    """Bounded in number: then the order goes without."""
    stand.proxy.throttled["CreateFleet"] = 100
    got = await stand.fulfil(an_order(entry()))
    assert [error.reason for error in got.errors] == ["THROTTLED"]
    assert stand.proxy.count("CreateFleet") == 5


async def test_what_is_not_permitted_is_told(stand: Stand) -> None:
    """With AWS's own words."""
    stand.proxy.refused["CreateFleet"] = ("UnauthorizedOperation", "You are not authorized.")
    got = await stand.fulfil(an_order(entry(), entry("m6i.large", rank=1)))
    assert {error.reason for error in got.errors} == {"NOT_PERMITTED"}
    assert "not authorized" in got.errors[0].message


async def test_another_request_with_the_token_is_no_answer(stand: Stand) -> None:
    """What it launched shows soon; until then nothing is known."""
    stand.proxy.refused["CreateFleet"] = ("IdempotentParameterMismatch", "Different parameters.")
    with pytest.raises(Unavailable):
        await stand.fulfil(an_order(entry()))


async def test_a_bound_of_our_own(stand: Stand) -> None:
    """No more instances at one time than the setting says."""
    few = await stand.another(replace(stand.config, instances_limit=3))
    got = await stand.fulfil(an_order(entry("c6i.large", 4)), few, live=1)
    assert len(got.instances) == 2
    none = await stand.fulfil(an_order(entry("c6i.large", 4)), few, live=3)
    assert none.instances == ()
    assert [error.reason for error in none.errors] == ["INSTANCE_LIMIT"]


async def test_what_ec2_does_not_have(stand: Stand) -> None:
    """Slots and the local family are not instances of EC2's."""
    got = await stand.fulfil(an_order(entry("fargate.0.25x512")))
    assert got.instances == ()
    assert [error.reason for error in got.errors] == ["UNSUPPORTED"]
    assert stand.proxy.count("CreateFleet") == 0


async def test_subnets_of_one_zone_take_turns(stand: Stand) -> None:
    """A fleet has one of each zone: with two EC2 refuses it. Orders share them, each its own."""
    answer = await stand.ec2.call("describe_subnets")
    answer = await stand.ec2.call(
        "create_subnet",
        VpcId=answer["Subnets"][0]["VpcId"],
        CidrBlock="172.31.240.0/24",
        AvailabilityZone="us-east-1a",
    )
    subnets = [answer["Subnet"]["SubnetId"], *stand.resources["subnets"]]
    asked = []
    for number in (2, 3, 2):
        order = an_order(entry(), order_id=uuid.UUID(int=number))
        kinds = {"c6i.large": a_type("c6i.large")}
        launcher = stand.provider._launcher
        targets, _ = await launcher._targets(
            order, order.entries, kinds, {**stand.resources, "subnets": subnets}, 2.0
        )
        assert [target.zone for target in targets] == ["us-east-1a", "us-east-1b"]
        asked.append([target.subnet for target in targets])
    assert asked == [[subnets[0], subnets[2]], [subnets[1], subnets[2]], [subnets[0], subnets[2]]]


async def test_no_fleet_is_larger_than_ec2_takes(stand: Stand) -> None:
    """The rest of such an order is for the next one."""
    stand.proxy.short = {("c6i.large", ""): SHORT}
    large = await stand.another(replace(stand.config, instances_limit=100_000))
    await stand.fulfil(an_order(entry("c6i.large", 8_000)), large)
    asked = stand.proxy.last("CreateFleet")
    assert asked["TargetCapacitySpecification.TotalTargetCapacity"] == "10000"


async def test_without_subnets_the_default_network_serves(stand: Stand) -> None:
    """In the zone that an entry names, or in any."""
    order = an_order(entry("c6i.large", zone="us-east-1c"))
    await stand.fulfil(order, subnets=[])
    asked = stand.proxy.last("CreateFleet")
    assert asked["LaunchTemplateConfigs.1.Overrides.1.AvailabilityZone"] == "us-east-1c"
    assert "LaunchTemplateConfigs.1.Overrides.1.SubnetId" not in asked
