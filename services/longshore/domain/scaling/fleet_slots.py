"""Fargate slots: one for each job, of exactly its size."""

from collections.abc import Sequence
from dataclasses import replace

from longshore.domain.catalogue import fargate_type
from longshore.domain.scaling.books import Books, Wanted
from longshore.domain.scaling.capacity import Offer
from longshore.domain.scaling.refusal import Refusal, Refused


def hold_slots(books: Books, wanted: Sequence[Wanted]) -> None:
    """Takes a Fargate slot for each job, of exactly its size and never over maxvCpus."""
    for want in wanted:
        kind = fargate_type(want.shape.need, spot=books.env.is_spot)
        if want.shape.nodes:
            books.turn_away(want, Refused(Refusal.NO_NODES))
            continue
        if kind is None:
            books.turn_away(want, Refused(Refusal.NO_SLOT_SIZE))
            continue
        if books.env.is_short:
            books.turn_away(want, Refused(Refusal.SHORT_OF_SLOTS))
            continue
        count = min(want.count, books.room_for(kind.vcpus))
        if count:
            books.launches[Offer(kind=kind, price_per_hour=kind.price_per_hour)] += count
            books.headroom -= count * kind.vcpus
            books.covered += count
        if count < want.count:
            rest = replace(want, count=want.count - count)
            books.turn_away(rest, Refused(Refusal.AT_MAXIMUM))
