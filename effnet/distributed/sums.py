"""Selects how the ranks of a run add their numbers in each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from effnet.distributed import links, places, shared_memory
from effnet.distributed.chain import neighbours, turns_of
from effnet.distributed.group import CollectiveSum, Group, Sum
from effnet.distributed.ordered_sum import OrderedSum, share_of

ORDERED = "ordered"
LIBRARY = "library"
_WORDS = {
    ORDERED: "in the order of the ranks",
    LIBRARY: "by MindSpore's collective library",
}


@dataclass(frozen=True)
class Order:
    """In which order numbers of several ranks are added, as a checkpoint records it.

    `now` is one of the two above, or empty where there is one rank. `unrecorded` is what versions
    that did not record it did with the same ranks.
    """

    now: str = ""
    unrecorded: str = ""

    def notes(self, before: str) -> tuple[str, ...]:
        """For the user: that a checkpoint's run had another order."""
        was = before or self.unrecorded
        if not self.now or was == self.now or was not in _WORDS:
            return ()
        keep = "" if self.now == LIBRARY else ' (reduction = "collective" keeps that)'
        return (
            f"changed since the checkpoint: sums over the ranks were made {_WORDS[was]}{keep},"
            f" now {_WORDS[self.now]}: the run continues, but in its last bits it is not an"
            " uninterrupted one",
        )


BY_LIBRARY = Order(LIBRARY, LIBRARY)


class Selected(NamedTuple):
    """A way to add; `notes` are for the user, on rank 0 more than on others."""

    sum: Sum
    order: Order
    notes: tuple[str, ...]


def join(group: Group, size: int, reduction: str, target: str) -> Selected:
    """A `Sum` of `size` numbers for several logical ranks; `reduction` is the configuration's.

    All ranks call it together and get the same kind.
    """
    if reduction != "auto":
        return _collective(group, size)
    layout = found = places.find(group)
    memory = shared_memory.share(group, layout, size)
    if memory is None:
        layout = layout.apart()
        memory = shared_memory.share(group, layout, size)
    if memory is None or (len(layout.places) > 1 and target != "CPU"):
        # Numbers of a device are quicker through its own library.
        return _collective(group, size)
    turns, place = turns_of(layout), layout.place_of(group.rank)
    number = layout.places[place].index(group.rank)
    count = min(map(len, layout.places))
    near = neighbours(turns, place) if number < count else frozenset()
    peers = {layout.places[other][number]: other for other in near}
    wires, how = {}, "shared memory"
    if len(layout.places) > 1:
        made = links.connect(group, peers)
        if made.problem:
            selected = _collective(group, size, made.problem)
            own = (f"gradients: {made.own_problem}",) if made.own_problem else ()
            return selected._replace(notes=(*selected.notes, *own))
        wires = {peers[rank]: wire for rank, wire in made.wires.items()}
        how = "TCP between machines, in the order of the ranks"
        if layout is not found:
            how = "TCP, in the order of the ranks, since ranks of a machine could not share memory"
        elif len(layout.places) < group.size:
            how += ", and through shared memory within each"
    share = share_of(size, number, count)
    added = OrderedSum(memory, group.logical_ranks, turns, place, share, wires)
    notes = (f"gradients are all-reduced through {how}",) if group.size > 1 else ()
    order = Order(ORDERED, LIBRARY if len(layout.places) > 1 else ORDERED)
    return Selected(added, order, notes if group.rank == 0 else ())


def _collective(group: Group, size: int, problem: str = "") -> Selected:
    note = "gradients are all-reduced through MindSpore's collective library"
    if problem:
        note += (
            f", since {problem}: steps take longer, and after the loss of a node sums would be made"
            " in another order; let the firewall pass TCP between the nodes"
        )
    is_first = group.rank == 0 and group.size > 1
    return Selected(CollectiveSum(group, size), BY_LIBRARY, (note,) if is_first else ())
