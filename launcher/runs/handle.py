"""Opens a run: one with `home.json` has its supervisor on its first node."""

from __future__ import annotations

from pathlib import Path

from launcher.runs.base import Run
from launcher.runs.delegated import DelegatedRun, home_of
from launcher.runs.local import LocalRun


def open_run(root: Path) -> Run:
    home = home_of(root)
    return LocalRun(root) if home is None else DelegatedRun(root, home)
