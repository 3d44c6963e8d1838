"""Sums over the logical ranks of a run, in their order: the same bits whatever carries them.

Within a place the parts lie in memory; from place to place the sum so far travels over TCP. The
numbers are divided among the ranks of a place: each rank adds its share over all parts, and is
connected with those ranks of other places that have the same share.
"""

from __future__ import annotations

import select
from collections.abc import Mapping, Sequence

import numpy as np

from effnet.distributed.chain import Turn, relay_of, sources_of
from effnet.distributed.group import PeerGone
from effnet.distributed.shared_memory import Memory
from effnet.distributed.wire import Header, Wire
from effnet.optim.pieces import Floats

_CHUNK = 65_536
_LINE = 16
"""float32 numbers of a cache line, which no two ranks write to."""
_AHEAD = 16
"""Buffers that may wait for a slow link before the first place adds more."""


def share_of(size: int, number: int, count: int) -> range:
    """The numbers of one rank of `count` at its place; nothing for those beyond."""
    share = -(-size // (count * _LINE)) * _LINE
    first = min(size, number * share)
    return range(first, min(size, first + share) if number < count else first)


class OrderedSum:
    """A `Sum` in the order of the logical ranks.

    `own` are this rank's logical ranks at place `place`, `share` the numbers that it adds, `wires`
    lead to the ranks of neighbouring places that have the same share.
    """

    def __init__(
        self,
        memory: Memory,
        own: Sequence[int],
        turns: tuple[Turn, ...],
        place: int,
        share: range,
        wires: Mapping[int, Wire],
    ) -> None:
        self._memory = memory
        self._turns = turns
        self._wires = wires
        starts = range(share.start, share.stop, _CHUNK)
        self._chunks = [slice(start, min(start + _CHUNK, share.stop)) for start in starts]
        self._is_first = turns[0].place == place
        relay = relay_of(turns)
        after = relay[relay.index(place) + 1 :][:1]
        self._relay = wires[after[0]] if after and share else None
        self._step = 0
        self._missing = 0
        self._poll = select.poll()
        self._by_fd = {wire.fileno(): wire for wire in wires.values()}
        coming = sources_of(turns, place)
        self._frames = {wire.fileno(): coming.count(there) for there, wire in wires.items()}
        self._coming = dict.fromkeys(self._by_fd, 0)
        """Frames of this step that are still to come, by connection."""
        self._watched = dict.fromkeys(self._by_fd, 0)
        self.buckets = [memory.parts[number] for number in own]

    def reduce(self) -> Floats:
        """The sums, until the next call; waits for the slowest. Raises `PeerGone`."""
        self._memory.barrier()
        # The step reports a loss that is not finite.
        with np.errstate(all="ignore"):
            self._add_all()
        # Nobody fills a bucket that is still read, or overwrites a result that is still used: both
        # happen after this barrier, or after the next step's first.
        self._memory.barrier()
        return self._memory.result

    def _add_all(self) -> None:
        self._step = (self._step + 1) % 2**32
        self._missing = len(self._chunks)
        started = 0 if self._is_first else len(self._chunks)
        for fd, frames in self._frames.items():
            self._coming[fd] = frames * len(self._chunks)
        while self._missing or any(wire.waiting for wire in self._wires.values()):
            may_start = started < len(self._chunks) and self._is_ready
            if may_start:
                self._add(0, started)
                started += 1
            if self._wires:
                self._exchange(0 if may_start else None)

    @property
    def _is_ready(self) -> bool:
        """Whether the next place takes what this one adds first."""
        return len(self._turns) == 1 or self._wires[self._turns[1].place].waiting < _AHEAD

    def _add(self, number: int, chunk: int) -> None:
        """This place's turn: the sum so far is in the result, but for the first turn."""
        here = self._chunks[chunk]
        parts = [self._memory.parts[logical][here] for logical in self._turns[number].logical_ranks]
        total = self._memory.result[here]
        if number == 0:
            if len(parts) == 1 and len(self._turns) > 1:
                total = parts[0]  # to be sent from where it is
            elif len(parts) == 1:
                total[...] = parts[0]
            else:
                np.add(parts[0], parts[1], out=total)
            parts = parts[2:]
        for part in parts:
            total += part
        following = number + 1
        if following < len(self._turns):
            header = Header(self._step, following, chunk)
            self._wires[self._turns[following].place].put(header, total)
        else:
            self._pass_on(chunk)

    def _pass_on(self, chunk: int) -> None:
        """The result of a chunk is here."""
        self._missing -= 1
        if self._relay is not None:
            header = Header(self._step, len(self._turns), chunk)
            self._relay.put(header, self._memory.result[self._chunks[chunk]])

    def _exchange(self, timeout_ms: int | None) -> None:
        """Sends and receives what is possible now, or waits until something is."""
        for fd, wire in self._by_fd.items():
            # A rank that has finished this step may send the next one's numbers, or be gone.
            reads = select.POLLIN if self._coming[fd] else 0
            self._watch(fd, reads | (select.POLLOUT if wire.waiting else 0))
        for fd, events in self._poll.poll(timeout_ms):
            wire = self._by_fd[fd]
            try:
                if events & ~select.POLLIN:
                    wire.send()
                if events & ~select.POLLOUT and self._coming[fd]:
                    self._receive(fd, wire)
            except OSError as error:
                who = f"another rank is gone: {wire.who}"
                raise PeerGone.after_waiting(who, error) from error

    def _receive(self, fd: int, wire: Wire) -> None:
        header = wire.header()
        if header is None:
            return
        if header.step != self._step or header.chunk >= len(self._chunks):
            raise ConnectionError("it sends what nobody expects")
        # What was sent from here before has arrived: the numbers that come follow from it.
        if not wire.fill(self._memory.result[self._chunks[header.chunk]]):
            return
        self._coming[fd] -= 1
        if header.turn < len(self._turns):
            self._add(header.turn, header.chunk)
        else:
            self._pass_on(header.chunk)

    def _watch(self, fd: int, events: int) -> None:
        before, self._watched[fd] = self._watched[fd], events
        if events and not before:
            self._poll.register(fd, events)
        elif events and events != before:
            self._poll.modify(fd, events)
        elif before and not events:
            # With no events it would still be reported when its other end is gone.
            self._poll.unregister(fd)
