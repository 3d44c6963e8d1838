"""The loop of a run's supervisor: clients, agents, attempts."""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from concurrent.futures import Future
from dataclasses import replace

from launcher.copies.copier import CheckpointCopier
from launcher.core import messages
from launcher.core.diagnosis.failure import launch_failure
from launcher.core.plan.model import Plan, plan_from_json
from launcher.core.run import events
from launcher.core.run.checkpoints import StartCheckpoint
from launcher.core.run.state import RunStatus
from launcher.errors import BusyError, LaunchError
from launcher.ipc.channel import AnyMessage, Channel, ChannelClosedError
from launcher.ipc.endpoint import Endpoint
from launcher.planning import attempt as prepare
from launcher.planning import port as planning_port
from launcher.planning import replacing, restart
from launcher.process import spawn
from launcher.process.in_thread import in_thread
from launcher.process.log import log_line
from launcher.remote.mpirun_ssh import with_ssh_files
from launcher.remote.node_client import NodePool
from launcher.store import atomic, log_limit
from launcher.store import run as run_files
from launcher.store.event_log import EventLog
from launcher.store.owner import Owner
from launcher.store.run import StoredRun
from launcher.supervisor.absent_nodes import AbsentNodes, compare_nodes, may_be_left
from launcher.supervisor.agent_link import links_of
from launcher.supervisor.attempt import Attempt, Outcome
from launcher.supervisor.clients import Clients
from launcher.supervisor.next_attempt import Decision, NextAttempt
from launcher.supervisor.slurm.batch_job import BatchJob

TICK_S = 0.05
STOPPED = "a stop was requested"


