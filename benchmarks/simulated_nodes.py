"""Nodes that answer as `launcher.node` does, many in one process, without ranks.

    python -m benchmarks.simulated_nodes FOLDER NUMBER STEPS

sshd starts `FOLDER/python` for each connection of a node. That script passes its stdin and stdout
to the node's process, one of these numbers, and sleeps. From there on this process speaks the
protocol: facts, launch and connect, an agent's reports and pongs, and the files of its ranks as
they grow.
Each rank makes one step a second, STEPS in all, in which it writes one line to its log, one step
report, and its heartbeat twice; each two seconds, one sample of its device and one of its load. All
that a file has can be computed from its name and an offset, so nothing is kept, and what arrived
can be compared with what was sent.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.core import messages
from launcher.core.plan.model import Plan
from launcher.core.run import events, heartbeat, metrics
from launcher.core.run.metrics import DeviceRecord, LoadRecord
from launcher.core.run.report_types import StepReport
from launcher.core.text.codec import to_plain
from launcher.core.text.records import decode, encode, parse_object
from launcher.ipc import operations as op
from launcher.node.__main__ import mark_of
from launcher.remote import frames
from launcher.remote.sync import CHUNK_BYTES, HEARTBEAT

COPY_EVERY_S = 0.2
"""As `launcher.node.relay`."""
STEPS_PER_EPOCH = 50
LINE_BYTES = 120
SAMPLE_S = 2
PORT = 29_500

STUB = """\
#!{python} -ISE
import os, socket, sys
here = os.path.dirname(os.path.realpath(__file__))
to = socket.socket(socket.AF_UNIX)
node = int(os.environ["SSH_CONNECTION"].split()[2].rpartition(".")[2])
to.connect(f"{{here}}/{{node % {count}}}.sock")
socket.send_fds(to, [b"x"], [0, 1])
os.close(0), os.close(1)
to.recv(1)
"""


def write_stub(folder: Path, count: int) -> Path:
    """What sshd runs as the Python of all nodes; `count` processes simulate them."""
    path = folder / "python"
    path.write_text(STUB.format(python=sys.executable, count=count))
    path.chmod(0o700)
    return path


# -- what ranks have written


def log_line_of(rank: int, step: int) -> bytes:
    text = f"rank {rank:04d} step {step:08d} loss {7 / (1 + step / 100):.6f} "
    return text.ljust(LINE_BYTES - 1, ".").encode() + b"\n"


def report_of(rank: int, step: int) -> bytes:
    report = StepReport(
        epoch=step // STEPS_PER_EPOCH,
        step=step % STEPS_PER_EPOCH,
        epochs=1000,
        steps_per_epoch=STEPS_PER_EPOCH,
        loss=7 / (1 + step / 100) + rank / 10_000,
        mean_loss=7.0,
        step_time_ms=1000.0,
        wait_ms=40.0,
        images_per_s=128.0,
        learning_rate=0.1,
        memory_bytes=1 << 34,
    )
    return metrics.pack(report, 1_800_000_000.0 + step, step * LINE_BYTES)


def sample_of(name: str, sample: int) -> bytes:
    time_s = 1_800_000_000.0 + SAMPLE_S * sample
    if name.endswith("device.bin"):
        return metrics.pack_device(DeviceRecord(time_s, 1 << 34, 1 << 36, 90.0))
    return metrics.pack_load(LoadRecord(time_s, 300.0, 60.0, 1400.0, 150.0, 0.5))


def content(name: str, rank: int, begin: int, steps: int) -> bytes:
    """What a rank's file that grows has from item `begin` on, after so many steps."""
    if name.endswith("log.txt"):
        return b"".join(log_line_of(rank, step) for step in range(begin, steps))
    if name.endswith("metrics.bin"):
        return b"".join(report_of(rank, step) for step in range(begin, steps))
    return b"".join(sample_of(name, at) for at in range(begin, steps // SAMPLE_S))


ITEM_BYTES = {
    "log.txt": LINE_BYTES,
    "metrics.bin": metrics.METRIC_BYTES,
    "device.bin": metrics.DEVICE_BYTES,
    "load.bin": metrics.LOAD_BYTES,
}
"""Of each file of a rank that grows."""


class SimulatedAgent:
    """The agent and the ranks of one node. They live on when a connection breaks."""

    def __init__(self, name: str, steps: int) -> None:
        self.name = name
        self._steps = steps
        self._plan: Plan | None = None
        self._started = 0.0
        self._told_epochs = 0
        self.reports: list[messages.Report | events.Event] = []
        self.is_over = False

    @property
    def steps_done(self) -> int:
        if self._plan is None:
            return 0
        return min(self._steps, int(time.time() - self._started))

    @property
    def ranks(self) -> dict[str, int]:
        """Folder -> rank."""
        plan = self._plan
        ranks = [p.rank for p in plan.ranks] if plan is not None else []
        return {f"ranks/{rank:04d}": rank for rank in ranks if rank is not None}

    def start(self, plan: Plan) -> None:
        if self._plan is not None:
            return
        self._plan, self._started = plan, time.time()
        number = plan.attempt
        for rank in plan.ranks:
            if rank.rank is not None and rank.local_rank is not None:
                pid = 100_000 + rank.rank
                local = rank.local_rank
                self._add(events.RankStarted(number, rank.rank, self.name, local, local, pid))
        self._add(events.TrainingStarted(number, 1000, STEPS_PER_EPOCH))

    def turn(self) -> None:
        """Reports what time has brought."""
        plan = self._plan
        if plan is None or self.is_over:
            return
        done = self.steps_done
        if 0 in self.ranks.values() and done // STEPS_PER_EPOCH > self._told_epochs:
            self._told_epochs = done // STEPS_PER_EPOCH
            self._add(events.EpochFinished(plan.attempt, self._told_epochs, 4.0))
        if done == self._steps:
            self._end(0)

    def stop(self) -> None:
        self._steps = self.steps_done
        self._end(0)

    def _end(self, code: int) -> None:
        if self._plan is None or self.is_over:
            return
        self.is_over = True
        for rank in self.ranks.values():
            self._add(
                events.RankExited(self._plan.attempt, rank, self.name, code, None, was_done=True)
            )
        self._add(messages.NodeEnded(step=self._steps))

    def _add(self, report: messages.Report | events.Event) -> None:
        self.reports.append(replace(report, n=len(self.reports) + 1, t=time.time()))


class Connection:
    """One SSH channel to a node."""

    def __init__(self, nodes: dict[str, SimulatedAgent], steps: int, files: list[int]) -> None:
        self.source, self.target = files
        self._nodes = nodes
        self._steps = steps
        self._input = b""
        self._output = bytearray()
        self._agent: SimulatedAgent | None = None
        self._known: dict[str, int] = {}
        self._beats: dict[str, bytes] = {}
        self._is_listening = False
        self._sent_reports = 0
        self.copy_at = 0.0
        self.is_closed = False
        self._is_ended = False
        for file in files:
            os.set_blocking(file, False)

    def close(self) -> None:
        self.is_closed = True
        for file in (self.source, self.target):
            with contextlib.suppress(OSError):
                os.close(file)

    # -- input

    def read(self) -> None:
        try:
            data = os.read(self.source, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.is_closed = True
            return
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            if self._agent is None:
                self._request(line)
            elif line:
                self._obey(self._agent, parse_object(line))

    def _request(self, line: bytes) -> None:
        self._output += b"\n" + mark_of(line) + b"\n"
        match decode(op.Operation, parse_object(line)):
            case op.GetFacts() as wanted:
                answer = op.NodeAnswer((0, 1), wanted.runs_directory, PORT, (), wanted.python)
                self._reply(answer)
            case op.Launch() | op.Connect() as request:
                self._known = {name: size for name, (size, _) in request.copy.known.items()}
                name = request.attempt.node
                self._agent = self._nodes.setdefault(name, SimulatedAgent(name, self._steps))
                self._reply(None)
            case op.Sweep():
                self._reply(())
            case other:
                raise NotImplementedError(other.kind)

    def _reply(self, value: Any) -> None:
        self._send({"type": "reply", "ok": True, "value": to_plain(value)})

    def _obey(self, agent: SimulatedAgent, data: dict[str, Any]) -> None:
        match messages.decode_message(data):
            case messages.Ping():
                self._send(encode(messages.Pong(t=time.time())))
            case messages.Hello() as hello:
                self._is_listening, self._sent_reports = True, hello.after
            case messages.Start() as start:
                agent.start(start.plan)
            case messages.Stop() | messages.End():
                agent.stop()
            case messages.Leave():
                self._is_ended = True

    # -- output

    def _send(self, message: dict[str, Any]) -> None:
        self._output += frames.encode(message)

    def turn(self, now: float) -> None:
        """What the node has to say now. `now`: monotonic."""
        agent = self._agent
        if agent is not None and now >= self.copy_at:
            self.copy_at = now + COPY_EVERY_S
            agent.turn()
            while self._send_files(agent) and agent.is_over:
                pass  # before its last report, everything that its ranks wrote
            if self._is_listening:
                for report in agent.reports[self._sent_reports :]:
                    self._send(encode(report))
                self._sent_reports = max(self._sent_reports, len(agent.reports))
        self._write()

    def _send_files(self, agent: SimulatedAgent) -> bool:
        done, is_new = agent.steps_done, False
        for folder, rank in agent.ranks.items():
            for file, size in ITEM_BYTES.items():
                name = f"{folder}/{file}"
                begin = self._known.get(name, 0)
                last = min(done, begin // size + CHUNK_BYTES // size)
                data = content(file, rank, begin // size, last)
                if data:
                    is_new = True
                    self._known[name] = begin + len(data)
                    where = {"offset": begin, "start": begin}
                    self._send({"type": "file", "name": name, **where, "data": data})
            self._send_heartbeat(f"{folder}/{HEARTBEAT}", rank, done)
        return is_new

    def _send_heartbeat(self, name: str, rank: int, done: int) -> None:
        """Its phase changes twice in each step."""
        phase = "compute" if time.time() % 1 > 0.2 else "data"
        words = f"1 {time.time():.3f} {phase} {done} {done // STEPS_PER_EPOCH} {100_000 + rank}"
        beat = (words.ljust(heartbeat.HEARTBEAT_BYTES - 1) + "\n").encode()
        mark = f"{phase} {done}".encode()
        if self._beats.get(name) != mark:
            self._beats[name] = mark
            part = {"part": 0, "changed_ns": time.time_ns()}
            self._send({"type": "file", "name": name, **part, "data": beat})

    def _write(self) -> None:
        try:
            while self._output:
                sent = os.write(self.target, self._output[: 1 << 16])
                del self._output[:sent]
        except BlockingIOError:
            return
        except OSError:
            self.is_closed = True
        if self._is_ended:
            self.is_closed = True


def main(folder: Path, number: int, steps: int) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(folder / f"{number}.sock"))
    listener.listen(256)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    nodes: dict[str, SimulatedAgent] = {}
    connections: dict[Connection, socket.socket] = {}
    while os.getppid() != 1:
        for key, _ in selector.select(0.02):
            if key.data is None:
                stub, _ = listener.accept()
                _, files, _, _ = socket.recv_fds(stub, 1, 2)
                made = Connection(nodes, steps, files)
                made.copy_at = time.monotonic() + random.uniform(0, COPY_EVERY_S)
                connections[made] = stub
                selector.register(made.source, selectors.EVENT_READ, made)
            else:
                key.data.read()
        now = time.monotonic()
        for connection in list(connections):
            connection.turn(now)
            if connection.is_closed:
                selector.unregister(connection.source)
                connection.close()
                connections.pop(connection).close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
