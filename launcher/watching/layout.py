"""Which files of a folder are the logs of which rank: what msrun, mpirun, torchrun and mindformers
write.

msrun: ``worker_3.log`` (``--worker_log_name`` changes the first part) and ``scheduler.log``; with
mindformers in ``output/msrun_log``. mpirun: ``--output-filename DIR`` makes
``DIR/[JOB/]rank.3/stdout`` and ``stderr``. torchrun: ``--log-dir DIR --redirects 3`` (or
``--tee 3``) makes ``DIR/ID/attempt_0/3/stdout.log`` and ``stderr.log``; the number is the local
rank. mindformers alone: ``output/log/rank_3/info.log`` and ``error.log``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

DEPTH = 6
"""Folders below the one that is named."""
MAX_RANKS = 65_536


@dataclass(frozen=True)
class Layout:
    """``attempts``, oldest first: rank -> names of its log files, below the folder or whole paths.

    ``scheduler`` is the log of msrun's scheduler, empty where there is none.
    """

    launcher: str = ""
    attempts: tuple[Mapping[int, tuple[str, ...]], ...] = ()
    scheduler: str = ""


@dataclass(frozen=True)
class Files:
    """The log files of a job; what ``places`` names are folders on ``node``."""

    layout: Layout
    node: str = ""
    writers: Mapping[str, tuple[int, ...]] | None = None
    """Path -> pids that write to it; ``None``: ask this machine."""
    sees_writers: bool | None = None
    trouble: str = ""
    """Why ``node`` does not answer now; empty when it does."""


@dataclass(frozen=True)
class _Kind:
    """``pattern``: groups rank, and attempt where there can be several."""

    launcher: str
    pattern: re.Pattern[str]
    scheduler: str = ""
    wants: str = ""
    """What the message says that was looked for."""


_KINDS = (
    _Kind(
        "msrun",
        re.compile(r"(?P<place>(?:.*/)?)(?:[^/]*_)?worker_(?P<rank>\d+)\.log"),
        "scheduler.log",
        "worker_N.log (msrun)",
    ),
    _Kind(
        "torchrun",
        re.compile(
            r"(?P<place>(?:.*/)?)attempt_(?P<attempt>\d+)/(?P<rank>\d+)/std(?:out|err)\.log"
        ),
        wants="attempt_N/RANK/stdout.log (torchrun --log-dir DIR --redirects 3)",
    ),
    _Kind(
        "mpirun",
        re.compile(r"(?P<place>(?:.*/)?)rank\.(?P<rank>\d+)/std(?:out|err)"),
        wants="rank.N/stdout (mpirun --output-filename DIR)",
    ),
    _Kind(
        "mindformers",
        re.compile(r"(?P<place>(?:.*/)?)rank_(?P<rank>\d+)/(?:info|error)\.log"),
        wants="rank_N/info.log (mindformers)",
    ),
    # msrun with another --worker_log_name: known by its scheduler's log.
    _Kind("msrun", re.compile(r"(?P<place>(?:.*/)?)[^/]*_(?P<rank>\d+)\.log"), "scheduler.log"),
)
WANTED = tuple(kind.wants for kind in _KINDS if kind.wants)
"""What is looked for in a folder, for a message."""


def of_folder(names: Iterable[str], newest: Mapping[str, float] | None = None) -> Layout:
    """The job of a folder, from the names of the files below it; an empty one where none is.

    Of several jobs below it, the one whose files changed last (``newest``: name -> Unix time).
    """
    listed = sorted(names)
    times = newest or {}
    for kind in _KINDS:
        found: dict[str, dict[int, dict[int, list[str]]]] = {}
        for name in listed:
            if (match := kind.pattern.fullmatch(name)) is None or int(match["rank"]) >= MAX_RANKS:
                continue
            attempt = int(match.groupdict().get("attempt") or 0)
            ranks = found.setdefault(match["place"], {}).setdefault(attempt, {})
            ranks.setdefault(int(match["rank"]), []).append(name)
        if not kind.wants:
            found = {
                place: job for place, job in found.items() if f"{place}scheduler.log" in listed
            }
        if found:
            place = max(found, key=lambda at: (_newest(found[at], times), at))
            scheduler = f"{place}{kind.scheduler}"
            return Layout(
                kind.launcher,
                tuple(_sorted(found[place][number]) for number in sorted(found[place])),
                scheduler if kind.scheduler and scheduler in listed else "",
            )
    return Layout()


def of_files(paths: Iterable[str]) -> Layout:
    """Files that a pattern matched: the rank is the last number in the name, else the position."""
    listed = sorted(paths)
    known = of_folder(listed)
    if sum(len(ranks) for attempt in known.attempts for ranks in attempt.values()) == len(listed):
        return known
    numbers = [re.findall(r"\d+", path.rpartition("/")[2]) for path in listed]
    ranks = [int(found[-1]) if found else -1 for found in numbers]
    if len(set(ranks)) < len(ranks) or not all(0 <= rank < MAX_RANKS for rank in ranks):
        ranks = list(range(len(listed)))
    return Layout(
        "files", ({rank: (path,) for rank, path in sorted(zip(ranks, listed, strict=True))},)
    )


def _newest(job: Mapping[int, Mapping[int, list[str]]], times: Mapping[str, float]) -> float:
    names = (name for ranks in job.values() for files in ranks.values() for name in files)
    return max((times.get(name, 0.0) for name in names), default=0.0)


def _sorted(ranks: Mapping[int, list[str]]) -> dict[int, tuple[str, ...]]:
    """Standard output, or what is informative, before errors: these come last."""
    return {
        rank: tuple(sorted(ranks[rank], key=lambda name: ("err" in name.rpartition("/")[2], name)))
        for rank in sorted(ranks)
    }
