"""A job that another launcher started, as a run directory in a temporary folder.

So every reader of a run reads it too. Nothing is written to the job's folder or to the folder of
runs, and no process of the job gets a signal or a message.
"""

from __future__ import annotations

import re
import socket
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.core.diagnosis.evidence import find_evidence
from launcher.core.diagnosis.failure import Death, name_failure
from launcher.core.diagnosis.hang import STOPPED_STATES, step_limit_s, usual_interval_s
from launcher.core.profile.model import Limits
from launcher.core.run import events
from launcher.core.run.events import Event
from launcher.core.run.info import RunInfo
from launcher.core.run.paths import RunPaths
from launcher.process import private
from launcher.store.tail import READ_BYTES
from launcher.watching import holders
from launcher.watching.layout import Files, Layout
from launcher.watching.rank import WatchedLog

LOOK_EVERY_S = 1.0
"""How often processes are looked for."""
GRACE_S = 5.0
"""Ranks of a job that is done leave within this time of each other."""
UPDATE_BYTES = 64 << 20
"""What one update reads: logs may have gigabytes."""
WAITS = "its log does not grow"
SETTLE_S = 3.0
"""A job whose writers were never seen is over after so long without a line."""


@dataclass
class _Rank:
    log: WatchedLog
    pid: int = 0
    """The process that writes its log; its children write there, too."""
    gone_s: float | None = None
    silent_why: str = ""
    """Why it counts as silent; empty while it does not."""
    has_exited: bool = False


