"""Real ranks for tests: N processes of one command and MindSpore's scheduler, none left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
FAST = {"OMP_NUM_THREADS": "1", "MS_DEV_HOST_BLOCKING_RUN": "1", "GLOG_v": "3"}
"""What the launcher sets for ranks on a CPU."""


@dataclass(frozen=True)
class Ended:
    """How one process ended, and what it printed."""

    code: int
    out: str
    err: str


class RanksHang(Exception):
    """Not all ranks ended in time; the message has what they printed last."""


def effnet(*args: object, timeout_s: float = 120, env: Mapping[str, str] | None = None) -> Ended:
    """One `python -m effnet …`, killed with all its children after `timeout_s`."""
    return run_ranks([sys.executable, "-m", "effnet", *map(str, args)], 1, timeout_s, env)[0]


def run_ranks(
    argv: Sequence[str], ranks: int, timeout_s: float = 180, env: Mapping[str, str] | None = None
) -> list[Ended]:
    """`argv` as each of `ranks` ranks; with more than one, the scheduler beside them.

    Raises `RanksHang` after `timeout_s`. Whatever happens, every process group is killed.
    """
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MS_", "RANK_", "EFFNET_"))}
    own |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **FAST, **(env or {})}
    cluster = _cluster(ranks) if ranks > 1 else {}
    deadline = time.monotonic() + timeout_s
    with tempfile.TemporaryDirectory() as folder, _group() as start:
        if cluster:
            scheduler = [sys.executable, "-m", "effnet.scheduler"]
            start(scheduler, own | cluster | {"MS_ROLE": "MS_SCHED"}, _files(folder, "scheduler"))
        started = [
            start(list(argv), own | (_place(rank, ranks) | cluster if cluster else {}), files)
            for rank in range(ranks)
            for files in [_files(folder, f"rank-{rank}")]
        ]
        while any(process.poll() is None for process in started):
            if time.monotonic() > deadline:
                said = (_read(folder, f"rank-{rank}") for rank in range(ranks))
                tails = [f"rank {n}: {o[-1000:]}{e[-2000:]}" for n, (o, e) in enumerate(said)]
                raise RanksHang("\n".join([f"not done after {timeout_s} s", *tails]))
            time.sleep(0.05)
        return [
            Ended(process.returncode, *_read(folder, f"rank-{rank}"))
            for rank, process in enumerate(started)
        ]


def _cluster(ranks: int) -> dict[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "MS_WORKER_NUM": str(ranks),
        "MS_SCHED_HOST": "127.0.0.1",
        "MS_SCHED_PORT": str(port),
        "MS_NODE_TIMEOUT": "300",
        "MS_TOPO_TIMEOUT": "300",
    }


def _place(rank: int, ranks: int) -> dict[str, str]:
    return {
        "MS_ROLE": "MS_WORKER",
        "MS_NODE_ID": str(rank),
        "RANK_ID": str(rank),
        "RANK_SIZE": str(ranks),
    }


def _files(folder: str, name: str) -> tuple[IO[bytes], IO[bytes]]:
    return Path(folder, f"{name}.out").open("wb"), Path(folder, f"{name}.err").open("wb")


def _read(folder: str, name: str) -> tuple[str, str]:
    out, err = (Path(folder, f"{name}.{end}").read_text(errors="replace") for end in ("out", "err"))
    return out, err


@contextmanager
def _group() -> Iterator[_Start]:
    start = _Start()
    try:
        yield start
    finally:
        start.end_all()


class _Start:
    """Starts processes, each in its own group, and remembers them."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def __call__(
        self, argv: list[str], env: dict[str, str], files: tuple[IO[bytes], IO[bytes]]
    ) -> subprocess.Popen[bytes]:
        out, err = files
        with out, err:
            process = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def end_all(self) -> None:
        for process in self._started:
            # The group outlives its leader while a child of it lives.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
