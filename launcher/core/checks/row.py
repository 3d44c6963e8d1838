"""The rows of a preflight and of doctor: a check, a node, what was found, and how to fix it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal, NamedTuple

from launcher.core.text.suggest import did_you_mean
from launcher.errors import PreflightError, UsageError


class RowState(str, Enum):
    """``FAILED`` stops a start; a ``WARNING`` does not; ``SKIPPED`` could not be checked."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class CheckResult(NamedTuple):
    """What a check found on one node. ``fix``: what ``--fix`` does about it, if it can."""

    state: RowState
    text: str
    hint: str = ""
    fix: str = ""

    @property
    def is_failed(self) -> bool:
        return self.state is RowState.FAILED


def ok(text: str) -> CheckResult:
    return CheckResult(RowState.OK, text)


def warning(text: str, hint: str = "", fix: str = "") -> CheckResult:
    return CheckResult(RowState.WARNING, text, hint, fix)


def failed(text: str, hint: str, fix: str = "") -> CheckResult:
    return CheckResult(RowState.FAILED, text, hint, fix)


def skipped(text: str) -> CheckResult:
    return CheckResult(RowState.SKIPPED, text)


MINDSPORE = "2.10"


def mindspore_problem(found: str, python: str) -> CheckResult | None:
    """Why the interpreter's MindSpore (empty: none) cannot be used; None when it can."""
    if not found:
        text = f"MindSpore is not installed for {python}"
        return failed(text, f"In a checkout of effnet-tui: {python} -m pip install -e '.[train]'")
    if not found.startswith(f"{MINDSPORE}."):
        text = f"MindSpore {found}; effnet needs {MINDSPORE}"
        return failed(text, f"{python} -m pip install 'mindspore=={MINDSPORE}.*'")
    return None


@dataclass(frozen=True)
class Row:
    """The result of one check on one node."""

    check: str
    node: str
    state: RowState
    text: str
    hint: str = ""
    fix: str = ""

    @property
    def name(self) -> str:
        """The argument of ``--ignore`` for only this row."""
        return f"{self.check}@{self.node}"


NOT_ASKED = "could not be checked"
NOT_THE_TRAINER = "does not apply: [program] runs instead of the bundled trainer"

CHECKS: Mapping[str, str] = {
    "reachable": "SSH connects",
    "host-key": "the host's key is the known one",
    "user": "the user that SSH logs in as",
    "python": "a supported version of Python, the same everywhere",
    "setup": "the lines of `setup` run",
    "effnet-tui": "the same version as here, with its dependencies",
    "mindspore": "MindSpore 2.10, the same version everywhere",
    "toolkit": "CANN or CUDA: installed, usable, the same version everywhere",
    "devices": "as many devices as the profile uses",
    "device-health": "no device reports a fault",
    "device-free": "no other process uses the devices",
    "device-network": "the devices' own network ports: link, health, address",
    "address": "addresses belong to an interface that is up; the master's is not a loopback",
    "route": "the other nodes reach the master's ports",
    "host-name": "each node has its own host name",
    "master-port": "the port of the scheduler is free",
    "clock": "clocks agree",
    "disk": "space where the run writes",
    "folders": "the run and checkpoint folders are writable, the working directory exists",
    "data": "the data folder exists, with the same classes everywhere",
    "weights": "the checkpoint that training begins with is there, and the same everywhere",
    "openmpi": "OpenMPI is installed, in the profile's version",
    "mpi-ssh": "the first node reaches the others with its own ssh, as mpirun does",
    "slurm": "Slurm's commands are here, and slurmctld answers",
    "partition": "the partition is up and has enough nodes",
    "batch-job": "Slurm would accept the job (`sbatch --test-only`)",
    "shared-folder": "the runs folder may be one that the nodes share",
}
"""Every check in the order of the rows, and what passes it."""


SLURM = "Slurm"
"""The node of rows about the scheduler: which nodes a job gets is not known before it begins."""
SLURM_CHECKS = ("slurm", "partition", "batch-job", "shared-folder")


def of_spare(row: Row) -> Row:
    """A row of a spare: what fails there does not stop a start."""
    if row.state is not RowState.FAILED:
        return row
    return replace(row, state=RowState.WARNING, text=f"a spare that cannot be used: {row.text}")


def blocking(rows: Iterable[Row], ignored: Collection[str] = ()) -> tuple[Row, ...]:
    """The rows that stop a start: failed, and named neither as CHECK nor as CHECK@NODE."""
    return tuple(
        row
        for row in rows
        if row.state is RowState.FAILED and not {row.check, row.name} & set(ignored)
    )


def checked_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names for `blocking`. Raises UsageError for an unknown check, with the nearest name."""
    found = tuple(names)
    for name in found:
        check = name.partition("@")[0]
        if check not in CHECKS:
            text = f"no check {check!r}{did_you_mean(check, CHECKS)}"
            raise UsageError(text, f"Known: {', '.join(CHECKS)}.")
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
    checks = tuple(dict.fromkeys(row.check for row in red))
    names = " ".join(f"--ignore {check}" for check in checks)
    error = PreflightError(
        f"nothing was {_DONE[action]}: {count} failed",
        tuple(
            f"{row.check} on {row.node}: {_one_line(row.text)}"
            + (f"\n    {_one_line(row.hint)}" if row.hint else "")
            for row in red
        ),
        f"Fix them (effnet-launch preflight {profile}), or {action} anyway: {names}",
    )
    error.checks = checks
    return error


def _one_line(text: str) -> str:
    """Text of a node, on one line. The console removes control sequences."""
    return "".join(char for char in text.replace("\n", " / ") if char.isprintable())
