"""Prices of EC2's pools, and how deep they are.

Spot prices are the latest of each type and zone. On-demand prices are the catalogue's: they change
once in years, and the price list is slow to ask. Depth comes from spot placement scores, if they
are asked for: EC2 answers few of those a day, so each answer is kept for one.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from longshore.domain.catalogue import InstanceType
from longshore.domain.errors import Unavailable
from longshore.domain.order import ON_DEMAND, SPOT
from longshore.domain.scaling.market import Quote
from longshore.provisioning.ec2.api import Api, RefusedByAws, chunks
from longshore.provisioning.ec2.config import Ec2Config

log = structlog.get_logger()

PRICES_KEPT = timedelta(minutes=5)
SCORES_KEPT = timedelta(hours=24)
#: Types in one question for prices.
TYPES_AT_ONCE = 50
#: Different questions for scores that EC2 answers in a day, with some to spare.
SCORES_MAXIMUM = 40
#: The best score, and the instances for which scores are asked.
_SCORE_BEST = 10
_SCORE_INSTANCES = 20


class Ec2Prices:
    """Quotes, kept for a while."""

    def __init__(self, ec2: Api, config: Ec2Config, now: Callable[[], datetime]) -> None:
        self._ec2 = ec2
        self._config = config
        self._now = now
        #: By type: when asked, and price by zone.
        self._prices: dict[str, tuple[datetime, dict[str, float]]] = {}
        #: By type: when asked, and depth by zone.
        self._depths: dict[str, tuple[datetime, dict[str, float]]] = {}
        self._zones: dict[str, str] | None = None
        self._no_scores_until: datetime | None = None

    async def quote(self, kinds: Sequence[InstanceType]) -> list[Quote]:
        """What types cost, on-demand anywhere and spot in each zone.

        Raises:
            Unavailable: AWS does not answer.
        """
        await self._read_prices([kind.name for kind in kinds])
        if self._config.placement_scores:
            await self._read_depths([kind.name for kind in kinds])
        quotes = []
        for kind in kinds:
            quotes.append(
                Quote(
                    instance_type=kind.name,
                    zone="",
                    purchase_option=ON_DEMAND,
                    price_per_hour=kind.price_per_hour,
                )
            )
            _, prices = self._prices.get(kind.name, (None, {}))
            _, depths = self._depths.get(kind.name, (None, {}))
            quotes += [
                Quote(
                    instance_type=kind.name,
                    zone=zone,
                    purchase_option=SPOT,
                    price_per_hour=price,
                    depth=depths.get(zone, 1.0),
                )
                for zone, price in sorted(prices.items())
                if not self._config.zones or zone in self._config.zones
            ]
        return quotes

    async def _read_prices(self, names: Sequence[str]) -> None:
        now = self._now()
        fresh = {name for name, (at, _) in self._prices.items() if now - at < PRICES_KEPT}
        asked = [name for name in names if name not in fresh]
        for some in chunks(asked, TYPES_AT_ONCE):
            try:
                history = await self._ec2.pages(
                    "describe_spot_price_history",
                    "SpotPriceHistory",
                    InstanceTypes=some,
                    ProductDescriptions=["Linux/UNIX"],
                    # From now on: the price that holds now, of each type and zone.
                    StartTime=now,
                )
            except RefusedByAws as error:
                if error.is_throttle:
                    raise Unavailable(str(error)) from error
                log.warning("spot_prices.refused", error=str(error))
                history = []
            latest: dict[tuple[str, str], tuple[datetime, float]] = {}
            for item in history:
                key = (item["InstanceType"], item["AvailabilityZone"])
                price = (item["Timestamp"], float(item["SpotPrice"]))
                latest[key] = max(latest.get(key, price), price)
            for name in some:
                zones = {zone: price for (kind, zone), (_, price) in latest.items() if kind == name}
                self._prices[name] = (now, zones)

    async def _read_depths(self, names: Sequence[str]) -> None:
        now = self._now()
        if self._no_scores_until is not None and now < self._no_scores_until:
            return
        fresh = {name for name, (at, _) in self._depths.items() if now - at < SCORES_KEPT}
        asked = [name for name in names if name not in fresh]
        try:
            for name in asked[: max(SCORES_MAXIMUM - len(fresh), 0)]:
                scores = await self._ec2.pages(
                    "get_spot_placement_scores",
                    "SpotPlacementScores",
                    InstanceTypes=[name],
                    TargetCapacity=_SCORE_INSTANCES,
                    TargetCapacityUnitType="units",
                    SingleAvailabilityZone=True,
                    RegionNames=[self._config.region],
                )
                zones = await self._zone_names()
                self._depths[name] = (
                    now,
                    {
                        zones[score["AvailabilityZoneId"]]: score["Score"] / _SCORE_BEST
                        for score in scores
                        if score.get("AvailabilityZoneId") in zones
                    },
                )
        except RefusedByAws as error:
            # Not permitted, or asked too much for today: all pools count as deep.
            self._no_scores_until = now + SCORES_KEPT
            log.info("placement_scores.refused", error=str(error))

    async def _zone_names(self) -> dict[str, str]:
        """Names of zones by their ids."""
        if self._zones is None:
            answer = await self._ec2.call("describe_availability_zones")
            self._zones = {zone["ZoneId"]: zone["ZoneName"] for zone in answer["AvailabilityZones"]}
        return self._zones
