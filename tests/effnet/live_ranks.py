"""Real ranks for tests: N processes of `python -m effnet …` and MindSpore's scheduler."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How one rank ended, and all that it printed."""

    exit_code: int
    output: str


class Ranks:
    """Running ranks; `log` is what each prints, standard error included."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], logs: list[Path]) -> None:
        self.processes = processes
        self.logs = logs

    def text(self, rank: int = 0) -> str:
        return self.logs[rank].read_text(errors="replace")

    def wait_for(self, text: str, timeout_s: float = 120.0, rank: int = 0) -> None:
        """Until a rank printed `text`; fails with its log when it ends before, or takes longer."""
        deadline = time.monotonic() + timeout_s
        while text not in self.text(rank):
            over = self.processes[rank].poll() is not None and text not in self.text(rank)
            if over or time.monotonic() > deadline:
                raise AssertionError(f"never printed {text!r}:\n{self.text(rank)[-3000:]}")
            time.sleep(0.02)

    def kill(self, number: int = signal.SIGKILL) -> None:
        for process in self.processes:
            process.send_signal(number)

    def wait(self, timeout_s: float = 240.0) -> list[Ended]:
        deadline = time.monotonic() + timeout_s
        for process in self.processes:
            process.wait(max(0.1, deadline - time.monotonic()))
        return [Ended(p.returncode, self.text(n)) for n, p in enumerate(self.processes)]


@contextlib.contextmanager
def started(
    argv: Sequence[str], size: int, folder: Path, environment: dict[str, str] | None = None
) -> Iterator[Ranks]:
    """`size` ranks of `python -m effnet ARGV`; whatever is left of them is killed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MS_DEV_HOST_BLOCKING_RUN": "1",
        "GLOG_v": "3",
        "LOCAL_WORLD_SIZE": str(size),
        **(environment or {}),
    }
    processes: list[subprocess.Popen[bytes]] = []
    with contextlib.ExitStack() as stack:

        def start(name: str, words: Sequence[str], extra: dict[str, str]) -> Path:
            log = folder / f"{name}.log"
            # MindSpore leaves files where it runs.
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", *words],
                    env={**common, **extra},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
            return log

        group: dict[str, str] = {}
        if size > 1:
            group = {
                "MS_SCHED_HOST": "127.0.0.1",
                "MS_SCHED_PORT": str(free_port()),
                "MS_WORKER_NUM": str(size),
                "MS_NODE_TIMEOUT": "300",
                "MS_TOPO_TIMEOUT": "300",
                "RANK_SIZE": str(size),
            }
            start("scheduler", ["effnet.scheduler"], {**group, "MS_ROLE": "MS_SCHED"})
            processes.clear()
        words = ["effnet", *argv, *(["--run_distribute", "True"] if size > 1 else [])]
        logs = []
        for rank in range(size):
            own = {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank), "RANK_ID": str(rank)}
            logs.append(start(f"rank{rank}", words, {**group, **own} if size > 1 else {}))
        yield Ranks(processes, logs)


def run(
    argv: Sequence[str],
    size: int,
    folder: Path,
    environment: dict[str, str] | None = None,
    timeout_s: float = 240.0,
) -> list[Ended]:
    """The same, to the end."""
    with started(argv, size, folder, environment) as ranks:
        return ranks.wait(timeout_s)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
