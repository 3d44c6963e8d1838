"""Runs of the stand-in trainer for tests: real processes, real signals, a folder of their own."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import pace, proof, story
from tests.job_runner import kill_with_parent

STANDIN = Path(__file__).parents[1] / "standin"
ROOT = Path(__file__).parents[2]
LIMIT_S = 120
"""For what takes seconds on an idle machine."""
PROFILE = """\
name = "standin"
device_target = "CPU"
start_method = "cluster"
data_path = "{data}"

[[nodes]]
address = "127.0.0.1"
slots = {ranks}

[trainer]
epoch_size = {epochs}

[launch]
fork = {fork}
keep_warm_s = {keep_warm_s}

[limits]
stop_save_s = {stop_save_s}
term_s = {term_s}
kill_s = 5
orphan_limit_s = {orphan_limit_s}
supervisor_restart_s = {supervisor_restart_s}
unreachable_s = {unreachable_s}
silent_min_s = {silent_min_s}
compile_s = {compile_s}
spread_s = {spread_s}
launch_s = {launch_s}

[retry]
auto_resume = {auto_resume}
on_silent = "{on_silent}"

[environment]
PYTHONPATH = {python_path}
STANDIN_FAULTS = {faults}
STANDIN_STEPS = "{steps}"
STANDIN_STEP_S = "{step_s}"
STANDIN_FAST = "{fast}"
STANDIN_EVAL_S = "{eval_s}"
STANDIN_IMPORT = "{imports}"
STANDIN_MARK = "{mark}"
STANDIN_WITNESS = "{witness}"
"""


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in (
            psutil.STATUS_ZOMBIE,
            psutil.STATUS_DEAD,
        )
    except psutil.Error:
        return False


class Lab:
    """Starts runs of the stand-in and looks at them from outside."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.mark = mark
        (folder / "data/train/a").mkdir(parents=True)
        (folder / "data/val/a").mkdir(parents=True)
        self.before = {(p.pid, p.create_time()) for p in psutil.process_iter()}
        self._found: set[psutil.Process] = set()

    def profile(self, *faults: dict[str, Any], **changes: Any) -> Path:
        """A profile whose ranks do `faults` (tests/standin/effnet/faults.py)."""
        values: dict[str, Any] = {
            "ranks": 2,
            "epochs": 3,
            "steps": 10,
            "fast": 0,
            "eval_s": 0,
            "imports": "",
            "fork": "true",
            "keep_warm_s": 0,
            "stop_save_s": 10,
            "term_s": 2,
            "orphan_limit_s": 600,
            "supervisor_restart_s": 600,
            "unreachable_s": 60,
            "silent_min_s": 10,
            "compile_s": 600,
            "spread_s": 60,
            "launch_s": 600,
            "auto_resume": 0,
            "on_silent": "report",
        }
        values |= changes
        values.setdefault("step_s", pace.step_s(values["epochs"]))
        text = PROFILE.format(
            **values,
            mark=self.mark,
            data=self.folder / "data",
            witness=self.folder / "witness",
            python_path=json.dumps(str(STANDIN)),
            faults=json.dumps(json.dumps(faults)),
        )
        path = self.folder / "standin.toml"
        path.write_text(text)
        return path

    def start(self, *faults: dict[str, Any], **changes: Any) -> Path:
        """Starts a run; -> its run directory."""
        from launcher import client

        run = client.start(
            str(self.profile(*faults, **changes)), client.StartRequest(preflight=False)
        )
        return self.runs / run

    def command(
        self, *arguments: str, timeout_s: float = LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        """`effnet-launch` in a separate process."""
        return subprocess.run(
            [sys.executable, "-m", "launcher.cli.app", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def events(self, root: Path, kind: str = "") -> list[dict[str, Any]]:
        return [event for event in story.events(root) if not kind or event["kind"] == kind]

    def wait_for(
        self, root: Path, *kinds: str, count: int = 1, timeout_s: float = LIMIT_S
    ) -> dict[str, Any]:
        """The `count`-th event of any of `kinds`, when it is there."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [e for e in self.events(root) if e["kind"] in kinds]
            return len(found) >= count

        self.until(is_there, timeout_s, lambda: f"no {kinds}: {self.events(root)[-3:]}")
        return found[count - 1]

    def until(
        self,
        is_true: Callable[[], object],
        timeout_s: float = LIMIT_S,
        why: Callable[[], str] = lambda: "it did not come true",
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_true():
            assert time.monotonic() < deadline, why()
            time.sleep(0.01)

    def ours(self) -> list[psutil.Process]:
        """Every process that came from this test, found by what the product knows nothing of.

        One that was found before is here until it has ended: a dying one has no environment and no
        command line for a moment, and still is a process to everybody else.
        """
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (process.pid, process.create_time()) not in self.before and (
                    process.environ().get("LAB_MARK") == self.mark
                    or self.mark in " ".join(process.cmdline())
                ):
                    self._found.add(process)
        self._found = {process for process in self._found if _is_alive(process)}
        return sorted(self._found, key=lambda process: process.pid)

    def words(self, process: psutil.Process) -> list[str]:
        """Its command line; none of one that has just ended."""
        with contextlib.suppress(psutil.Error):
            return process.cmdline()
        return []

    def nothing_left(self, timeout_s: float = LIMIT_S) -> None:
        self.until(lambda: not self.ours(), timeout_s, lambda: f"left: {self.ours()}")

    def pid_of(self, root: Path, rank: int, attempt: int = 1) -> int:
        started = self.events(root, "rank_started")
        return next(int(e["pid"]) for e in started if e["rank"] == rank and e["attempt"] == attempt)

    def agent_pids(self) -> tuple[int, int]:
        """(guard, agent). What the agent starts has the same command line before its exec."""
        parents: dict[int, int] = {}
        for process in self.ours():
            with contextlib.suppress(psutil.Error):
                if "launcher.agent" in " ".join(self.words(process)):
                    parents[process.pid] = process.ppid()
        guard = next(pid for pid, up in parents.items() if up not in parents)
        return guard, next(pid for pid, up in parents.items() if up == guard)

    def supervisor_pid(self, root: Path) -> int:
        return int(json.loads((root / "supervisor.json").read_text())["pid"])

    def kill_supervisor(self, root: Path) -> None:
        """For good; returns when it is gone."""
        kill_with_parent(self.supervisor_pid(root))

    def log(self, root: Path, rank: int, attempt: int = 1) -> bytes:
        return (root / f"attempts/{attempt:03d}/ranks/{rank:04d}/log.txt").read_bytes()

    def check_metrics(self, root: Path, rank: int, attempt: int = 1) -> list[int]:
        """Holds the log to what the rank noted, and metrics.bin to the log. -> global steps."""
        log = self.log(root, rank, attempt)
        if "STANDIN_WITNESS" in (root / "profile.json").read_text():
            noted = self.folder / f"witness/{root.name}/{attempt:03d}-{rank:04d}"
            exits = [e for e in self.events(root, "rank_exited") if e["attempt"] == attempt]
            is_clean = any(e["rank"] == rank and e["exit_code"] == 0 for e in exits)
            proof.log_is_whole(f"rank {rank}", log, noted.read_bytes(), was_killed=not is_clean)
        path = root / f"attempts/{attempt:03d}/ranks/{rank:04d}/metrics.bin"
        return proof.reports_are_recorded(f"rank {rank}", log, path.read_bytes())

    def end_all(self) -> None:
        """Stopped first, so that none of them sees the end of another.

        Ranks are killed before their agents: a test elsewhere may look for some that have none.
        """
        found = self.ours()
        for end in (psutil.Process.suspend, psutil.Process.kill):
            for process in reversed(found):
                with contextlib.suppress(psutil.Error):
                    end(process)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A lab; the test fails when any process of it is left."""
    mark = f"lab-{uuid.uuid4().hex}"
    # pytest's own temporary folders are too deep for a socket.
    runtime = tempfile.mkdtemp(prefix="lab-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("EFFNET_PROFILES_DIR", str(tmp_path / "profiles"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LAB_MARK", mark)
    monkeypatch.setenv("NO_COLOR", "1")
    lab = Lab(tmp_path, mark)
    try:
        yield lab
        lab.nothing_left()
    finally:
        lab.end_all()
        shutil.rmtree(runtime, ignore_errors=True)
