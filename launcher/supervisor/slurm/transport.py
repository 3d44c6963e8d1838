"""A node of a Slurm job, as its supervisor sees it: `srun` runs its agent, TCP reaches it.

All nodes share the run directory, so the agent's journal and the ranks' files are read as they are.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from launcher.agent import last_report
from launcher.agent.client import LocalTransport
from launcher.errors import LaunchError, LostNodeError, NodeError
from launcher.ipc.channel import Channel
from launcher.ipc.endpoint import read_address
from launcher.process import private, slurm, spawn
from launcher.store import atomic
from launcher.store.journal import read_lines
from launcher.supervisor.connecting import Connecting
from launcher.supervisor.slurm import lost

LAUNCH_S = 60.0
"""Slurm starts a step at once where its nodes answer."""
END_S = 3.0
KILL_S = 10.0
POLL_S = 0.05


class SlurmTransport(LocalTransport):
    """`job`: the number of the job; `address`: the node's, for the other nodes."""

    is_slow = True

    def __init__(
        self, node: str, root: Path, attempt: int, token: str, job: str, address: str
    ) -> None:
        super().__init__(node, root, attempt, token)
        self._job = job
        self._address = address
        self._step = f"agent-{attempt}-{node}"
        self._srun = 0
        """Process id of srun; 0 when this supervisor did not start it."""
        self._connecting = Connecting(node)
        self._is_refused = False
        self._is_given_up = False

    def launch(self) -> Channel:
        private.make_folder(self._journal.parent)
        self._endpoint.unlink(missing_ok=True)
        log = self._journal.with_suffix(".log")
        argv = ["srun", "--overlap", "--nodes=1", "--ntasks=1", f"--nodelist={self.node}"]
        argv += [f"--job-name={self._step}", "--mem=0", "--input=none", "--mpi=none"]
        argv += ["--quiet", "--kill-on-bad-exit=0", *self._argv(), "--host", self._address]
        program = slurm.path_of("srun")
        try:
            self._srun = spawn.detached([program, *argv[1:]], log, watches=self._token)
        except OSError as error:
            raise NodeError(self.node, f"srun cannot be started: {error}") from error
        deadline = time.monotonic() + LAUNCH_S
        while time.monotonic() < deadline and not self._is_given_up:
            if atomic.is_there(self._endpoint):
                with contextlib.suppress(NodeError):
                    return self._connect()
            if not self._has_step():
                raise lost.failed_launch(self.node, log)
            time.sleep(POLL_S)
        # Slurm may notice a node that is off later than this.
        text = f"its agent does not answer after {LAUNCH_S:g} s"
        raise LostNodeError(self.node, text, f"Its log: {log}")

    def give_up(self) -> None:
        """Its step ends with the job."""
        self._is_given_up = True

    def connect(self, may_launch: bool = False) -> Channel:
        """Never blocks, as `SshTransport.connect`."""
        return self._connecting.poll(lambda: self._try_connect(may_launch))

    def is_agent_alive(self) -> bool:
        """True while nobody knows: a node that does not answer may be busy."""
        return self._has_step() and not self._is_refused

    def had_agent(self) -> bool:
        return atomic.is_there(self._endpoint) or bool(read_lines(self._journal))

    def sweep(self) -> tuple[int, ...]:
        """Ends the agent's step, and so all its processes."""
        try:
            step = slurm.step_of(self._job, self._step)
            for options, limit_s in (((), END_S), (("--signal=KILL",), KILL_S)):
                if step:
                    slurm.cancel(step, *options)
                deadline = time.monotonic() + limit_s
                while step and time.monotonic() < deadline:
                    time.sleep(POLL_S * 4)
                    step = slurm.step_of(self._job, self._step)
        except LaunchError as error:
            raise NodeError(self.node, error.message, error.hint) from error
        if step:
            raise NodeError(self.node, f"step {step} of the job does not end")
        with contextlib.suppress(OSError):
            last_report.write(self._journal, self._paths, self._attempt, ())
        return ()

    def _try_connect(self, may_launch: bool) -> Channel:
        return self.launch() if may_launch and not self.had_agent() else self._connect()

    def _connect(self) -> Channel:
        address = read_address(self._endpoint)
        if address is None or not address.port:
            raise NodeError(self.node, "no agent says where it is")
        try:
            channel = address.connect_through(self._token)
        except OSError as error:
            self._is_refused = isinstance(error, ConnectionRefusedError)
            raise NodeError(self.node, f"no agent answers: {error}") from error
        self._is_refused = False
        return channel

    def _has_step(self) -> bool:
        """Whether srun is there, of a step that this supervisor started."""
        if self._srun:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                if os.waitid(os.P_PID, self._srun, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    return True
            return False
        return True