class Supervisor:
    """The loop: clients, agents, attempts."""

    def __init__(
        self, run: StoredRun, log: EventLog, owner: Owner, batch: BatchJob | None = None
    ) -> None:
        self._run = run
        self._batch = batch
        self._owner = owner
        self._log = log
        self._selector = selectors.DefaultSelector()
        self._attempt: Attempt | None = None
        self._failed: Attempt | None = None
        """One whose agents are still there, until it is decided what follows."""
        self._absent = AbsentNodes(log)
        self._copier = CheckpointCopier(log)
        self._next: NextAttempt | None = None
        self._decision: Future[Decision] | None = None
        self._pool = NodePool()
        self._nodes = self._pool.clients_of(run.profile)
        self._port: planning_port.PortClaim | None = None
        self._stop_pending = False
        # Of a node's logs there are copies here; of this machine's own its agent takes care.
        limit = run.profile.logs.limit_bytes if self._nodes else 0
        self._limit = log_limit.LogLimit(run.paths.root, limit)
        gate = (batch.host, owner.token) if batch is not None else ()
        self._endpoint = Endpoint(run.paths.root, "supervisor", run.paths.supervisor, *gate)
        self._clients = Clients(self._endpoint, self._selector, self._answer)

    def introduce(self) -> None:
        """supervisor.json, and the event that says who supervises now."""
        before = self._log.state.supervisor_pid
        self._log.keep_reserve()
        self._endpoint.open(self._selector)
        if self._log.state.last_n == 0:
            info = self._run.info
            self._log.add(
                events.RunCreated(run=info.id, profile=info.profile, world_size=info.world_size)
            )
        if self._batch is not None:
            self._batch.introduce(self._log)
        self._log.add(events.SupervisorStarted(pid=os.getpid(), replaced=before))

    def begin(self, resume: StartCheckpoint | None, is_new: bool) -> None:
        """Adopts the attempt that lives, or starts a new one (`is_new`: asked to). Raises."""
        state = self._log.state
        if self._batch is None:
            self._absent.adopt(self._run, self._pool, self._selector, self._owner)
        living = (RunStatus.STARTING, RunStatus.RUNNING, RunStatus.STOPPING, RunStatus.FAILING)
        newest = state.attempt
        compare_nodes(self._log, self._run.profile)
        if state.status in living and newest is not None:
            if is_new:
                raise BusyError(f"{self._run.info.id} is still {state.status.value}")
            self._adopt(newest.attempt)
        elif is_new or not state.status.is_over:
            self._start_attempt(resume)
        elif restart.may_follow(self._run, state):
            self._decide()

    def run(self) -> int:
        """Until the run has ended. -> exit code of the supervisor's process."""
        while self._is_busy or self._log.may_still_write():
            for key, _ in self._selector.select(TICK_S):
                self._ready(key.fileobj)
            spawn.reap()
            self._log.flush()
            self._endpoint.reopen_if_gone(time.monotonic())
            if trouble := self._limit.poll(time.monotonic()):
                log_line(f"the limit of logs cannot be kept: {trouble}")
            if self._attempt is not None:
                if self._batch is not None:
                    self._listen_to(self._batch, self._attempt)
                self._attempt.turn()
                if self._attempt.is_over or self._may_leave_nodes(self._attempt):
                    self._after(self._attempt)
            self._absent.turn()
            self._copier.turn(self._run, is_training=self._attempt is not None)
            if self._decision is not None and self._decision.done():
                self._decided(self._decision)
        return 0

    def _listen_to(self, batch: BatchJob, attempt: Attempt, *, has_stopped: bool = False) -> None:
        ending = batch.new_ending(attempt.is_failing or has_stopped)
        if ending is None:
            return
        if ending.saves:
            attempt.stop(True, ending.by)
        else:
            attempt.cancel(ending.by)

    def _ask_who_stopped_it(self) -> None:
        """Slurm signals the ranks, too: they may have stopped before this process hears of it."""
        if self._batch is not None and self._attempt is not None:
            self._listen_to(self._batch, self._attempt, has_stopped=True)

    @property
    def _is_busy(self) -> bool:
        """A failed run waits for its absent nodes; after another end they end by themselves."""
        is_waiting = self._copier.is_busy or bool(self._absent and self._log.state.failure)
        return self._is_trying or is_waiting

    @property
    def _is_trying(self) -> bool:
        """Whether there is an attempt, or one may follow."""
        return self._attempt is not None or self._decision is not None

    def close(self) -> None:
        self._clients.close()
        self._endpoint.close()
        self._log.close()

    # -- attempts

    def _start_attempt(self, resume: StartCheckpoint | None) -> None:
        newest = self._log.state.attempt
        number = 1 if newest is None else newest.attempt + 1
        size, logical_size = self._run.profile.world_size, self._run.profile.logical_size
        more = logical_size if logical_size != size else None
        self._log.add(events.AttemptStarted(number, size, resume, more))
        try:
            run_files.check_secrets(self._run.profile)
            plan = with_ssh_files(self._plan(number, resume), self._run.profile, self._nodes)
            self._run.paths.stop.unlink(missing_ok=True)
            run_files.write_planned(plan.files)
            attempt = self._run.paths.attempt(number)
            atomic.write_file(attempt.profile, self._run.profile.to_json() + "\n")
            atomic.write_file(attempt.plan, plan.to_json() + "\n")
            self._attempt = self._make_attempt(plan)
        except (LaunchError, OSError) as error:
            self._never_began(number, error)
            self._release()
            self._settle_edit()
            return
        self._attempt.launch()

    def _never_began(self, number: int, error: Exception) -> None:
        self._log.add(events.AttemptFailed(number, launch_failure(error, time.time())))

    def _make_attempt(self, plan: Plan) -> Attempt:
        token = self._owner.token_of(f"{plan.attempt:03d}")
        links = links_of(plan, self._nodes, self._run.profile, token, self._batch)
        parts = plan, self._log, links, self._selector, self._run.profile
        return Attempt(*parts, self._ask_who_stopped_it)

    def _plan(self, number: int, resume: StartCheckpoint | None) -> Plan:
        facts, port = prepare.facts(self._run.profile, self._run.info.id, self._nodes)
        if port == 0:
            self._port = planning_port.claim(self._run.profile)
            port = self._port.port
        path = "" if resume is None else resume.path
        return prepare.plan_of(self._run, number, path, port, facts)

    def _adopt(self, number: int) -> None:
        try:
            plan = plan_from_json(self._run.paths.attempt(number).plan.read_bytes())
            self._attempt = self._make_attempt(plan)
        except (LaunchError, OSError) as error:
            self._never_began(number, LaunchError(f"attempt {number} never began: {error}"))
            return
        self._attempt.adopt()

    def _after(self, attempt: Attempt) -> None:
        """The attempt is over: dismiss its agents, or try again.

        Nothing of it is left, but perhaps on nodes that do not answer and are left out.
        """
        if not attempt.is_over:
            self._absent.keep(attempt)
        elif attempt.may_keep_warm and not self._stop_pending:
            self._failed = attempt
        else:
            attempt.dismiss()
        self._attempt = None
        self._release()
        self._settle_edit()
        if self._batch is not None and self._batch.ending is not None:
            if attempt.outcome is not Outcome.FINISHED and not self._stop_pending:
                self._batch.queue_again(self._log)
            return
        if attempt.outcome is not Outcome.FAILED or self._stop_pending:
            return
        if self._batch is None or not self._batch.has_lost_node(self._run, self._log):
            self._decide()

    def _decide(self) -> None:
        self._next = NextAttempt(self._run, self._log.state, self._pool)
        self._decision = in_thread(self._next.decide)

    def _may_leave_nodes(self, attempt: Attempt) -> bool:
        where = self._run.profile, self._log.state
        return not self._stop_pending and may_be_left(attempt, *where)

    def _decided(self, decision: Future[Decision]) -> None:
        self._decision = self._next = None
        newest = self._log.state.attempt
        number = 0 if newest is None else newest.attempt
        try:
            found = decision.result()
            again = STOPPED if self._stop_pending else found.again
            if not isinstance(again, str) and found.nodes.changes:
                self._use(found.nodes)
        except LaunchError as error:
            again = f"the next attempt cannot be prepared: {error}"
        # Without a reason against it a person may continue the run.
        may_follow = not again or not (isinstance(again, str) or found.nodes.changes)
        if self._failed is not None:
            self._failed.dismiss(keep_warm=may_follow, is_last=isinstance(again, str))
            self._failed = None
        if isinstance(again, str):
            if again:
                self._log.add(events.GaveUp(attempt=number, why=again))
            return
        log_line(f"trying again {again.why}")
        self._start_attempt(again.resume)

    def _use(self, nodes: replacing.Nodes) -> None:
        """Other nodes from now on. Raises `LaunchError`."""
        run_files.write_nodes(self._run.paths, nodes.profile)
        for event in nodes.changes:
            self._log.add(event)
        self._run = replace(self._run, profile=nodes.profile)
        self._nodes = self._pool.clients_of(nodes.profile)
        self._absent.adopt(self._run, self._pool, self._selector, self._owner)

    def _settle_edit(self) -> None:
        """Settings given with a resume are the run's once an attempt has trained with them."""
        newest = self._log.state.attempt
        try:
            if run_files.settle_edit(
                self._run.paths, keep=newest is not None and newest.training_s is not None
            ):
                self._run = placed(run_files.load(self._run.paths.root), self._batch)
                self._nodes = self._pool.clients_of(self._run.profile)
                compare_nodes(self._log, self._run.profile)
                log_line("nothing trained with the edited settings: the ones before are back")
        except LaunchError as error:
            log_line(f"edited settings stay: {error}")

    def _release(self) -> None:
        if self._port is not None:
            self._port.release()
            self._port = None

    # -- clients

    def _ready(self, source: object) -> None:
        if not self._clients.ready(source):
            self._absent.ready(source)
            for attempt in filter(None, (self._attempt, self._failed)):
                attempt.ready(source)

    def _answer(self, client: Channel, message: AnyMessage) -> None:
        state = self._log.state
        match message:
            case messages.Ping():
                trouble = str(self._log.trouble) if self._log.trouble else None
                reply: messages.Message = messages.RunStatusReply(
                    os.getpid(), state.status.value, state.last_n, trouble
                )
            case messages.Stop() if state.status.is_over and not self._is_trying:
                reply = messages.Error(f"the run is {state.status.value} already")
            case messages.Stop():
                self._stop_pending = True
                if self._next is not None:
                    self._next.cancel()
                if self._attempt is not None:
                    self._attempt.stop(message.save, message.by or "a client")
                reply = messages.Accepted(os.getpid())
            case messages.TakeStacks():
                if self._attempt is None:
                    reply = messages.Error("no rank runs now")
                else:
                    self._attempt.stacks.ask(f"asked for by {message.by or 'a client'}")
                    reply = messages.Accepted(os.getpid())
            case _:
                reply = messages.Error(f"a supervisor has no operation {message.kind!r}")
        with contextlib.suppress(ChannelClosedError):
            client.send(reply)


def placed(run: StoredRun, batch: BatchJob | None) -> StoredRun:
    """The run as its job has it, where there is one."""
    return run if batch is None else batch.place(run)
