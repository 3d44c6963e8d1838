"""Nodes of a job that Slurm has lost: by what srun printed, and by what slurmctld says."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.core.run.state import RunState
from launcher.core.slurm import NodeRecord, is_lost_words
from launcher.errors import LaunchError, LostNodeError, NodeError
from launcher.planning.restart import IN_VAIN
from launcher.process import slurm

ANSWER_S = 5.0
"""For a question to slurmctld: nothing else of the run is handled meanwhile."""


def failed_launch(node: str, log: Path) -> NodeError:
    """The error of a node on which srun has ended and no agent runs. ``log``: of srun."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = log.read_text(errors="replace").strip().splitlines()
    record = _records((node,)).get(node)
    hint = f"Its log: {log}"
    found = next((line for line in lines if is_lost_words(line)), "")
    if found or (record is not None and not record.may_launch):
        why = "; ".join(filter(None, (found.removeprefix("srun: error: "), _words(record))))
        return LostNodeError(node, f"it was lost before its agent ran: {why}", hint)
    last = f": {lines[-1]}" if lines else ""
    return NodeError(node, f"its agent ended at once{last}", hint)


def lost_words(state: RunState, nodes: Sequence[str]) -> str:
    """Why the failure of the newest attempt is that of a node of the job; empty: it is not."""
    failure, attempt = state.failure, state.attempt
    if failure is None or attempt is None or failure.kind in IN_VAIN:
        return ""
    if failure.kind == "node" and failure.node is not None and not attempt.ranks:
        return f"{failure.node} was lost while the agents started"
    for name, record in _records(nodes).items():
        if record.is_lost:
            return f"{name} was lost: {_words(record)}"
    return ""


def launches_in_vain(state: RunState) -> int:
    """Attempts in a row, up to the newest, in which no rank started."""
    count = 0
    for attempt in reversed(state.attempts):
        if attempt.ranks:
            break
        count += 1
    return count


def _words(record: NodeRecord | None) -> str:
    return "" if record is None or record.may_launch else f"Slurm says {record.words}"


def _records(nodes: Sequence[str]) -> Mapping[str, NodeRecord]:
    """Empty where slurmctld does not answer."""
    with contextlib.suppress(LaunchError):
        return slurm.nodes(nodes, ANSWER_S)
    return {}
