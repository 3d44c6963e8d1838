"""The way of a sum through the places of a run, so that it is added in the order of logical ranks.

g0 + g1 + g2 + g3 is ((g0 + g1) + g2) + g3: a number that has the sum so far is passed from place to
place, and each adds the parts that it has in memory. So the order is the same wherever the parts
are, and between two places a number travels once in each direction, as in a ring all-reduce.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise

from effnet.distributed.places import Layout


@dataclass(frozen=True)
class Turn:
    """A place adds the parts of these consecutive logical ranks."""

    place: int
    logical_ranks: tuple[int, ...]


def turns_of(layout: Layout) -> tuple[Turn, ...]:
    """In the order of the logical ranks; neighbours are at different places."""
    found = groupby(enumerate(layout.carriers), key=lambda numbered: layout.place_of(numbered[1]))
    return tuple(Turn(place, tuple(number for number, _ in some)) for place, some in found)


def relay_of(turns: tuple[Turn, ...]) -> tuple[int, ...]:
    """The places in the order in which they get the result; the first one has made it.

    Backwards along the chain, as a link carries as much in each direction.
    """
    return tuple(dict.fromkeys(turn.place for turn in reversed(turns)))


def neighbours(turns: tuple[Turn, ...], place: int) -> frozenset[int]:
    """The places that exchange numbers with this one."""
    return frozenset(b if a == place else a for a, b in _ways(turns) if place in (a, b))


def sources_of(turns: tuple[Turn, ...], place: int) -> list[int]:
    """The places that send to this one, once for each time that they do."""
    return [before for before, after in _ways(turns) if after == place]


def _ways(turns: tuple[Turn, ...]) -> list[tuple[int, int]]:
    """From place to place, for each number: of the sum so far, and then of the result."""
    return [*pairwise(turn.place for turn in turns), *pairwise(relay_of(turns))]
