"""All that one agent started in one attempt: its ranks, their logs, their end."""

from __future__ import annotations

import math
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from launcher.agent import sampler, shared_memory_watch
from launcher.agent.deaths import death_of, lagging_text, last_words, unstarted
from launcher.agent.disk_watch import DiskWatch
from launcher.agent.hang_watch import HangWatch
from launcher.agent.kernel_log import OomKills
from launcher.agent.processes.parents import Parents
from launcher.agent.processes.started import Started
from launcher.agent.rank_log import RankLogs
from launcher.agent.shared_memory_watch import SegmentWatch, shm_file
from launcher.core.diagnosis.failure import Death
from launcher.core.messages import Died, NodeEnded, Report, Trouble
from launcher.core.plan import forks
from launcher.core.plan.model import Plan, PlannedProcess, Role
from launcher.core.run.events import (
    Event,
    FailureKind,
    KeptProcess,
    RankExited,
    RankStarted,
)
from launcher.core.run.paths import AttemptPaths, RunPaths, node_journal
from launcher.process import ownership, spawn
from launcher.process.forking import Warm
from launcher.process.spawn import Exit, SpawnedProcess
from launcher.process.termination import GracePeriods, Stage, Termination
from launcher.store.log_limit import LogLimit

WATCH_S = 0.25
FAIL_TERM_S = 1.5
"""Between SIGTERM and SIGKILL when a rank died: its peers can save nothing without it."""
REAP_S = 5.0
"""For the kernel to be done with processes that were killed: one with much memory takes a while."""
FINISH_S = 10.0
"""For the scheduler and helpers to leave by themselves when the ranks are done."""

Emit = Callable[[Event | Report], None]


