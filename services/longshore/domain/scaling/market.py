"""What the provider quoted and what it was short of, made into the offers of an environment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from longshore.domain.catalogue import Catalogue, InstanceType
from longshore.domain.order import SPOT
from longshore.domain.scaling.capacity import Offer

_SLOTS = "fargate."
#: Instance type, zone, purchase option; no zone: all of them.
PoolName = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What the provider says of one of its pools. See `Offer`."""

    instance_type: str
    zone: str
    purchase_option: str
    price_per_hour: float
    depth: float = 1.0


class Market:
    """What a decision knows of the provider's pools.

    Args:
        quotes: what the provider said of them, in the order in which they are offered.
        short: those that it was short of lately.
    """

    def __init__(self, quotes: Iterable[Quote], short: Iterable[PoolName]) -> None:
        self._quotes: dict[tuple[str, str], list[Quote]] = {}
        for quote in quotes:
            key = quote.instance_type, quote.purchase_option
            self._quotes.setdefault(key, []).append(quote)
        self._short: dict[tuple[str, str], set[str]] = {}
        for name, zone, option in short:
            self._short.setdefault((name, option), set()).add(zone)

    def offers(
        self, names: Sequence[str], catalogue: Catalogue, option: str, bid_percentage: int
    ) -> tuple[Offer, ...]:
        """The pools of all types of an environment, in the order of its list.

        Args:
            names: its `instanceTypes`.
            catalogue: what they stand for.
            option: how it buys.
            bid_percentage: most that a spot instance may cost, of its on-demand price.
        """
        places = catalogue.places(names)
        return tuple(
            replace(offer, place=places[kind.name])
            for kind in catalogue.resolve(names)
            for offer in self._of(kind, option, bid_percentage)
        )

    def is_short_of_slots(self, option: str) -> bool:
        """Whether the provider was short of room for any job's slot."""
        return any(name.startswith(_SLOTS) for name, of in self._short if of == option)

    def _of(self, kind: InstanceType, option: str, bid_percentage: int) -> list[Offer]:
        """The pools of a type, by zone; without quotes one for any zone at the catalogue's price.

        Pools dearer than the bid are left out. A type of which only such are left has one that
        the provider is short of: the type is known all the same, and its price may fall.
        """
        short = self._short.get((kind.name, option), set())
        quotes = self._quotes.get((kind.name, option))
        ceiling = kind.price_per_hour * bid_percentage / 100 if option == SPOT else None
        if not quotes:
            price = kind.price_per_hour if ceiling is None else ceiling
            return [Offer(kind=kind, price_per_hour=price, is_short=bool(short))]
        return [
            Offer(
                kind=kind,
                price_per_hour=quote.price_per_hour,
                zone=quote.zone,
                depth=quote.depth,
                is_short="" in short or quote.zone in short,
            )
            for quote in quotes
            if ceiling is None or quote.price_per_hour <= ceiling
        ] or [Offer(kind=kind, price_per_hour=ceiling or 0.0, is_short=True)]
