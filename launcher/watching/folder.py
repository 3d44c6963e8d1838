"""The log files of a job on this machine: of a folder, or those that a pattern matches."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from launcher.errors import UsageError
from launcher.reading.runs import is_run
from launcher.watching import layout
from launcher.watching.layout import Files, Layout

FIND_EVERY_S = 1.0
MAX_FILES = 100_000


class LocalFiles:
    """Raises UsageError where no log of a rank is found."""

    def __init__(self, target: str) -> None:
        self._target = os.path.expanduser(target)
        self._found_s = time.monotonic()
        self._layout = self._find()
        if not self._layout.attempts:
            raise self._nothing()

    def files(self) -> Files:
        """As they are now; new ranks and attempts are looked for once a second."""
        if time.monotonic() - self._found_s >= FIND_EVERY_S:
            self._found_s = time.monotonic()
            # Of a job whose folder was removed, what was read stays.
            found = self._find()
            self._layout = found if found.attempts else self._layout
        return Files(self._layout)

    def close(self) -> None:
        """Nothing was started."""

    def _find(self) -> Layout:
        root = Path(self._target)
        if root.is_dir():
            times = dict(_below(root))
            return _placed(layout.of_folder(times, times), str(root.absolute()))
        matched = [path for path in glob.glob(self._target, recursive=True) if os.path.isfile(path)]
        return layout.of_files(os.path.abspath(path) for path in matched)

    def _nothing(self) -> UsageError:
        root = Path(self._target)
        if root.is_dir() and is_run(root):
            hint = f"Open it with: effnet-tui {self._target}"
            return UsageError(f"{self._target} is a run of this launcher", hint)
        if root.is_dir():
            wanted = "; ".join(layout.WANTED)
            hint = f"Looked for: {wanted}. For other names give a pattern in quotes: 'DIR/*.log'"
            return UsageError(f"no logs of ranks in {self._target}", hint)
        if glob.has_magic(self._target):
            return UsageError(f"no file matches {self._target}", "Check the path.")
        return UsageError(f"there is no {self._target}", "Name a folder, a file, or HOST:FOLDER.")


def _below(root: Path) -> Iterator[tuple[str, float]]:
    """Names of the files below a folder, and when each was changed."""
    count = 0
    for folder, folders, names in os.walk(root):
        below = os.path.relpath(folder, root)
        prefix = "" if below == "." else f"{below}/"
        if prefix.count("/") >= layout.DEPTH:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            count += 1
            if count > MAX_FILES:
                return
            try:
                yield f"{prefix}{name}", os.stat(f"{folder}/{name}").st_mtime
            except OSError:
                continue


def _placed(found: Layout, root: str) -> Layout:
    """With whole paths."""
    attempts: tuple[Mapping[int, tuple[str, ...]], ...] = tuple(
        {rank: tuple(f"{root}/{name}" for name in names) for rank, names in ranks.items()}
        for ranks in found.attempts
    )
    return Layout(found.launcher, attempts, found.scheduler and f"{root}/{found.scheduler}")
