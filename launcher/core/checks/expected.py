"""Which checks a profile's preflight makes, in which order."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.core.checks.row import CHECKS, SLURM, SLURM_CHECKS, Row
from launcher.core.profile.home import home_of
from launcher.core.profile.model import DeviceTarget, Profile, StartMethod
from launcher.core.profile.spares import with_spares_as_nodes


def expected(profile: Profile) -> tuple[tuple[str, str], ...]:
    """(check, node) of every row of this profile's preflight, in order."""
    if profile.start_method is StartMethod.SLURM:
        login = home_of(profile)
        reached = (("reachable", login.label),) if login is not None else ()
        return (*reached, *((check, SLURM) for check in SLURM_CHECKS))
    profile = with_spares_as_nodes(profile)
    return tuple(
        (check, node.label)
        for index, node in enumerate(profile.nodes)
        for check in checks_of(profile, index)
    )


def checks_of(profile: Profile, index: int) -> tuple[str, ...]:
    """The checks of one node, by its place in the profile."""
    node = profile.nodes[index]
    many = len(profile.nodes) > 1
    mpirun = profile.start_method is StartMethod.MPIRUN
    has_devices = profile.device_target is not DeviceTarget.CPU
    is_torch = profile.program is not None and profile.program.is_torch
    wanted = dict.fromkeys(SLURM_CHECKS, False) | {
        "reachable": not node.is_local,
        "host-key": not node.is_local,
        "user": not node.is_local,
        "setup": bool(node.setup),
        "toolkit": has_devices and not is_torch,
        "devices": has_devices,
        "device-health": has_devices,
        "device-free": has_devices,
        "device-network": profile.device_target is DeviceTarget.ASCEND and profile.world_size > 1,
        "route": many and index != master_index(profile),
        "host-name": many,
        "master-port": profile.world_size > 1 and index == master_index(profile),
        "clock": many,
        "weights": bool(profile.trainer.get("weights")),
        "openmpi": mpirun,
        "mpi-ssh": mpirun and many and index == 0,
    }
    return tuple(check for check in CHECKS if wanted.get(check, True))


def master_index(profile: Profile) -> int:
    """The place of the scheduler's node: the one with the master's address, else the first."""
    for index, node in enumerate(profile.nodes):
        if node.address == profile.master.address:
            return index
    return 0


def sorted_rows(profile: Profile, rows: Iterable[Row]) -> tuple[Row, ...]:
    """Rows in reading order: node by node, each in the order of `CHECKS`."""
    order = {key: place for place, key in enumerate(expected(profile))}
    return tuple(sorted(rows, key=lambda row: order.get((row.check, row.node), len(order))))
