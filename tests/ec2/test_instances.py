"""Instances that there are, ending them, and what pools cost."""

from dataclasses import replace

import pytest
from ec2.stand import Stand, a_type, an_order, entry

from longshore.domain.errors import Unavailable
from longshore.domain.order import ON_DEMAND, SPOT


async def test_describe_shows_this_stacks_instances(stand: Stand) -> None:
    """With their orders, page by page; neither other stacks' nor ended ones."""
    orders = [an_order(entry("c6i.large", 2)) for _ in range(7)]
    got = {order.order_id: (await stand.fulfil(order)).instances for order in orders}
    await stand.fulfil(an_order(entry()), await stand.another(holder="other"))
    wanted = {one.instance_id: order_id for order_id, ones in got.items() for one in ones}
    ended = list(wanted)[:3]
    await stand.provider.terminate(ended, force=False)
    stand.proxy.page = 5
    before = stand.proxy.count("DescribeInstances")
    found = await stand.provider.describe()
    assert {one.instance_id: one.order_id for one in found} == {
        key: order_id for key, order_id in wanted.items() if key not in ended
    }
    assert all(one.provider_id == one.instance_id for one in found)
    assert stand.proxy.count("DescribeInstances") - before == 2


async def test_describe_tells_when_it_does_not_know(stand: Stand) -> None:
    """No answer is not an empty one."""
    stand.proxy.broken["DescribeInstances"] = 100
    with pytest.raises(Unavailable):
        await stand.provider.describe()
    stand.proxy.broken.clear()
    stand.proxy.refused["DescribeInstances"] = ("UnauthorizedOperation", "No.")
    with pytest.raises(Unavailable):
        await stand.provider.describe()


async def test_terminate_ends_instances(stand: Stand) -> None:
    """Unknown ones and those that have ended already do not keep it from the others."""
    got = await stand.fulfil(an_order(entry("c6i.large", 3)))
    ids = [one.instance_id for one in got.instances]
    await stand.provider.terminate(ids[:1], force=False)
    await stand.provider.terminate([*ids[:2], "i-0123456789abcdef0"], force=True)
    assert [instance["InstanceId"] for instance in await stand.instances()] == ids[2:]
    await stand.provider.terminate(["i-0123456789abcdef0"], force=True)
    await stand.provider.terminate([], force=True)


async def test_one_that_may_not_be_ended_does_not_keep_it_from_the_others(stand: Stand) -> None:
    """Somebody protected it: the others end, and it is said."""
    got = await stand.fulfil(an_order(entry("c6i.large", 5)))
    ids = [one.instance_id for one in got.instances]
    await stand.ec2.call(
        "modify_instance_attribute", InstanceId=ids[2], DisableApiTermination={"Value": True}
    )
    with pytest.raises(Unavailable, match=ids[2]):
        await stand.provider.terminate(ids, force=True)
    assert [instance["InstanceId"] for instance in await stand.instances()] == [ids[2]]


async def test_terminate_goes_in_parts(stand: Stand) -> None:
    got = await stand.fulfil(an_order(entry("c6i.large", 130)))
    await stand.provider.terminate([one.instance_id for one in got.instances], force=False)
    assert stand.proxy.count("TerminateInstances") == 2
    assert await stand.instances() == []


async def test_terminate_that_may_not_have_happened(stand: Stand) -> None:
    """It is not known, so it is said; asking again does no harm."""
    got = await stand.fulfil(an_order(entry()))
    ids = [one.instance_id for one in got.instances]
    stand.proxy.unanswered["TerminateInstances"] = 100
    with pytest.raises(Unavailable):
        await stand.provider.terminate(ids, force=False)
    stand.proxy.unanswered.clear()
    await stand.provider.terminate(ids, force=False)
    assert await stand.instances() == []


