"""The runs of this machine: their list, and one of them by its name."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from launcher.core.history.compare import Comparison, compared
from launcher.core.history.summary import RunSummary
from launcher.core.run.nodes import KeptState
from launcher.core.run.paths import RunPaths
from launcher.core.text.suggest import did_you_mean
from launcher.errors import RunNotFoundError
from launcher.reading.folders import runs_directory
from launcher.reading.history.settings import settings_of, surroundings_of
from launcher.reading.history.speed import speed_of
from launcher.reading.history.summary_cache import Stamp, SummaryCache, is_mine, stamp_of
from launcher.reading.run import RunReader
from launcher.reading.snapshot import RunSnapshot

LATEST = "latest"
ALIKE = 0.7
"""From here on, from 0 to 1, a name that is no run's may have been meant for one's."""
SETTLED_S = 10.0
"""After the end of a run its last files may still come from other nodes."""


class RunList:
    """The runs of a folder, polled: a run that is over is read once, also by later programs.

    ``unread`` is how many the last poll left for the next one. A folder that is ``temporary``
    leaves nothing in the user's cache.
    """

    def __init__(self, folder: Path | None = None, *, temporary: bool = False) -> None:
        self.folder = runs_directory() if folder is None else folder
        self.unread = 0
        self._is_temporary = temporary
        self._readers: dict[str, RunReader] = {}
        self._known: dict[str, tuple[Stamp, RunSummary]] = {}
        self._configs: dict[str, Mapping[str, Any]] = {}
        self._cache: SummaryCache | None = None

    def wait_for_answers(self) -> None:
        """Of all supervisors, which were asked by `poll`; as long as the slowest one needs."""
        for reader in self._readers.values():
            reader.wait_for_answer()

    def poll(self, now_s: float | None = None, limit_s: float | None = None) -> list[RunSummary]:
        """Living runs first, then the newest first.

        Within ``limit_s`` not all may be read: the newest ones are read first.
        """
        began_s = time.monotonic()
        if self._cache is None and not self._is_temporary:
            self._cache = SummaryCache(self.folder)
            self._known = dict(self._cache.entries)
        folder = str(self.folder)
        stamps = {name: stamp_of(f"{folder}/{name}") for name in _names(self.folder)}
        stamps = {name: stamp for name, stamp in stamps.items() if stamp}
        for name in self._known.keys() - stamps.keys():
            del self._known[name]
            self._readers.pop(name, None)
        new = [name for name, stamp in stamps.items() if not self._is_read(name, stamp)]
        new.sort(key=lambda name: (name in self._readers, stamps[name][-1]), reverse=True)
        self.unread = 0
        for at, name in enumerate(new):
            if at and limit_s is not None and time.monotonic() - began_s > limit_s:
                self.unread = len(new) - at
                break
            self._read(name, stamps[name], now_s)
        if not self.unread:
            self._keep()
        return sorted(
            (run for _, run in self._known.values()),
            key=lambda run: (not run.is_living, -(run.created_s or 0.0), run.run),
        )

    def _is_read(self, name: str, stamp: Stamp) -> bool:
        """Whether its summary holds. One that was lost writes an event when it comes back."""
        known = self._known.get(name)
        return known is not None and known[0] == stamp and not known[1].is_living

    def _read(self, name: str, stamp: Stamp, now_s: float | None) -> None:
        reader = self._readers.get(name) or RunReader(self.folder / name)
        known = self._known.get(name)
        snapshot = reader.poll(now_s)
        is_same = known is not None and known[0] == stamp
        config = known[1].config if known and is_same else self._config_of(reader)
        goodput = known[1].goodput if known and is_same else reader.goodput(now_s).share
        self._known[name] = stamp, summary_of(snapshot, config, goodput)
        if snapshot.status.is_over:
            self._readers.pop(name, None)
        else:
            self._readers[name] = reader

    def _config_of(self, reader: RunReader) -> Mapping[str, Any]:
        """The values of its training configuration; equal ones are one object."""
        found = settings_of(reader.paths, reader.info)
        config = {key: setting.value for key, setting in found.items()}
        return self._configs.setdefault(json.dumps(config, default=str), config)

    def _keep(self) -> None:
        """For the next program: runs of this user that have been over for a while."""
        cache, now_s = self._cache, time.time()
        settled = {
            name: (stamp, run)
            for name, (stamp, run) in self._known.items()
            if run.status.is_over and abs(now_s - (run.changed_s or now_s)) > SETTLED_S
            if is_mine(stamp)
        }
        if cache is not None and any(
            cache.entries.get(name, ((),))[0] != stamp for name, (stamp, _) in settled.items()
        ):
            cache.save(settled)


def list_runs(folder: Path | None = None) -> list[RunSummary]:
    """All runs, living ones first, then the newest first. To read it often, keep a RunList."""
    runs = RunList(folder)
    found = runs.poll()
    if not any(run.is_living for run in found):
        return found
    runs.wait_for_answers()
    return runs.poll()


def kept_by_runs() -> dict[str, KeptState]:
    """What failed runs keep for their next attempt now, by run."""
    now_s, found = time.time(), {}
    for run in RunList().poll():
        if run.kept_until_s is not None and run.kept_until_s > now_s:
            kept = RunReader(Path(run.path)).poll(now_s).kept
            if kept is not None:
                found[run.run] = kept
    return found


def open_run(name_or_path: str | Path, folder: Path | None = None) -> RunReader:
    """A run by its id, a unique prefix of it, ``latest``, or its path.

    Raises RunNotFoundError when there is none, or more than one.
    """
    text = str(name_or_path)
    if os.sep in text or isinstance(name_or_path, Path):
        root = Path(text).expanduser().absolute()
        if not is_run(root):
            beside = [other.name for other in run_roots(root.parent)]
            near = did_you_mean(root.name, beside, ALIKE)
            raise RunNotFoundError(f"{text} is not a run directory{near}")
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
        ids = [root.name for root in roots]
        near = did_you_mean(text, ids, ALIKE)
        near = near or did_you_mean(text, [run[: len(text)] for run in ids], ALIKE)
        raise RunNotFoundError(f"no run's id starts with {text!r}{near}", hint)
    names = ", ".join(sorted(root.name for root in found)[:8])
    raise RunNotFoundError(
        f"the ids of {len(found)} runs start with {text!r}", f"They are: {names}"
    )


def compare(readers: Sequence[RunReader]) -> Comparison:
    """Configurations, speeds, and where the time went, of runs in any state, in this order."""
    runs, settings, speeds = [], [], []
    for reader in readers:
        snapshot = reader.poll()
        config = settings_of(reader.paths, reader.info)
        batch = config.get("batch_size")
        speed = speed_of(reader, snapshot, None if batch is None else batch.value)
        speeds.append(speed)
        values = {key: item.value for key, item in config.items()}
        runs.append(summary_of(snapshot, values, speed.goodput.share))
        settings.append({**config, **surroundings_of(reader.paths, reader.info)})
    return compared(runs, settings, speeds)


def run_roots(folder: Path) -> list[Path]:
    """The run directories of a folder, in the order of their names."""
    return [folder / name for name in _names(folder) if is_run(folder / name)]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []


def is_run(root: Path) -> bool:
    """Whether a folder is a run directory."""
    paths = RunPaths(root)
    return paths.run.is_file() or paths.events.is_file()


def summary_of(
    snapshot: RunSnapshot, config: Mapping[str, Any], goodput: float | None
) -> RunSummary:
    """A snapshot's line in a list."""
    given: dict[str, Any] = {"config": config, "goodput": goodput}
    names = [item.name for item in fields(RunSummary) if item.name not in given]
    return RunSummary(**{name: getattr(snapshot, name) for name in names}, **given)


def _created_s(root: Path) -> tuple[float, str]:
    reader = RunReader(root)
    reader.poll_state()
    created_s = reader.state.created_s or (reader.info.created if reader.info else None)
    return (created_s or 0.0, root.name)
