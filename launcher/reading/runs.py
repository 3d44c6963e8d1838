"""The runs of this machine: their list, and one of them by its name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from launcher.core.run.paths import RunPaths
from launcher.core.run.summary import RunSummary
from launcher.errors import RunNotFoundError
from launcher.reading.folders import runs_directory
from launcher.reading.run import RunReader
from launcher.reading.settings import settings_of
from launcher.reading.snapshot import RunSnapshot

LATEST = "latest"


class RunList:
    """The runs of a folder, polled: a run that is over is read once."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = runs_directory() if folder is None else folder
        self._readers: dict[Path, RunReader] = {}
        self._known: dict[Path, RunSummary] = {}

    def wait_for_answers(self) -> None:
        """Of all supervisors, which were asked by `poll`; as long as the slowest one needs."""
        for reader in self._readers.values():
            reader.wait_for_answer()

    def poll(self, now_s: float | None = None) -> list[RunSummary]:
        """Living runs first, then the newest first."""
        roots = run_roots(self.folder)
        for gone in self._readers.keys() - set(roots):
            del self._readers[gone]
            self._known.pop(gone, None)
        for root in roots:
            reader = self._readers.setdefault(root, RunReader(root))
            known = self._known.get(root)
            before = reader.state, reader.info
            reader.poll_state()
            is_new = before[0] is not reader.state or before[1] is not reader.info
            if is_new or known is None or not known.status.is_over:
                config = config_of(reader) if is_new or known is None else known.config
                self._known[root] = summary_of(reader.poll(now_s), config)
        return sorted(
            self._known.values(),
            key=lambda known: (not known.is_living, -(known.created_s or 0.0), known.run),
        )


def list_runs(folder: Path | None = None) -> list[RunSummary]:
    """All runs, living ones first, then the newest first. To read it often, keep a RunList."""
    runs = RunList(folder)
    runs.poll()
    runs.wait_for_answers()
    return runs.poll()


def open_run(name_or_path: str | Path, folder: Path | None = None) -> RunReader:
    """A run by its id, a unique prefix of it, ``latest``, or its path.

    Raises RunNotFoundError when there is none, or more than one.
    """
    text = str(name_or_path)
    if os.sep in text or isinstance(name_or_path, Path):
        root = Path(text).expanduser().absolute()
        if not is_run(root):
            raise RunNotFoundError(f"{text} is not a run directory")
        return RunReader(root)
    folder = runs_directory() if folder is None else folder
    roots = run_roots(folder)
    if text == LATEST:
        if not roots:
            raise RunNotFoundError("there are no runs yet", f"Runs are kept in {folder}.")
        return RunReader(max(roots, key=_created_s))
    found = [root for root in roots if root.name == text]
    found = found or [root for root in roots if text and root.name.startswith(text)]
    if len(found) == 1:
        return RunReader(found[0])
    if not found:
        hint = f"Runs are kept in {folder}; `effnet-launch runs` lists them."
        raise RunNotFoundError(f"no run's id starts with {text!r}", hint)
    names = ", ".join(sorted(root.name for root in found)[:8])
    raise RunNotFoundError(
        f"the ids of {len(found)} runs start with {text!r}", f"They are: {names}"
    )


def run_roots(folder: Path) -> list[Path]:
    """The run directories of a folder, in the order of their names."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError:
        return []
    return [folder / name for name in names if is_run(folder / name)]


def is_run(root: Path) -> bool:
    """Whether a folder is a run directory."""
    paths = RunPaths(root)
    return paths.run.is_file() or paths.events.is_file()


def summary_of(snapshot: RunSnapshot, config: Mapping[str, Any]) -> RunSummary:
    """A snapshot's line in a list."""
    names = [item.name for item in fields(RunSummary) if item.name != "config"]
    return RunSummary(**{name: getattr(snapshot, name) for name in names}, config=config)


def config_of(reader: RunReader) -> Mapping[str, Any]:
    """The values of its training configuration."""
    found = settings_of(reader.paths, reader.info)
    return {key: setting.value for key, setting in found.items()}


def _created_s(root: Path) -> tuple[float, str]:
    reader = RunReader(root)
    reader.poll_state()
    created_s = reader.state.created_s or (reader.info.created if reader.info else None)
    return (created_s or 0.0, root.name)
