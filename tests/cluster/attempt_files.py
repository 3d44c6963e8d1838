"""What the files of a run say of one attempt."""

from __future__ import annotations

import hashlib
from pathlib import Path

from launcher.core.plan.model import plan_from_json
from launcher.core.run.paths import AttemptPaths, RunPaths


def files(root: Path, attempt: int) -> AttemptPaths:
    return RunPaths(root).attempt(attempt)


def names(root: Path, attempt: int) -> list[str]:
    """Its nodes, in order."""
    return [node.name for node in plan_from_json(files(root, attempt).plan.read_bytes()).nodes]


def states(root: Path, attempt: int) -> dict[int, str]:
    """Step -> rank 0's state after it, which depends on all steps before."""
    log = files(root, attempt).rank(0).log
    # A node that lost its power may have sent half of its last line.
    text = log.read_text().rpartition("\n")[0] if log.exists() else ""
    lines = map(str.split, text.splitlines())
    found = [words for words in lines if words[:1] == ["state"] and len(words) == 3]
    return {int(step): state for _, step, state in found}


def unbroken(last: int, logical_size: int) -> dict[int, str]:
    """Those of a run of so many ranks that nothing interrupts, as the stand-in makes them."""
    found = {0: ""}
    for step in range(1, last + 1):
        text = f"{found[step - 1]} {step} {logical_size}"
        found[step] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found


def carried(root: Path, attempt: int, ranks: int) -> list[str]:
    """What each rank has said of the logical ranks that it carries."""
    logs = [files(root, attempt).rank(rank).log for rank in range(ranks)]
    lines = [log.read_text().splitlines() for log in logs]
    return [next((x for x in found if x.startswith("carries")), "") for found in lines]
