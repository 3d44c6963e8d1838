"""One fault: its run, its moment, what it does, and whether the outcome is the expected one."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import proof
from tests.cluster.lab import ENOUGH, LIMIT_S, ROOT, ClusterLab
from tests.freezing import freeze

FOUR = ("alpha", "beta", "gamma", "delta")
ENDS = ("attempt_finished", "attempt_failed", "attempt_stopped")


@dataclass(frozen=True)
class Case:
    """A fault by its number. The same seed and number always give the same draws."""

    seed: int
    number: int
    kind: str
    method: str

    def random(self) -> random.Random:
        return random.Random(f"{self.seed}/{self.number}/{self.kind}")


@dataclass(frozen=True)
class Expected:
    """How the newest attempt ends: the kind of the event, and the causes of which one is right."""

    end: str
    causes: tuple[dict[str, object], ...] = ()

    def wrong(self, event: dict[str, Any]) -> dict[str, str]:
        """What is wrong -> how, for the event that ends an attempt."""
        if event["kind"] != self.end:
            return {"state": f"{event['kind']}, expected {self.end}: {_cause(event)}"}
        if self.causes and not any(_fits(event["failure"], cause) for cause in self.causes):
            return {"cause": f"{_cause(event)}, expected {' or '.join(map(str, self.causes))}"}
        return {}


def failed(**cause: object) -> Expected:
    return Expected("attempt_failed", (cause,))


FINISHED = Expected("attempt_finished")
STOPPED = Expected("attempt_stopped")


@dataclass
class Verdict:
    """`wrong`: what (state, cause, left, lost, other) -> how."""

    case: Case
    wrong: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    took_s: float = 0.0
    fault_s: float | None = None
    """From the fault to the event that ended the attempt; None where it did not end it."""
    run: str = ""


class Scene:
    """What a kind of fault works with."""

    def __init__(self, lab: ClusterLab, case: Case) -> None:
        self.lab = lab
        self.case = case
        self.random = case.random()
        self.slots = self.random.choice((1, 2))
        self.root = Path()
        self.fault_at = 0.0
        self.notes: list[str] = []
        self.frozen: list[int] = []
        """Thawed when the run is over, if not before."""

    # -- the run

    def profile(self, **changes: Any) -> Path:
        values = {"method": self.case.method, "nodes": FOUR, "slots": self.slots, "enough": ENOUGH}
        return self.lab.profile(**{**values, "epochs": 5000, "silent_min_s": 60, **changes})

    def start(self, **changes: Any) -> None:
        """Returns when its supervisor owns the run, long before the ranks are there."""
        from launcher import client

        request = client.StartRequest(preflight=False)
        self.root = self.lab.runs / client.start(str(self.profile(**changes)), request)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """`effnet-launch` in a session of its own, as on a terminal of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "launcher.cli", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    @property
    def ranks(self) -> range:
        return range(len(FOUR) * self.slots)

    def node_of(self, rank: int) -> str:
        return FOUR[rank // self.slots]

    def until(self, is_true: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
        self.lab.until(is_true, limit_s, lambda: f"{what}: {self.lab.events(self.root)[-3:]}")

    # -- moments

    def sleep(self, low_s: float, high_s: float, what: str) -> None:
        """A random time."""
        for_s = self.random.uniform(low_s, high_s)
        self.notes.append(f"{what} {for_s:.2f} s")
        time.sleep(for_s)

    def moment(self) -> None:
        """In a third of the cases one of the start, when the ranks are there; else of training."""
        if self.random.random() < 1 / 3:
            self.lab.wait_for(self.root, "rank_started", count=len(self.ranks))
            self.sleep(0, 0.4, "after the ranks began:")
        else:
            self.training()

    def training(self) -> None:
        self.lab.wait_for(self.root, "epoch_finished")
        self.sleep(0, 0.7, "in training:")

    def node(self, *names: str) -> str:
        name = self.random.choice(names or FOUR)
        self.notes.append(name)
        return name

    # -- faults

    def begin_fault(self) -> None:
        self.fault_at = time.time()

    def kill(self, pid: int) -> None:
        self.begin_fault()
        os.kill(pid, signal.SIGKILL)

    def freeze(self, pid: int) -> None:
        self.begin_fault()
        self.frozen.append(pid)
        freeze(pid)

    def thaw(self) -> None:
        while self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.frozen.pop(), signal.SIGCONT)

    def helper(self, host: str, program: str) -> int:
        """The only process of this program (mpirun, orted) or Python module on a host."""
        found: list[int] = []

        def is_there() -> bool:
            found[:] = [
                seen.pid
                for seen in self.lab.hosts[host].processes()
                if program in [part.rpartition("/")[2] for part in seen.command.split()[:3]]
            ]
            return len(found) == 1

        self.until(is_there, f"{program} on {host}")
        return found[0]

    # -- ends

    def goes_on(self) -> None:
        """It trains, and reports it, after all that has happened up to now."""
        since_s = time.time()

        ends = len(self.lab.events(self.root, *ENDS))

        def trains() -> bool:
            epochs = self.lab.events(self.root, "epoch_finished")
            is_over = len(self.lab.events(self.root, *ENDS)) > ends
            return is_over or sum(event["t"] > since_s for event in epochs) >= 2

        self.until(trains, "no more epochs come")

    def survives(self) -> Expected:
        """It goes on, and then ends as asked."""
        self.goes_on()
        return self.finish() if self.random.random() < 0.5 else self.stop()

    def finish(self) -> Expected:
        self.lab.enough_file.touch()
        return FINISHED

    def stop(self, save: bool = True) -> Expected:
        from launcher import client

        client.stop(self.root, client.StopRequest(save=save))
        return STOPPED

    def attempts(self) -> int:
        return len(self.lab.events(self.root, "attempt_started"))


class WrongError(AssertionError):
    """What a kind of fault itself finds wrong; `what` as in `Verdict.wrong`."""

    def __init__(self, what: str, text: str) -> None:
        super().__init__(text)
        self.what = what


def judge(lab: ClusterLab, case: Case, kind: Callable[[Scene], Expected | None]) -> Verdict:
    """Plays one fault. Never raises for what the product does."""
    began = time.monotonic()
    scene, verdict = Scene(lab, case), Verdict(case)
    with _noted(verdict, "other"):
        expected = kind(scene)
        if expected is not None:
            event = lab.end_of(scene.root)
            verdict.wrong |= expected.wrong(event)
            if event["kind"] == "attempt_failed" or case.kind == "stop":
                verdict.fault_s = event["t"] - scene.fault_at
            with _noted(verdict, "cause"):
                lab.check_card(scene.root, event)
    scene.thaw()
    lab.hosts.repair()
    if scene.root.name:
        verdict.run = scene.root.name
        with _noted(verdict, "left"):
            scene.until(lambda: not _is_supervised(scene.root), "its supervisor is left")
    with _noted(verdict, "left"):
        lab.nothing_left()
    if scene.root.name and not verdict.wrong:
        with _noted(verdict, "lost"):
            for attempt in range(1, scene.attempts() + 1):
                lab.check_copies(scene.root, attempt)
    verdict.notes = scene.notes
    verdict.took_s = time.monotonic() - began
    return verdict


@contextlib.contextmanager
def _noted(verdict: Verdict, what: str) -> Iterator[None]:
    from launcher.errors import LaunchError

    try:
        yield
    except (AssertionError, LaunchError, OSError, subprocess.TimeoutExpired) as error:
        what = error.what if isinstance(error, WrongError) else what
        verdict.wrong.setdefault(what, f"{type(error).__name__}: {error}"[:2000])


def _is_supervised(root: Path) -> bool:
    from launcher.store import run_lock

    return run_lock.is_supervised(root)


def _fits(failure: dict[str, Any], cause: dict[str, object]) -> bool:
    with contextlib.suppress(AssertionError):
        proof.blames(failure, **cause)
        return True
    return False


def _cause(event: dict[str, Any]) -> str:
    failure = event.get("failure")
    if failure is None:
        return ""
    keys = ("kind", "rank", "node", "signal", "exit_code", "meaning")
    return json.dumps({key: failure[key] for key in keys})
