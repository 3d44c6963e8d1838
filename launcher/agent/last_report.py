"""The last reports of a node whose agent cannot make them: it died, or does not answer."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path

from launcher.agent.rank_log import RankLog
from launcher.core.messages import NodeEnded, Report, decode_report
from launcher.core.plan.model import Plan, plan_from_json
from launcher.core.run.events import Event, RankStarted
from launcher.core.run.paths import AttemptPaths
from launcher.core.text.codec import Mismatch
from launcher.core.text.records import UnknownKindError, encode
from launcher.errors import PlanError
from launcher.process.log import log_line
from launcher.store.journal import Journal, read_lines


def append(journal: Journal, report: Report | Event, *, sync: bool = True) -> None:
    """Raises `OSError`."""
    now_s = time.time()
    journal.append(
        lambda n: json.dumps(encode(replace(report, n=n, t=now_s)), separators=(",", ":")),
        sync=sync,
    )


def write(path: Path, folder: AttemptPaths, attempt: int, leftover: tuple[int, ...]) -> None:
    """Reads the rest of the ranks' logs into `metrics.bin` and the journal, then ends the journal.

    Its agent and its ranks have ended. `path` is the journal. Raises `OSError`.
    """
    known = set[str]()
    ranks = set[int]()
    for _, line in read_lines(path):
        try:
            report = decode_report(line)
        except (Mismatch, UnknownKindError):
            continue
        known.add(repr(replace(report, n=0, t=0.0)))
        if isinstance(report, RankStarted):
            ranks.add(report.rank)
    journal = Journal(path)
    step, has_stopped = 0, False
    plan: Plan | None = None
    with contextlib.suppress(OSError, PlanError):  # only this machine's own agents have it
        plan = plan_from_json(folder.plan.read_bytes())
    for rank in sorted(ranks):
        try:
            log = RankLog(attempt, rank, folder.rank(rank), plan)
            found = log.drain(time.time())
            log.close()
        except OSError as error:
            log_line(f"rank {rank}: its log cannot be read: {error}")
            continue
        step, has_stopped = max(step, log.global_step or 0), has_stopped or bool(log.stopped)
        for event in found if rank == 0 else ():
            if repr(event) not in known:
                append(journal, event, sync=False)
    append(journal, NodeEnded(step, has_stopped, leftover))
    journal.close()
