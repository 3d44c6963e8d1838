"""Slurm's commands, run as this user."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launcher.core.slurm import (
    QUEUE_FORMAT,
    SUBMITTED_FORMAT,
    JobRecord,
    NodeRecord,
    QueuedJob,
    SubmittedJob,
    parse_address,
    parse_job,
    parse_nodes,
    parse_queue,
    parse_submitted,
)
from launcher.errors import LaunchError
from launcher.process import tools
from launcher.process.spawn import base_environment

COMMAND_LIMIT_S = 30.0


class SlurmError(LaunchError):
    """A command of Slurm failed, or is not there."""


@dataclass(frozen=True)
class Verdict:
    """What Slurm says about a job that was not submitted."""

    is_possible: bool
    text: str


def call(*argv: str, timeout_s: float = COMMAND_LIMIT_S) -> str:
    """Its output. Raises `SlurmError`."""
    try:
        # What changes something is not cut in two: a job may be in the queue already.
        done = tools.run(argv, base_environment(), timeout_s, in_terminal=False)
    except TimeoutError as error:
        hint = "slurmctld may be down: scontrol ping"
        raise SlurmError(f"Slurm does not answer: {error}", hint) from error
    except OSError as error:
        hint = "Install Slurm's commands (Debian: slurm-client), or use a login node."
        raise SlurmError(f"{argv[0]} cannot be run: {error}", hint) from error
    if done.exit_code:
        raise SlurmError(_problem(argv[0], done.stderr or done.stdout))
    return done.stdout


def submit(script: str) -> str:
    """-> the number of the job. Raises `SlurmError`."""
    return call("sbatch", "--parsable", script).strip().partition(";")[0]


def test(script: str) -> Verdict:
    """Slurm's own verdict on a job, which is not submitted. Raises `SlurmError`."""
    try:
        done = tools.run(["sbatch", "--test-only", script], base_environment(), COMMAND_LIMIT_S)
    except OSError as error:
        raise SlurmError(f"sbatch cannot be run: {error}") from error
    lines = (done.stderr or done.stdout).strip().splitlines()
    text = lines[-1].removeprefix("sbatch: ") if lines else "no answer"
    return Verdict(done.exit_code == 0, text)


def queue(user: int) -> Mapping[str, QueuedJob]:
    """The user's jobs that are not over. Raises `SlurmError`."""
    return parse_queue(call("squeue", "-h", "-u", str(user), "-o", QUEUE_FORMAT))


def submitted(user: int, timeout_s: float = COMMAND_LIMIT_S) -> Sequence[SubmittedJob]:
    """The same jobs with their scripts. Raises `SlurmError`."""
    argv = ("squeue", "-h", "-u", str(user), "-o", SUBMITTED_FORMAT)
    return parse_submitted(call(*argv, timeout_s=timeout_s))


def job(number: str, timeout_s: float = COMMAND_LIMIT_S) -> JobRecord | None:
    """None when Slurm does not know it any more. Raises `SlurmError`."""
    try:
        return parse_job(call("scontrol", "show", "job", "-o", number, timeout_s=timeout_s))
    except SlurmError as error:
        if "Invalid job id" in error.message:
            return None
        raise


def partitions(name: str = "") -> str:
    """One line for each state of a partition's nodes. Raises `SlurmError`."""
    chosen = ("-p", name) if name else ()
    return call("sinfo", "-h", *chosen, "-o", "%P|%a|%l|%D|%t")


def cancel(number: str, *options: str) -> None:
    """A job or a step. Raises `SlurmError`."""
    call("scancel", *options, number)


def requeue(number: str) -> None:
    """Ends a job and queues it again. Raises `SlurmError`."""
    call("scontrol", "requeue", number)


def hostnames(nodes: str) -> Sequence[str]:
    """The names in a node list such as ``n[1-3]``. Raises `SlurmError`."""
    return call("scontrol", "show", "hostnames", nodes).split()


def node_address(name: str) -> str:
    """What Slurm reaches a node by: an address or a name. Raises `SlurmError`."""
    return parse_address(call("scontrol", "show", "node", "-o", name)) or name


def nodes(names: Sequence[str], timeout_s: float = COMMAND_LIMIT_S) -> Mapping[str, NodeRecord]:
    """What slurmctld says about these nodes. Raises `SlurmError`."""
    return parse_nodes(call("scontrol", "show", "node", "-o", ",".join(names), timeout_s=timeout_s))


def step_of(number: str, name: str) -> str:
    """The step of a job with this name, as ``12.3``; empty when there is none. Raises as `call`."""
    for line in call("squeue", "-h", "-s", "-j", number, "-o", "%i|%j").splitlines():
        step, _, found = line.strip().partition("|")
        if found == name:
            return step
    return ""


def _problem(program: str, text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    shown = lines[-1] if lines else "no output"
    for prefix in (f"{program}: error: ", f"{program}: fatal: ", f"{program}: "):
        shown = shown.removeprefix(prefix)
    return f"{program} failed: {shown}"


def path_of(program: str) -> str:
    """The path of a command. Raises `SlurmError`."""
    found = tools.program(program, os.environ)
    if found is None:
        raise SlurmError(f"{program} is not on PATH", "Use a login node of the cluster.")
    return found
