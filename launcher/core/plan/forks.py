"""Which ranks of a node one process may import for and fork, and together with which others."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.core.plan import logical
from launcher.core.plan.model import PlannedProcess
from launcher.core.profile.model import DeviceTarget, Node, Profile, StartMethod

OF_ONE_RANK = frozenset(
    (
        "RANK_ID",
        "DEVICE_ID",
        "MS_NODE_ID",
        "EFFNET_HEARTBEAT",
        "EFFNET_STACKS",
        logical.RANKS,
    )
)
"""Variables that nothing reads before ``init()``: a rank gets them after the fork."""


def may_fork(profile: Profile, node: Node) -> bool:
    """Whether a rank of the node may be forked, as far as the profile tells.

    A device's libraries have not been seen to survive a fork, a program of the user's may import
    what does not, mpirun starts its ranks itself, and ``setup`` runs once for each rank.
    """
    return (
        profile.launch.fork
        and profile.device_target is DeviceTarget.CPU
        and profile.program is None
        and profile.start_method in (StartMethod.CLUSTER, StartMethod.SLURM)
        and not node.setup
    )


def keep_warm_s(profile: Profile) -> float:
    """How long the process that forks may wait for the next attempt.

    A step of Slurm ends with the job, and mpirun starts its ranks itself.
    """
    is_cluster = profile.start_method is StartMethod.CLUSTER
    return profile.launch.keep_warm_s if is_cluster else 0.0


def groups(ranks: Iterable[PlannedProcess]) -> list[tuple[PlannedProcess, ...]]:
    """Ranks that can have one parent: what they import is the same. Each has two or more.

    MindSpore reads ``OMP_NUM_THREADS`` and its ``MS_DEV_`` variables when it is imported.
    """
    found: dict[object, list[PlannedProcess]] = {}
    for rank in ranks:
        if rank.is_forked:
            key = (rank.argv[:3], rank.working_directory, *sorted(shared(rank).items()))
            found.setdefault(key, []).append(rank)
    return [tuple(group) for group in found.values() if len(group) > 1]


def shared(rank: PlannedProcess) -> dict[str, str]:
    """The variables that the rank has in common with its group."""
    return {k: v for k, v in rank.environment.items() if k not in OF_ONE_RANK}
