"""Instances for multi-node jobs: all nodes of one at once, on one type, or none."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from longshore.domain.scaling.books import SLACK, Books, Wanted, rows
from longshore.domain.scaling.capacity import Offer, ShapeDemand
from longshore.domain.scaling.refusal import Refused
from longshore.domain.scaling.strategy import Choice


def hold_nodes(books: Books, want: Wanted, idle: Mapping[str, Sequence[int]]) -> None:
    """Takes instances of one type for all nodes of each job, or none: idle ones, then new."""
    need, nodes, left = want.shape.need, want.shape.nodes, want.count
    only = want.shape.instance_type
    why = books.refusal(need, only)
    there = {
        name: [number for number in numbers if number not in books.completed]
        for name, numbers in idle.items()
        if only in ("", name)
    }
    while left:
        best = _type_for_nodes(books, want.shape, there, books.headroom)
        if best is None:
            _keep_what_ends(books, want.shape, there)
            break
        name = best.kind.name
        found = len(there.get(name, ())) + books.stock[name]
        offer = best if found >= nodes else _to_be_had(books, best)
        if offer is None:
            why = Refused.short_of([name])
            break
        if found:
            jobs = min(left, max(found // nodes, 1))
        else:
            jobs = min(left, books.room_for(nodes * offer.kind.vcpus))
        taken = there.get(name, [])[: jobs * nodes]
        there[name] = there.get(name, [])[len(taken) :]
        books.completed.update(dict.fromkeys(taken, want.rank))
        wanted = jobs * nodes - len(taken)
        in_stock = min(books.stock[name], wanted)
        books.stock_for_nodes[name] += in_stock
        books.has_nodes |= wanted > in_stock
        books.take(offer, wanted)
        left -= jobs
    books.covered += want.count - left
    if left:
        books.turn_away(replace(want, count=left), why)


def _keep_what_ends(books: Books, shape: ShapeDemand, idle: Mapping[str, Sequence[int]]) -> None:
    """Adds nothing more where a multi-node job fits as soon as what is on its way out is gone.

    Else later jobs would take that room bit by bit as it comes.
    """
    room = books.headroom + books.ending
    if books.ending and _type_for_nodes(books, shape, idle, room) is not None:
        books.headroom = min(books.headroom, 0.0)


def _type_for_nodes(
    books: Books, shape: ShapeDemand, idle: Mapping[str, Sequence[int]], room: float
) -> Offer | None:
    """The type at which one more multi-node job costs least, None if it finds no room.

    It is looked for as if the provider were short of nothing: nodes wait for their type.
    """
    may_order = set(offers_for_nodes(books, shape))
    best: tuple[float, float, float, str] | None = None
    found: Offer | None = None
    for offer, price in _able(books, shape):
        kind = offer.kind
        there = len(idle.get(kind.name, ())) + books.stock[kind.name]
        new = max(shape.nodes - there, 0)
        size = new * kind.vcpus
        if new and (offer not in may_order or size > room + SLACK):
            continue
        # Of what is there, the type that would be ordered: others are there for other jobs.
        key = (round(price * new, 6), size, price, kind.name)
        if best is None or key < best:
            best, found = key, offer
    return found


def offers_for_nodes(books: Books, shape: ShapeDemand) -> list[Offer]:
    """The offers that may be ordered for nodes, as if the provider were short of nothing.

    A type that was asked for also for its own sake; and where all nodes on the types that a
    strategy takes first would never fit under maxvCpus, the first ones on which they do.
    """
    if shape.instance_type:
        return [offer for offer, _ in _able(books, shape)]
    choice = _of_nodes(books, shape)
    is_cause = choice.causes(rows([shape.need]))[0]
    return [choice.offers[number] for number in np.flatnonzero(is_cause).tolist()]


def _able(books: Books, shape: ShapeDemand) -> list[tuple[Offer, float]]:
    """The types that nodes may be on, with the price to reckon with."""
    choice, only = _of_nodes(books, shape), shape.instance_type
    fits = (rows([shape.need]) <= choice.sizes).all(axis=1)
    return [
        (choice.offers[number], float(choice.prices[number]))
        for number in np.flatnonzero(fits).tolist()
        if only in ("", choice.offers[number].kind.name)
    ]


def _of_nodes(books: Books, shape: ShapeDemand) -> Choice:
    return books.choice.whole_up_to(books.env.maxv_cpus / shape.nodes)


def _to_be_had(books: Books, best: Offer) -> Offer | None:
    """The same type where the provider is not short of it: nodes never switch to another."""
    same = [o for o in books.env.offers if o.kind.name == best.kind.name and not o.is_short]
    return min(same, key=lambda offer: (offer.price_per_hour, offer.zone), default=None)
