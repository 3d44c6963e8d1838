"""Failures and restarts in words."""

from __future__ import annotations

from collections.abc import Sequence

from tui.drawing.text import clean, plural
from tui.model.run import Failure, Restart


def ranks_in_words(ranks: Sequence[int], limit: int = 6) -> str:
    """``rank 3``, ``ranks 0, 2, 5``, ``56 ranks``."""
    if not ranks:
        return "no rank"
    if len(ranks) > limit:
        return plural(len(ranks), "rank")
    noun = "rank" if len(ranks) == 1 else "ranks"
    return f"{noun} {', '.join(str(rank) for rank in ranks)}"


def headline(failure: Failure) -> str:
    """``rank 1 on node-b was first: signal SIGKILL (oom)``."""
    who = "the run" if failure.rank is None else f"rank {failure.rank}"
    where = f" on {clean(failure.node)}" if failure.node else ""
    first = " was first" if failure.rank is not None else ""
    kind = f" ({failure.kind})" if failure.kind and failure.kind not in failure.how else ""
    return f"{who}{where}{first}: {failure.how}{kind}"


def restart_words(restart: Restart | None) -> str:
    """What a resume would take, in one line."""
    if restart is None:
        return "looking for the checkpoint that a resume would take …"
    lost = f", {plural(restart.steps_lost, 'step')} lost" if restart.steps_lost is not None else ""
    if not restart.possible and restart.path:
        return f"was resumed from epoch {restart.epoch} step {restart.step}{lost}"
    if not restart.possible:
        return f"cannot resume: {restart.why}"
    words = f"resume from epoch {restart.epoch} step {restart.step}"
    words += ", verified" if restart.verified else ", not verified"
    return words + lost + (f"; {restart.why}" if restart.why else "")
