"""Environment and cores of ranks that share a machine.

benchmarks/train.py measures the effect (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from launcher.core.profile.model import DeviceTarget


def rank_environment(target: DeviceTarget, threads: int = 1) -> Mapping[str, str]:
    """Variables for one rank; ``threads`` is its share of the cores."""
    if target is not DeviceTarget.CPU:
        return {}
    return {
        "OMP_NUM_THREADS": str(max(1, threads)),
        # The trainer has no use for NumPy's threads, and a process that has some cannot fork.
        "OPENBLAS_NUM_THREADS": "1",
        # Runs MindSpore's task queues inline: their threads would spin while they wait.
        "MS_DEV_HOST_BLOCKING_RUN": "1",
    }


def cpu_share(local_rank: int, local_world_size: int, cpus: Sequence[int]) -> tuple[int, ...]:
    """The cores of a local rank: neighbours, in equal parts; none when not known.

    With fewer cores than ranks, ranks share cores in turn.
    """
    if not cpus:
        return ()
    if len(cpus) < local_world_size:
        return (cpus[local_rank % len(cpus)],)
    first = local_rank * len(cpus) // local_world_size
    last = (local_rank + 1) * len(cpus) // local_world_size
    return tuple(cpus[first:last])
