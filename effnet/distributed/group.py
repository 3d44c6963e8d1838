"""The ranks that train together, and their collective operations."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from effnet.distributed.init_scheduler import scheduler_reached
from effnet.distributed.init_threads import orderly_threads
from effnet.distributed.init_wakes import woken
from effnet.errors import EffnetError, first_line
from effnet.optim.pieces import Floats, aligned

STARTERS = ("MS_ROLE", "RANK_TABLE_FILE", "OMPI_COMM_WORLD_RANK")
"""A rank has one of these, whatever started it."""

_NOTHING = -0.0
"""Added to any number it leaves all bits; 0.0 makes 0.0 of -0.0."""

GONE_LIMIT_S = 30.0
"""How long a rank whose peer died waits for the launcher, which knows the cause, to end it: as long
as MindSpore's own collectives do."""


class GroupError(EffnetError):
    """The ranks could not be brought together."""


class PeerGone(EffnetError):
    """Another rank ended while this one waited for it; the cause is in that rank's log."""

    @classmethod
    def after_waiting(cls, what: str, error: OSError) -> PeerGone:
        """The launcher should see the end of the peer first, so it takes `GONE_LIMIT_S`."""
        time.sleep(GONE_LIMIT_S)
        hint = "read that rank's log, then resume from the newest checkpoint"
        return cls(f"{what} ({error})", hint=hint)


@dataclass(frozen=True)
class Group:
    """This rank's place among `size` ranks, and what it carries of the run's logical ranks.

    These are one each, but after the loss of a node: `effnet.distributed.logical`.
    """

    rank: int = 0
    size: int = 1
    carried: tuple[int, ...] = ()
    """Its logical ranks; empty: the one with its number."""
    logical_size: int = 0
    """How many there are in all; 0: as many as ranks."""

    @property
    def logical_ranks(self) -> tuple[int, ...]:
        """Whose batches this rank computes."""
        return self.carried or (self.rank,)

    @property
    def world_size(self) -> int:
        """How many ranks define the run: its batches, its schedule, its means."""
        return self.logical_size or self.size

    def sum(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Element-wise sum over all ranks, the same bits on each; waits for the slowest."""
        if self.size == 1:
            return values
        from mindspore import Tensor, ops

        reduced = ops.AllReduce(ops.ReduceOp.SUM)(Tensor.from_numpy(values))
        result: NDArray[np.float32] = reduced.asnumpy()
        return result

    def all(self, flag: bool) -> bool:
        """Whether `flag` is true on every rank."""
        return bool(self.sum(np.array([flag], np.float32))[0] == self.size)

    def broadcast(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rank 0's values on every rank; the others only give the shape."""
        return self.sum(values if self.rank == 0 else np.full_like(values, _NOTHING))


class Sum(Protocol):
    """Adds the same numbers of all logical ranks, again and again."""

    @property
    def buckets(self) -> Sequence[Floats]:
        """The numbers of each of this rank's logical ranks, flat, to be filled before `reduce`."""
        ...

    def reduce(self) -> Floats:
        """The sums, the same bits on each rank, until the next call; waits for the slowest."""
        ...


class CollectiveSum:
    """A `Sum` of `size` float32 numbers by MindSpore's collective library, in an order of its own.

    It takes one part from each process, so that several logical ranks are added before.
    """

    def __init__(self, group: Group, size: int) -> None:
        self._group = group
        self.buckets = [aligned(size) for _ in group.logical_ranks]

    def reduce(self) -> Floats:
        first, *more = self.buckets
        # The step reports a loss that is not finite.
        with np.errstate(all="ignore"):
            for part in more:
                first += part
        return self._group.sum(first)


def broadcast(
    group: Group, over_ranks: Sum | None, values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """As `Group.broadcast`, through a `Sum` where there is one: shared memory is faster."""
    if over_ranks is None:
        return group.broadcast(values)
    result, flat = np.empty_like(values), values.reshape(-1)
    first, *more = over_ranks.buckets
    found = result.reshape(-1)
    for start in range(0, len(flat), len(first)):
        piece = flat[start : start + len(first)]
        for bucket in more:
            bucket[: len(piece)] = _NOTHING
        first[: len(piece)] = piece if group.rank == 0 else _NOTHING
        found[start : start + len(first)] = over_ranks.reduce()[: len(piece)]
    return result


def join(distributed: bool, target: str) -> Group:
    """Bring this rank together with its peers, as the launcher's environment variables describe.

    Call it after `mindspore.set_device(target)`. It returns when all are there. The threads of a
    CPU rank share a core until then; a device's are left alone. Raises `GroupError` where the
    environment names no peers or MindSpore gives up.
    """
    if not distributed:
        return Group()
    if not any(name in os.environ for name in STARTERS):
        raise GroupError(
            "run_distribute is True, but no environment variable gives the rank (MS_ROLE,"
            " RANK_TABLE_FILE or OMPI_COMM_WORLD_RANK)",
            hint="start it with `effnet-launch start PROFILE`, msrun, mpirun or srun",
        )
    from mindspore import communication

    try:
        number = os.environ.get("RANK_ID", "")
        rank = int(number) if number.isdecimal() else 0
        with (
            scheduler_reached(os.environ, target),
            orderly_threads(rank, target),
            woken(target),
        ):
            communication.init()
    except (RuntimeError, ValueError) as error:
        raise GroupError(
            f"the ranks could not connect: {first_line(error)}",
            hint="read the scheduler's log; check that MS_SCHED_HOST:MS_SCHED_PORT is reachable",
        ) from error
    return Group(communication.get_rank(), communication.get_group_size())
