"""What is said where a preflight stops a start or a resume."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from launcher.core.preflight.row import Row, blocking
from launcher.errors import PreflightError

Action = Literal["start", "resume"]
_DONE = {"start": "started", "resume": "resumed"}


def refusal(
    rows: Iterable[Row],
    profile: str,
    ignored: Collection[str] = (),
    action: Action = "start",
) -> PreflightError | None:
    """The rows in the way, each with its hint, and how to go on all the same; None without any."""
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
        f"Mend them (effnet-launch preflight {profile}), or {action} all the same: {names}",
    )


def _one_line(text: str) -> str:
    """What a node said may hold anything; whoever shows it sees to the rest."""
    return "".join(char for char in text.replace("\n", " / ") if char.isprintable())