class RankGroup:
    """The processes of a node's part of the plan.

    `emit` journals and sends what happens (docs/design/agent-messages.md). Each pid is registered
    with `selector`, whose owner passes its end to `child_ended`.
    """

    def __init__(
        self,
        plan: Plan,
        token: str,
        emit: Emit,
        selector: selectors.BaseSelector,
        warm: Sequence[Warm] = (),
    ) -> None:
        self.plan = plan
        self.token = token
        self._node = plan.node.name
        self._root = Path(plan.run_directory)
        self.is_over = False
        self._emit = emit
        self._paths: AttemptPaths = RunPaths(self._root).attempt(plan.attempt)
        log = str(self._paths.fork_log(self._node))
        self._parents = Parents(token, log, warm, stay=plan.keep_warm_s > 0)
        self._started = Started(token, self._parents, selector)
        self._living, self.rank_pids = self._started.living, self._started.rank_pids
        self._ending: Termination | None = None
        self._asked: str | None = None
        """Why we are ending them, when we are."""
        self._awaited: dict[int | None, PlannedProcess] = {}
        """Ranks that mpirun or their parent has not started yet, and OpenMPI's daemon (None)."""
        self._join_until = 0.0
        self._first_done = 0.0
        self._oom_kills = OomKills()
        self._sampler: sampler.Sampler | None = None
        self._segments = SegmentWatch(
            shm_file(node_journal(self._paths.root, self._node)),
            lambda: [process.pid for process in ownership.owned(self._started.claim())],
        )
        self._limit = LogLimit(self._root, plan.log_limit_bytes)
        self._disks = DiskWatch(self._root, plan.attempt, self._node, emit)
        self._logs = RankLogs(emit, self._disks.saved)
        self._hang = HangWatch(plan, self.rank_pids, emit)
        self._watch_at = 0.0
        self._is_hurried = False
        self._reap_until = math.inf
        self._are_others_done = plan.has_all_ranks
        """Whether no rank of another node needs the scheduler any more."""

    @property
    def warm(self) -> list[Warm]:
        """What has imported for its ranks, and waits for those of the next attempt."""
        return self._started.warm

    @property
    def kept(self) -> tuple[KeptProcess, ...]:
        """The same, as people are told of it."""
        return self._started.kept(self._node)

    def awaits_end_of(self, pid: int) -> bool:
        """Whether the end of this child is still to come, and is passed to `child_ended`."""
        if pid not in self._living:
            self._take_forked()
        return pid in self._living

    def start(self) -> None:
        """Starts the scheduler or mpirun, then the ranks that mpirun does not start."""
        plan, groups = self.plan, forks.groups(self.plan.ranks)
        forked = {rank.rank: rank for group in groups for rank in group}
        self._awaited = {p.rank: p for p in plan.processes if not p.is_started} | forked
        self._join_until = time.monotonic() + plan.limits.launch_s
        try:
            self._logs.open(plan, self._paths)
            self._sampler = sampler.started(plan, self._paths, self.rank_pids, self._logs)
            self._segments.start()
        except OSError as error:
            self._launch_failed("the run directory", error)
            return
        for process in plan.processes:
            if process.is_started and process.rank not in forked and self._ending is None:
                self._start_one(process)
        for group in groups:
            if self._ending is None:
                self._start_parent(group)
        self._parents.drop_unused()

    def turn(self, now: float) -> None:
        """One turn of the agent's loop: logs, heartbeats, ending. `now` is monotonic seconds."""
        if self.is_over:
            return
        self._take_forked()
        self._logs.read()
        if not self._first_done and self._logs and self._logs.are_done:
            self._first_done = now
        if now >= self._watch_at:
            self._watch_at = now + WATCH_S
            self._look_at_disks(now)
            self._oom_kills.look(now)
            if self._ending is None:
                self._hang.look(time.time(), self._logs)
        if self._ending is None:
            self._look_for_the_end(now)
        elif self._ending.step(now):
            self._reap_until = min(self._reap_until, now + REAP_S)
            # The end of a rank is reported before the end of the node.
            if now > self._reap_until or not self._started.are_children_left():
                self._finish()
        elif self._ending.stage is Stage.WAIT and not self.rank_pids():
            self._ranks_are_gone()

    def stop(self, save: bool, why: str) -> None:
        """Ask (when `save`), SIGTERM, SIGKILL; each with its limit. A second call hurries."""
        limits = self.plan.limits
        # Training begins when mpirun has started all ranks: before, there is nothing to save.
        save = save and not self._awaited
        self._parents.let_go()
        can_read = self._hang.reads_stop_file()
        if save and can_read and self._ending is None and self._living:
            try:
                Path(self.plan.stop_file).touch()
            except OSError as error:
                self._emit(Trouble(f"no stop file: {error}"))
                save = False
        self._asked = self._asked or why or "stop"
        wait_s = limits.stop_save_s if save and can_read else 0.0
        # Who cannot see the file may save on SIGTERM.
        term_s = limits.term_s if can_read or not save else limits.stop_save_s
        self._end_with(GracePeriods(wait_s, term_s, limits.kill_s))

    def end(self, why: str) -> None:
        """Ends everything at once: a rank somewhere has died, and no other can continue."""
        limits = self.plan.limits
        self._asked = self._asked or why
        self._end_with(GracePeriods(0.0, FAIL_TERM_S, limits.kill_s))

    def finish(self) -> None:
        """The ranks of all nodes are done: what helped them has a while to leave."""
        self._are_others_done = True
        if self._ending is not None and not self.rank_pids():
            self._ranks_are_gone()

    def child_ended(self, ended: Exit) -> None:
        started = self._living.pop(ended.pid, None)
        if started is None or self.is_over:
            return
        if started.process.rank is None:
            self._helper_ended(started, ended)
        else:
            self._rank_ended(started, started.process.rank, ended)

    # -- starting

    def _start_one(self, process: PlannedProcess) -> None:
        try:
            started = spawn.start(process, self.token)
        except OSError as error:
            self._launch_failed(process.name, error)
            return
        self._started.await_end(started)
        self._has_started(started)

    def _start_parent(self, group: Sequence[PlannedProcess]) -> None:
        """Starts the process that imports for these ranks and forks them."""
        try:
            parent = self._parents.start(group)
        except OSError as error:
            self._launch_failed(group[0].name, error)
            return
        self._started.await_end(parent)
        self._has_started(parent)

    def _take_forked(self, ended: SpawnedProcess | None = None, how: Exit | None = None) -> None:
        """The ranks that were forked since, and those that will not be; `ended`: a parent."""
        for started in self._parents.take(ended, how):
            self._started.await_end(started)
            self.joined(started)
        for refused in self._parents.refused() if self._ending is None else ():
            if refused.was_warm:
                self._emit(Trouble(f"what {self._node} kept warm is not used: {refused.why}"))
                self._start_parent(refused.ranks)
                continue
            self._emit(Trouble(f"ranks of {self._node} are not forked: {refused.why}"))
            for process in refused.ranks:
                del self._awaited[process.rank]
                self._start_one(process)

    def awaited(self, rank: int | None) -> PlannedProcess | None:
        """The plan of a rank, or of OpenMPI's daemon, that mpirun may start here now."""
        return None if self._ending is not None else self._awaited.get(rank)

    def joined(self, started: SpawnedProcess) -> None:
        """mpirun has started a rank of ours. Its watcher calls `child_ended`."""
        del self._awaited[started.process.rank]
        self._has_started(started)

    def start_daemon(self, process: PlannedProcess) -> None:
        """Starts OpenMPI's daemon, which mpirun awaits."""
        del self._awaited[None]
        self._start_one(process)

    def _has_started(self, started: SpawnedProcess) -> None:
        self._started.add(started)
        process = started.process
        if process.rank is not None:
            self._emit(
                RankStarted(
                    self.plan.attempt,
                    process.rank,
                    self._node,
                    process.local_rank or 0,
                    process.device_id,
                    started.pid,
                    started.start_time_s,
                )
            )

    def _launch_failed(self, what: str, error: OSError) -> None:
        where = f": {error.filename}" if error.filename else ""
        text = f"{what} cannot be started: {error.strerror or error}{where}"
        self._fail(Death(self._node, time.time(), kind=FailureKind.LAUNCH, meaning=text))

    def _fail(self, death: Death) -> None:
        """The attempt fails because of something that the end of no process shows."""
        self._emit(Died(death))
        self.end(death.meaning)

    # -- watching

    def _look_at_disks(self, now: float) -> None:
        self._disks.look(now)
        trouble = self._limit.poll(now, self._logs.read_to)
        if trouble is not None:
            text = f"the limit of logs cannot be kept: {trouble.strerror or trouble}"
            self._emit(Trouble(text))

    # -- ending

    def _helper_ended(self, started: SpawnedProcess, ended: Exit) -> None:
        if started.process.role is Role.FORK:
            self._take_forked(started, ended)
            return
        if self._ending is not None or not (self.rank_pids() or self._awaited):
            return
        if (ended.is_clean or self._logs.are_done) and not self._awaited:
            # It leaves when all ranks said that they are done: they have a while to go too.
            self._first_done = self._first_done or time.monotonic()
            return
        self._emit(Died(self._death(started, ended, *last_words(started.process))))
        self.end(f"the {started.process.role.value} ended")

    def _rank_ended(self, started: SpawnedProcess, rank: int, ended: Exit) -> None:
        # What a rank says last is said in its log; much of it may still be unread.
        log = self._logs.read_all(rank)
        self._emit(
            RankExited(
                self.plan.attempt,
                rank,
                self._node,
                ended.exit_code,
                ended.signal,
                log.is_done,
            )
        )
        is_failed = not ended.is_clean and not log.is_done
        if is_failed:
            self._emit(Died(self._death(started, ended, *log.last_words())))
        if is_failed and (self._ending is None or self._ending.stage is Stage.WAIT):
            self.end(f"rank {rank} ended")
        elif self._first_done == 0.0:
            self._first_done = time.monotonic()

    def _death(
        self, started: SpawnedProcess, ended: Exit, lines: Iterable[str], offset: int
    ) -> Death:
        how = (started, ended, tuple(lines), offset, self._oom_kills)
        return death_of(self._node, *how, asked=bool(self._asked))

    def _look_for_the_end(self, now: float) -> None:
        if self._awaited and now > self._join_until:
            importing = self._parents.importing()
            self._fail(unstarted(self.plan, self._awaited.values(), importing))
        elif self._awaited:
            return
        elif not self.rank_pids():
            self._end_helpers()
        elif self._first_done and now - self._first_done > self.plan.limits.spread_s:
            lagging = [rank for rank in self.rank_pids() if not self._logs[rank].is_done]
            if lagging:
                text = lagging_text(lagging)
                self._emit(
                    Died(Death(self._node, time.time(), kind=FailureKind.HANG, meaning=text))
                )
            # One that is done, and only does not leave, has nothing to lose.
            self.end("other ranks were done long ago")

    def _ranks_are_gone(self) -> None:
        """The ranks left as they were asked to: the scheduler need not get all of their time."""
        if not self._is_hurried and self._are_others_done:
            self._is_hurried = True
            self._end_helpers()

    def _end_helpers(self) -> None:
        """The scheduler has nothing to do without ranks, and would see it in 3 s. It must not go
        before the last rank of the last node: MindSpore ends the ranks that lose it. Where nobody
        says `finish`, the orphan limit does.
        """
        limits = self.plan.limits
        if self._ending is None:
            self._parents.let_go()
        must_stay = self._living and not self._are_others_done
        wait_s = math.inf if must_stay else FINISH_S
        self._end_with(GracePeriods(wait_s, limits.term_s, limits.kill_s))
        for pid, started in self._living.items():
            if not must_stay and started.process.role is Role.SCHEDULER:
                os.kill(pid, signal.SIGTERM)  # our child: the pid is still its own

    def _end_with(self, grace: GracePeriods) -> None:
        now = time.monotonic()
        if self._ending is None:
            self._ending = Termination(self._started.claim, grace, now)
        else:
            self._ending.shorten(grace, now)

    def _finish(self) -> None:
        assert self._ending is not None
        for pid in list(self._living):
            ended = spawn.reap_one(pid)
            if ended is None and not self._living[pid].process.is_started:
                # Its parent was killed with it and could not tell.
                ended = Exit(pid, None, signal.SIGKILL, time.time(), is_seen=False)
            if ended is not None:
                self.child_ended(ended)
        self._logs.drain()
        if self._sampler is not None:
            self._sampler.close()
        self._segments.close()
        if removed := shared_memory_watch.remove_left(self._paths.root, self._node):
            self._emit(Trouble(removed))
        self._logs.close()
        self.is_over = True
        self._emit(
            NodeEnded(
                step=max((log.global_step or 0 for log in self._logs.values()), default=0),
                has_stopped=any(log.stopped for log in self._logs.values()),
                leftover=self._ending.leftover,
            )
        )
