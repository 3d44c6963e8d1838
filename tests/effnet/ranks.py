"""Real ranks for tests: N processes of one command and MindSpore's scheduler, none left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.planning.port import PortClaim

ROOT = Path(__file__).parents[2]
EFFNET = (sys.executable, "-m", "effnet")
FAST = {"OMP_NUM_THREADS": "1", "MS_DEV_HOST_BLOCKING_RUN": "1", "GLOG_v": "3"}
"""What the launcher sets for ranks on a CPU."""


@dataclass(frozen=True)
class Ended:
    """How one rank ended, and what it printed."""

    exit_code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class RanksHang(Exception):
    """Not all ranks ended in time; the message has what they printed last."""


class Ranks:
    """Running ranks, whose output goes into `folder`."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
        self.processes = processes
        self._folder = folder

    def text(self, rank: int = 0) -> str:
        """What a rank has printed so far."""
        return "".join(_read(self._folder, f"rank{rank}"))

    def wait_for(self, text: str, timeout_s: float = 600.0, rank: int = 0) -> None:
        """Until a rank printed `text`; fails with its log when it ends before, or takes longer."""
        deadline = time.monotonic() + timeout_s
        while text not in self.text(rank):
            over = self.processes[rank].poll() is not None and text not in self.text(rank)
            if over or time.monotonic() > deadline:
                raise AssertionError(f"never printed {text!r}:\n{self.text(rank)[-3000:]}")
            time.sleep(0.02)

    def wait_for_reports(self, count: int, timeout_s: float = 600.0) -> None:
        """Until rank 0 printed so many steps, or ended."""
        deadline = time.monotonic() + timeout_s
        while self.processes[0].poll() is None and self.text(0).count("epoch: [") < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"fewer than {count} steps:\n{self.text(0)[-3000:]}")
            time.sleep(0.02)

    def kill(self, number: int = signal.SIGKILL) -> None:
        for process in self.processes:
            process.send_signal(number)

    def wait(self, timeout_s: float = 600.0) -> list[Ended]:
        """How all of them ended. Raises `RanksHang`."""
        deadline = time.monotonic() + timeout_s
        while any(process.poll() is None for process in self.processes):
            if time.monotonic() > deadline:
                numbers = range(len(self.processes))
                tails = [f"rank {number}: {self.text(number)[-3000:]}" for number in numbers]
                raise RanksHang("\n".join([f"not done after {timeout_s} s", *tails]))
            time.sleep(0.05)
        return [
            Ended(process.returncode, *_read(self._folder, f"rank{number}"))
            for number, process in enumerate(self.processes)
        ]


@contextlib.contextmanager
def started(
    argv: Sequence[object], size: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Ranks]:
    """`argv` as each of `size` ranks; with more than one, the scheduler beside them.

    Each has its own process group; whatever is left of the groups is killed at the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = {k: v for k, v in os.environ.items() if not k.startswith(("MS_", "RANK_", "EFFNET_"))}
    paths = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
    common |= {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **FAST, **(environment or {})}
    with contextlib.ExitStack() as stack:

        def start(name: str, words: Sequence[object], place: dict[str, str]) -> _Process:
            out, err = (folder / f"{name}.{end}" for end in ("out", "err"))
            with out.open("wb") as output, err.open("wb") as errors:
                process = subprocess.Popen(
                    list(map(str, words)),
                    env={**common, **place},
                    # MindSpore leaves files where it runs.
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    start_new_session=True,
                    preexec_fn=_end_with_parent,
                )
            stack.callback(process.wait)
            stack.callback(_kill_group, process.pid)
            return process

        if size > 1:
            claim = PortClaim("127.0.0.1")
            stack.callback(claim.release)
            common |= _cluster(size, claim.port)
            scheduler = (sys.executable, "-m", "effnet.scheduler")
            start("scheduler", scheduler, {"MS_ROLE": "MS_SCHED"})
        places = [_place(rank) if size > 1 else {} for rank in range(size)]
        yield Ranks([start(f"rank{n}", argv, place) for n, place in enumerate(places)], folder)


def run(
    argv: Sequence[object],
    size: int,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 600.0,
) -> list[Ended]:
    """The same, to the end. Raises `RanksHang`."""
    with started(argv, size, folder, environment) as ranks:
        return ranks.wait(timeout_s)


_Process = subprocess.Popen[bytes]


def _cluster(size: int, port: int) -> dict[str, str]:
    return {
        "MS_SCHED_HOST": "127.0.0.1",
        "MS_SCHED_PORT": str(port),
        "MS_WORKER_NUM": str(size),
        "MS_NODE_TIMEOUT": "300",
        "MS_TOPO_TIMEOUT": "300",
        "RANK_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
    }


def _place(rank: int) -> dict[str, str]:
    return {"MS_ROLE": "MS_WORKER", "MS_NODE_ID": str(rank), "RANK_ID": str(rank)}


def _read(folder: Path, name: str) -> tuple[str, str]:
    out, err = ((folder / f"{name}.{end}").read_text(errors="replace") for end in ("out", "err"))
    return out, err


def _end_with_parent() -> None:
    """Tests that are themselves killed leave nothing: PR_SET_PDEATHSIG, see prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
