"""Opens a run to act on it: one with `home.json` has its supervisor on its first node."""

from __future__ import annotations

from pathlib import Path

from launcher.runs.base import Run
from launcher.runs.delegated import DelegatedRun, home_of
from launcher.runs.local import LocalRun
from launcher.store import owner


def open_run(root: Path) -> Run:
    """Raises `NotMineError` for one that this user may only read, `RunNotFoundError`."""
    owner.must_be_mine(root)
    home = home_of(root)
    return LocalRun(root) if home is None else DelegatedRun(root, home)
