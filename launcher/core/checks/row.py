"""One row of a preflight: a check, a node, what was found, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from launcher.core.profile.model import DeviceTarget, Profile, StartMethod
from launcher.errors import PreflightError, UsageError


class RowState(str, Enum):
    """``FAILED`` stops a start; a ``WARNING`` does not; ``SKIPPED`` could not be asked."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Row:
    """``fix`` is what ``--fix`` would do about it; empty where only a person can."""

    check: str
    node: str
    state: RowState
    text: str
    hint: str = ""
    fix: str = ""

    @property
    def name(self) -> str:
        """What ``--ignore`` takes for just this row."""
        return f"{self.check}@{self.node}"


NOT_ASKED = "it could not be asked"

CHECKS: Mapping[str, str] = {
    "reachable": "SSH connects",
    "host-key": "the host's key is the one that is known",
    "user": "who we are there",
    "python": "the interpreter is there, of a version that works, the same everywhere",
    "setup": "the lines of `setup` run",
    "effnet-tui": "the same version as here, with what it needs",
    "mindspore": "MindSpore 2.10, the same version everywhere",
    "toolkit": "CANN or CUDA: there, usable, the same version everywhere",
    "devices": "as many devices as the profile uses",
    "device-health": "no device reports a fault",
    "device-free": "nobody else computes on them",
    "device-network": "the devices' own network ports: link, health, address",
    "address": "addresses belong to an interface that is up and not a loopback",
    "route": "the master's ports can be reached from the other nodes",
    "host-name": "no two nodes call themselves the same",
    "master-port": "the port of the scheduler is free",
    "clock": "clocks agree",
    "disk": "space where the run writes",
    "folders": "run folder, checkpoint folder and working directory can be written",
    "data": "the data folder is there, with the same classes everywhere",
    "openmpi": "OpenMPI is there, of the version that the profile says",
    "mpi-ssh": "the first node reaches the others by its own ssh, as mpirun does",
}
"""Every check in the order in which rows are shown, and what it looks at."""


def expected(profile: Profile) -> tuple[tuple[str, str], ...]:
    """(check, node) of every row that a preflight of this profile has, in the order of showing."""
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
    wanted = {
        "reachable": not node.is_local,
        "host-key": not node.is_local,
        "user": not node.is_local,
        "setup": bool(node.setup),
        "toolkit": has_devices,
        "devices": has_devices,
        "device-health": has_devices,
        "device-free": has_devices,
        "device-network": profile.device_target is DeviceTarget.ASCEND and profile.world_size > 1,
        "route": many and index != master_index(profile),
        "host-name": many,
        "master-port": profile.world_size > 1 and index == master_index(profile),
        "clock": many,
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
    """Rows as a person reads them: node by node, each in the order of `CHECKS`."""
    order = {key: place for place, key in enumerate(expected(profile))}
    return tuple(sorted(rows, key=lambda row: order.get((row.check, row.node), len(order))))


def blocking(rows: Iterable[Row], ignored: Collection[str] = ()) -> tuple[Row, ...]:
    """The rows that stop a start: failed, and named neither as CHECK nor as CHECK@NODE."""
    return tuple(
        row
        for row in rows
        if row.state is RowState.FAILED and not {row.check, row.name} & set(ignored)
    )


def checked_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names for `blocking`. Raises UsageError for one that is no check, with the nearest."""
    found = tuple(names)
    for name in found:
        check = name.partition("@")[0]
        if check not in CHECKS:
            near = difflib.get_close_matches(check, CHECKS, 1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise UsageError(f"no check {check!r}", f"{hint}Known: {', '.join(CHECKS)}.")
    return found


Action = Literal["start", "resume"]
_DONE = {"start": "started", "resume": "resumed"}


def refusal(
    rows: Iterable[Row],
    profile: str,
    ignored: Collection[str] = (),
    action: Action = "start",
) -> PreflightError | None:
    """The failed checks, each with its hint, and how to continue anyway; None without any."""
    red = blocking(rows, ignored)
    if not red:
        return None
    count = f"{len(red)} check{'s' if len(red) != 1 else ''} of the preflight"
    names = " ".join(dict.fromkeys(f"--ignore {row.check}" for row in red))
    return PreflightError(
        f"nothing was {_DONE[action]}: {count} failed",
        tuple(
            f"{row.check} on {row.node}: {_one_line(row.text)}"
            + (f"\n    {_one_line(row.hint)}" if row.hint else "")
            for row in red
        ),
        f"Fix them (effnet-launch preflight {profile}), or {action} anyway: {names}",
    )


def _one_line(text: str) -> str:
    """Text of a node, on one line. The console removes control sequences."""
    return "".join(char for char in text.replace("\n", " / ") if char.isprintable())