class WatchedJob:
    """``update`` reads what is new; what it makes of that is in the run directory ``root``.

    ``silent_s``: a rank whose log does not grow for so long is silent; 0: learned from its steps.
    """

    def __init__(
        self, name: str, pattern: re.Pattern[str] | None = None, silent_s: float = 0.0
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="effnet-watch-", ignore_cleanup_errors=True
        )
        self.name = name
        self._pattern = pattern
        limits = Limits()
        self._limits = limits.model_copy(
            update=dict.fromkeys(("silent_min_s", "compile_s"), silent_s) if silent_s else {}
        )
        root = Path(self._folder.name) / re.sub(r"[^\w.-]+", "-", name).strip("-.")[-60:]
        self._paths = RunPaths(root if root.name else root / "job")
        private.make_folder(self._paths.root)
        self.root = self._paths.root
        self._layout = Layout()
        self._node = ""
        self._ranks: dict[int, _Rank] = {}
        self._n = 0
        self._attempt = 0
        self._training: tuple[int | None, int | None] | None = None
        self._looked_s = 0.0
        self._is_over = False
        self._trouble = ""
        self._sizes_at_end: list[int] = []
        self.is_behind = False

    def close(self) -> None:
        """Removes the temporary folder."""
        if not self._is_over:
            self._is_over = True
            self._end_logs()
        self._folder.cleanup()

    def update(self, files: Files, now_s: float | None = None) -> None:
        """Reads some of what is new in the files of the job; ``is_behind``: not all of it."""
        now_s = time.time() if now_s is None else now_s
        self._take_layout(files, now_s)
        self._read(now_s, UPDATE_BYTES)
        self._note_trouble(files.trouble)
        if (
            not files.trouble
            and not self.is_behind
            and not self._is_over
            and abs(now_s - self._looked_s) >= LOOK_EVERY_S
        ):
            self._looked_s = now_s
            self._look(files, now_s)

    def _note_trouble(self, trouble: str) -> None:
        if bool(trouble) is bool(self._trouble) or not self._attempt:
            return
        self._trouble = trouble
        where = self._attempt, self._node
        unreachable = events.NodeUnreachable(*where, 0.0, trouble)
        self._emit(unreachable if trouble else events.NodeReached(*where), time.time())

    # -- what is there

    def _take_layout(self, files: Files, now_s: float) -> None:
        known, new = self._layout.attempts, files.layout.attempts
        has_grown = self._is_over and self._sizes() != self._sizes_at_end
        if not new or (files.layout == self._layout and not has_grown):
            return
        if not self._n or has_grown or known != new[: len(known)]:
            self._start_over(files, now_s)
            known = ()
        self._layout = files.layout
        for ranks in new[len(known) :]:
            if self._attempt:
                self._read(now_s)
                self._end(now_s)
            self._begin(ranks, files, now_s)
            self._read(now_s)

    def _start_over(self, files: Files, now_s: float) -> None:
        """Another rank appeared, so the job has just begun; or it began again in its old files."""
        if not self._is_over:
            self._end_logs()
        old = self._paths.attempts
        if old.exists():
            old.rename(old.with_name(f".old-{now_s}"))
        # Another file, not the old one cut off: a reader sees that it is new.
        new = self._paths.events.with_suffix(".new")
        new.touch(private.FILE_MODE)
        new.replace(self._paths.events)
        self._n = self._attempt = 0
        self._is_over, self._looked_s = False, 0.0
        self._node = files.node or socket.gethostname()

    def _begin(self, ranks: Mapping[int, tuple[str, ...]], files: Files, now_s: float) -> None:
        self._attempt += 1
        self._training, self._is_over = None, False
        world_size = max(ranks) + 1
        attempt = self._paths.attempt(self._attempt)
        self._ranks = {
            rank: _Rank(
                WatchedLog(
                    self._attempt,
                    rank,
                    attempt.rank(rank),
                    [Path(name) for name in names],
                    world_size,
                    self._pattern,
                    has_local_times=files.writers is None,
                )
            )
            for rank, names in ranks.items()
        }
        if files.layout.scheduler:
            attempt.scheduler_log.symlink_to(Path(files.layout.scheduler).absolute())
        started_s = self._started_s(now_s)
        if self._attempt == 1:
            command = ("effnet-tui", "watch", self.name)
            info = RunInfo(
                self.name,
                files.layout.launcher,
                started_s,
                world_size,
                command=command,
                is_watched=True,
                runs_script=True,
            )
            self._paths.run.write_text(info.to_json(), "utf-8")
            launcher = files.layout.launcher
            self._emit(events.RunCreated(self.name, launcher, world_size), started_s)
        self._emit(events.AttemptStarted(self._attempt, world_size), started_s)
        for item in self._ranks.values():
            item.log.started_s = started_s
            self._emit(self._started(item), started_s)

    def _started(self, item: _Rank) -> Event:
        rank = item.log.rank
        return events.RankStarted(self._attempt, rank, self._node, rank, None, item.pid)

    def _started_s(self, now_s: float) -> float:
        """The first time in a log; else when the folder got its last file."""
        stamps = [item.log.first_stamp() for item in self._ranks.values()]
        known = [stamp for stamp in stamps if stamp is not None]
        changed = [item.log.changed_s or now_s for item in self._ranks.values()]
        folders = {path.parent for item in self._ranks.values() for path in item.log.files}
        made = [folder.stat().st_mtime for folder in folders if folder.is_dir()]
        return min([*known, *changed, *made], default=now_s)

    # -- lines

    def _read(self, now_s: float, limit_bytes: int = 1 << 62) -> None:
        share = max(READ_BYTES, limit_bytes // max(1, len(self._ranks)))
        self.is_behind = False
        for rank, item in self._ranks.items():
            for _ in range(0, share, READ_BYTES):
                found = item.log.read_new(now_s)
                self._announce(item.log)
                for time_s, event in found:
                    if rank == self._first and not isinstance(event, events.TrainingStarted):
                        self._emit(event, time_s)
                if item.log.is_read:
                    break
            else:
                self.is_behind = True

    @property
    def _first(self) -> int:
        return min(self._ranks)

    def _announce(self, log: WatchedLog) -> None:
        """That training began, and each time that more is known of how long it is."""
        if log.highest_step < 0 or log.rank != self._first:
            return
        length = log.epochs, log.steps_per_epoch
        if length != self._training:
            self._training = length
            recent = log.recent()
            time_s = recent[0].time_s if recent else log.started_s
            self._emit(events.TrainingStarted(self._attempt, *length), time_s)

    # -- processes

    def _look(self, files: Files, now_s: float) -> None:
        paths = [str(path) for item in self._ranks.values() for path in item.log.files]
        known = holders.writers(paths) if files.writers is None else files.writers
        for item in self._ranks.values():
            pids = {pid for path in item.log.files for pid in known.get(str(path), ())}
            if pids and item.pid not in pids and not (item.pid and self._shows_error(item)):
                # The first one may have been the launcher, which opened the log for the rank.
                item.pid = min(pids)
                self._emit(self._started(item), item.log.started_s)
            if item.pid not in pids and item.gone_s is None and self._is_gone(item, files, now_s):
                item.gone_s = item.log.changed_s or now_s
        if all(item.gone_s is not None for item in self._ranks.values()):
            self._end(now_s)
        else:
            self._name_a_death(now_s)
        if not self._is_over:
            self._find_silent(files, now_s)

    def _is_gone(self, item: _Rank, files: Files, now_s: float) -> bool:
        if item.pid or item.log.is_done:
            return True
        quiet_s = now_s - (item.log.changed_s or item.log.started_s)
        if files.sees_writers is None:
            sees = all(holders.sees_writers(str(path)) for path in item.log.files)
        else:
            sees = files.sees_writers
        return quiet_s > (SETTLE_S if sees else 20 * self._limit_s())

    # -- ends

    def _name_a_death(self, now_s: float) -> None:
        """Some ranks are gone while others live: a failure, unless all of them leave soon."""
        gone = {rank: item for rank, item in self._ranks.items() if item.gone_s is not None}
        overdue = [item for item in gone.values() if now_s - (item.gone_s or now_s) > GRACE_S]
        if overdue or any(self._shows_error(item) for item in gone.values()):
            self._report_exits(gone)

    def _shows_error(self, item: _Rank) -> bool:
        found = find_evidence(item.log.last_words()[0])
        return not item.log.is_done and (found.meaning is not None or bool(found.error))

    def _report_exits(self, gone: Mapping[int, _Rank], has_failed: bool = True) -> None:
        for rank, item in gone.items():
            if not item.has_exited:
                item.has_exited = True
                was_done = item.log.is_done or not has_failed
                exited = events.RankExited(self._attempt, rank, self._node, was_done=was_done)
                self._emit(exited, item.gone_s or 0.0)

    def _end(self, now_s: float) -> None:
        """Of the attempt: how, as far as the logs show it."""
        if self._is_over:
            return
        self._is_over = True
        self._read(now_s)
        for item in self._ranks.values():
            item.gone_s = item.gone_s or item.log.changed_s or now_s
        deaths = self._deaths()
        self._report_exits(self._ranks, has_failed=bool(deaths))
        end_s = max(item.gone_s or 0.0 for item in self._ranks.values())
        if deaths:
            failure = replace(name_failure(deaths, self._ranks), time=None)
            self._emit(events.AttemptFailed(self._attempt, failure), end_s)
        else:
            self._emit(self._quiet_end(), end_s)
        self._end_logs()
        self._sizes_at_end = self._sizes()

    def _sizes(self) -> list[int]:
        return [item.log.size_bytes for item in self._ranks.values()]

    def _deaths(self) -> list[Death]:
        """Of ranks whose log shows an error, and of those that ended before the others."""
        found: list[Death] = []
        has_own_error = False
        steps = {rank: item.log.highest_step for rank, item in self._ranks.items()}
        for rank, item in self._ranks.items():
            words, offset = item.log.last_words()
            shown = find_evidence(words)
            is_error = shown.meaning is not None or bool(shown.error)
            has_own_error = has_own_error or (is_error and not shown.is_consequence)
            found.append(
                Death(
                    self._node,
                    item.gone_s or 0.0,
                    rank,
                    asked=item.log.is_done or not is_error,
                    last_lines=words,
                    log=str(item.log.files[0]),
                    log_offset=offset,
                )
            )
        errors = [death for death in found if not death.asked]
        if not errors and len(set(steps.values())) == 1:
            return []
        if not errors and all(item.log.is_done for item in self._ranks.values()):
            return []
        if has_own_error:
            return found
        # Only consequences are in the logs: a rank that says nothing was killed, and they followed.
        quiet = [death for death in found if death.asked and not self._log(death).is_done]
        return [replace(death, asked=death not in quiet) for death in found] if quiet else found

    def _log(self, death: Death) -> WatchedLog:
        return self._ranks[death.rank or 0].log

    def _quiet_end(self) -> Event:
        log = self._ranks[self._first].log
        done = log.highest_step + 1 if log.highest_step >= 0 else None
        total = (log.epochs or 0) * (log.steps_per_epoch or 0)
        if log.stopped or (total and (done or 0) < total and not log.is_done):
            return events.AttemptStopped(self._attempt, done)
        if done and log.steps_per_epoch and log.epochs is None:
            log.epochs = -(-done // log.steps_per_epoch)
            self._announce(log)
        return events.AttemptFinished(self._attempt, done)

    def _end_logs(self) -> None:
        for item in self._ranks.values():
            item.log.end()

    # -- silence

    def _limit_s(self) -> float:
        known = [usual_interval_s(item.log.recent()) for item in self._ranks.values()]
        usual = [interval for interval in known if interval is not None]
        return step_limit_s(self._limits, max(usual)) if usual else self._limits.compile_s

    def _find_silent(self, files: Files, now_s: float) -> None:
        living = {rank: item for rank, item in self._ranks.items() if item.gone_s is None}
        quiet = {
            rank: now_s - (item.log.changed_s or item.log.started_s)
            for rank, item in living.items()
        }
        limit_s = self._limit_s()
        late = {rank for rank in living if quiet[rank] > limit_s}
        is_here = files.writers is None
        stopped = {
            rank
            for rank in late
            if is_here and holders.state_of(living[rank].pid) in STOPPED_STATES
        }
        # Where all wait, for those that are behind.
        lowest = min((item.log.highest_step for item in living.values()), default=0)
        behind = {rank for rank in late if living[rank].log.highest_step == lowest}
        silent = stopped or (behind if late == set(living) else set())
        why = "its process is stopped (SIGSTOP or a debugger)" if stopped else WAITS
        for rank, item in living.items():
            now_why = why if rank in silent else ""
            if now_why != item.silent_why:
                item.silent_why = now_why
                where = self._attempt, rank, self._node, None, round(quiet[rank], 3)
                begun, ended = events.RankSilent(*where, why), events.RankRecovered(*where)
                self._emit(begun if now_why else ended, now_s)

    def _emit(self, event: Event, time_s: float) -> None:
        self._n += 1
        line = events.to_json(replace(event, n=self._n, t=time_s))
        with self._paths.events.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