async def test_quotes(stand: Stand) -> None:
    """On-demand anywhere, spot by zone, read once in a while; slots have no market."""
    kinds = [a_type("c5.large"), a_type("m5.large"), a_type("fargate.0.25x512")]
    quotes = await stand.provider.quote(kinds)
    on_demand = [quote for quote in quotes if quote.purchase_option == ON_DEMAND]
    assert [(q.instance_type, q.zone, q.price_per_hour) for q in on_demand] == [
        ("c5.large", "", 0.085),
        ("m5.large", "", 0.096),
    ]
    spot = [quote for quote in quotes if quote.purchase_option == SPOT]
    assert {quote.instance_type for quote in spot} == {"c5.large", "m5.large"}
    assert len({quote.zone for quote in spot}) > 1
    assert all(quote.price_per_hour > 0 and quote.depth == 1.0 for quote in spot)
    await stand.provider.quote(kinds)
    assert stand.proxy.count("DescribeSpotPriceHistory") == 1


async def test_prices_that_may_not_be_read(stand: Stand) -> None:
    """Then there is no market; on-demand prices are known all the same."""
    stand.proxy.refused["DescribeSpotPriceHistory"] = ("UnauthorizedOperation", "No.")
    quotes = await stand.provider.quote([a_type("c5.large")])
    assert [quote.purchase_option for quote in quotes] == [ON_DEMAND]


async def test_prices_that_do_not_come(stand: Stand) -> None:
    stand.proxy.broken["DescribeSpotPriceHistory"] = 100
    with pytest.raises(Unavailable):
        await stand.provider.quote([a_type("c5.large")])


def _scores(**scores: int) -> str:
    """EC2's answer, by zone id with underscores."""
    items = "".join(
        f"<item><region>us-east-1</region><score>{score}</score>"
        f"<availabilityZoneId>{zone.replace('_', '-')}</availabilityZoneId></item>"
        for zone, score in scores.items()
    )
    return (
        '<GetSpotPlacementScoresResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<spotPlacementScoreSet>{items}</spotPlacementScoreSet></GetSpotPlacementScoresResponse>"
    )


async def test_depths_are_placement_scores(stand: Stand) -> None:
    """If they are asked for: once a day for each type; a zone without one counts as deep."""
    zones = {
        zone["ZoneName"]: zone["ZoneId"].replace("-", "_")
        for zone in (await stand.ec2.call("describe_availability_zones"))["AvailabilityZones"]
    }
    scores = {zones["us-east-1a"]: 9, zones["us-east-1b"]: 3}
    stand.proxy.answers["GetSpotPlacementScores"] = _scores(**scores)
    asking = await stand.another(replace(stand.config, placement_scores=True))
    for _ in range(2):
        quotes = await asking.quote([a_type("c5.large")])
    depths = {quote.zone: quote.depth for quote in quotes if quote.purchase_option == SPOT}
    assert (depths["us-east-1a"], depths["us-east-1b"], depths["us-east-1c"]) == (0.9, 0.3, 1.0)
    assert stand.proxy.count("GetSpotPlacementScores") == 1


async def test_depths_that_may_not_be_asked_for(stand: Stand) -> None:
    """Then all pools count as deep, and EC2 is not asked again that day."""
    stand.proxy.refused["GetSpotPlacementScores"] = ("MaxConfigLimitExceeded", "Not today.")
    asking = await stand.another(replace(stand.config, placement_scores=True))
    for name in ("c5.large", "m5.large"):
        quotes = await asking.quote([a_type(name)])
        assert {quote.depth for quote in quotes} == {1.0}
    assert stand.proxy.count("GetSpotPlacementScores") == 1


async def test_only_the_zones_that_are_set(stand: Stand) -> None:
    """Spot prices of others are of no use."""
    asking = await stand.another(replace(stand.config, zones=("us-east-1b",)))
    quotes = await asking.quote([a_type("c5.large")])
    assert {quote.zone for quote in quotes} == {"", "us-east-1b"}
