"""Summaries of runs that are over, kept between calls: a list of 1,000 runs reads one file.

The file is in the user's cache folder, one for each runs folder. It is only believed when it
belongs to this user, nobody else can write it, and its checksum is right; else everything is read
again. A summary is used while `run.json` and `events.jsonl` are the files that it was made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

import platformdirs

from launcher.core.history.summary import RunSummary
from launcher.core.run.state import RunStatus
from launcher.core.text.codec import to_plain
from launcher.process import private
from launcher.reading.folders import APP

Stamp: TypeAlias = tuple[int, ...]
"""Owner, inode, length and times of change of a run's files, in nanoseconds; empty: no run."""

MISSING = (-1,) * 6
OF_A_LIVING_RUN = ("eta_s", "hang", "supervisor_silent")
NAMES = tuple(item.name for item in fields(RunSummary) if item.name not in OF_A_LIVING_RUN)
FORMAT = f"effnet-tui runs 1: {' '.join(NAMES)}"
LIMIT_BYTES = 256 * 1024 * 1024


def stamp_of(root: str) -> Stamp:
    """What the summary of the run directory depends on, once it is over."""
    found: list[int] = []
    for name in ("/run.json", "/events.jsonl"):
        try:
            file = os.stat(root + name)
        except OSError:
            found += MISSING
            continue
        times = (file.st_ctime_ns, file.st_mtime_ns)
        found += (file.st_uid, file.st_dev, file.st_ino, file.st_size, *times)
    return () if found == [*MISSING, *MISSING] else tuple(found)


def is_mine(stamp: Stamp) -> bool:
    """Whether the files belong to this user."""
    return {stamp[0], stamp[len(MISSING)]} <= {os.geteuid(), MISSING[0]}


class SummaryCache:
    """The kept summaries of one runs folder, by the name of the run's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.entries: dict[str, tuple[Stamp, RunSummary]] = {}
        self._load()

    @property
    def _path(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self._folder)).hexdigest()
        return platformdirs.user_cache_path(APP, appauthor=False) / f"runs-{digest[:16]}.json"

    def save(self, entries: Mapping[str, tuple[Stamp, RunSummary]]) -> None:
        """Keeps these and no others. Without a place to write to, nothing is kept."""
        self.entries = dict(entries)
        configs: dict[str, int] = {}
        runs = {}
        for name, (stamp, summary) in entries.items():
            values = [getattr(summary, field) for field in NAMES[:-1]]
            text = json.dumps(to_plain(summary.config), default=str)
            runs[name] = [stamp, *values, configs.setdefault(text, len(configs))]
        body = json.dumps({"folder": self._folder, "configs": [*configs], "runs": runs}).encode()
        path = self._path
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            private.make_folder(path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(aside, flags, private.FILE_MODE), "wb") as file:
                file.write(f"{FORMAT}\n{hashlib.sha256(body).hexdigest()}\n".encode() + body)
            os.replace(aside, path)

    def _load(self) -> None:
        try:
            with open(self._path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                    return
                head, digest, body = file.read(LIMIT_BYTES).split(b"\n", 2)
        except (OSError, ValueError):
            return
        if head.decode("utf-8", "replace") != FORMAT:
            return
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return
        data = json.loads(body)
        configs: list[Any] = [json.loads(text) for text in data["configs"]]
        for name, (stamp, *values, config) in data["runs"].items():
            found = dict(zip(NAMES, (*values, configs[config]), strict=True))
            found["status"] = RunStatus(found["status"])
            found |= {"eta_s": None, "hang": None, "supervisor_silent": None}
            self.entries[name] = (tuple(stamp), RunSummary(**found))
