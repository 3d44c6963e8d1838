"""A cache folder for the trainer that outlives a session: its C++ kernels are compiled once for all
sessions, workers and hosts.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / ".cache/tests"
"""For `XDG_CACHE_HOME` of a process that runs nothing but the trainer."""


def link(cache: Path) -> None:
    """Puts the compiled kernels into a new cache folder."""
    kernels = FOLDER / "effnet-tui/kernels"
    kernels.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = cache / "effnet-tui"
    own.mkdir(mode=0o700)
    (own / "kernels").symlink_to(kernels)
