"""Which logical ranks each rank carries where a run continues on fewer nodes.

The trainer's side of the contract is ``effnet.distributed.logical`` (docs/report-format.md).
"""

from __future__ import annotations

from launcher.core.profile.model import Profile

RANKS = "EFFNET_LOGICAL_RANKS"
SIZE = "EFFNET_LOGICAL_SIZE"


def carried_by(rank: int, ranks: int, logical_size: int) -> tuple[int, ...]:
    """The logical ranks of one rank: in turn, so that no rank has two more than another."""
    return tuple(range(rank, logical_size, ranks))


def variables(profile: Profile, rank: int, ranks: int) -> dict[str, str]:
    """Nothing where each rank carries itself."""
    if profile.logical_size == ranks:
        return {}
    own = carried_by(rank, ranks, profile.logical_size)
    return {RANKS: ",".join(map(str, own)), SIZE: str(profile.logical_size)}
