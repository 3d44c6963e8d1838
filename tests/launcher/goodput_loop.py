"""Random faults, stops and resumes, and whether each second of the run is in its class.

    python -m tests.launcher.goodput_loop --count 50 --seed 1

Each run of the stand-in has one to three attempts, which are killed, fail or are stopped, and are
resumed after a while. Sleeps of known length are planted: before training starts (launch), between
the steps of rank 0 (input), in a step of rank 1 (wait), after a failure (down) and after a stop
(stopped). Steps take a known time, those that a resume repeats too (compute, lost). A run is right
when its classes add up to the time between its first and its last event within 1 %, and each class
has at least 98 % of what was planted in it: with the right sum no class can then have another's
sleep. CI's sample asks for half of it: a rank that its machine holds up for a moment reaches a step
later, and what it then waits for its peer is shorter than the sleep planted there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher import client
from launcher.core.diagnosis.goodput import CLASSES
from launcher.core.run.metrics import unpack
from tests.launcher.conftest import Lab

STEP_S = 0.1
STEPS = 10
ENDS = ("kill", "exit", "raise", "stop")
LEAST = 0.98
"""Of what was planted: a clock may tick between two looks at it."""


@dataclass
class Result:
    """Of one run: seconds by class."""

    number: int
    ends: list[str]
    wall_s: float
    found: dict[str, float]
    planted: Counter[str] = field(default_factory=Counter)

    @property
    def off(self) -> float:
        """How far the sum is from the wall time, as a share of it."""
        return abs(sum(self.found.values()) - self.wall_s) / self.wall_s

    def missing(self, least: float = LEAST) -> list[str]:
        """Classes that have less than this part of what was planted in them."""
        return [name for name, s in self.planted.items() if self.found[name] < least * s]

    @property
    def is_right(self) -> bool:
        return self.off <= 0.01 and not self.missing()


@dataclass
class _Sleep:
    """A planted one: ``step`` of ``attempt``, which may end before it."""

    kind: str
    attempt: int
    step: int
    seconds: float

    def fault(self) -> dict[str, Any]:
        do = {"launch": "compile", "input": "hang", "wait": "hang"}[self.kind]
        rank = 1 if self.kind == "wait" else 0
        known = {"rank": rank, "attempt": self.attempt, "step": self.step, "do": do}
        return {**known, "seconds": self.seconds}


def play(number: int, seed: int) -> Result:
    """One run, from its start to its last epoch."""
    folder = Path(tempfile.mkdtemp(prefix="goodput-", dir="/tmp"))
    mark = f"lab-{uuid.uuid4().hex}"
    before = dict(os.environ)
    os.environ |= {
        "XDG_RUNTIME_DIR": str(folder),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "EFFNET_RUNS_DIR": str(folder / "runs"),
        "LAB_MARK": mark,
    }
    lab = Lab(folder, mark)
    try:
        return _play(lab, number, random.Random(f"{seed} {number}"))
    finally:
        lab.end_all()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


def _play(lab: Lab, number: int, chance: random.Random) -> Result:
    ends = chance.choices(ENDS, k=chance.randrange(3))
    sleeps, faults = [], []
    for attempt in range(1, len(ends) + 2):
        first = 2 * STEPS * (attempt - 1)
        if chance.random() < 0.5:
            sleeps.append(_Sleep("launch", attempt, 0, chance.uniform(0.5, 2)))
        for step in chance.sample(range(first + 3, first + STEPS), chance.randrange(3)):
            kind = chance.choice(("input", "wait"))
            sleeps.append(_Sleep(kind, attempt, step, chance.uniform(0.5, 2)))
        if attempt <= len(ends) and ends[attempt - 1] != "stop":
            step = chance.randrange(first + STEPS + 2, first + 2 * STEPS)
            end = {"rank": chance.randrange(2), "step": step, "do": ends[attempt - 1]}
            faults.append({**end, "attempt": attempt})
    faults += [sleep.fault() for sleep in sleeps]
    epochs = 2 * len(ends) + 2
    root = lab.start(*faults, epochs=epochs, steps=STEPS, step_s=STEP_S, silent_min_s=30)
    planted: Counter[str] = Counter()
    finished = 0
    for attempt, end in enumerate(ends, 1):
        if end == "stop":
            lab.wait_for(root, "training_started", count=attempt)
            lab.wait_for(root, "epoch_finished", count=finished + 1)
            client.stop(root)
        lab.wait_for(root, "attempt_failed", "attempt_stopped", count=attempt)
        finished = len(lab.events(root, "epoch_finished"))
        seconds = chance.uniform(0.5, 3)
        time.sleep(seconds)
        planted["stopped_s" if end == "stop" else "down_s"] += seconds
        lab.until(lambda: _resumes(root))
    lab.wait_for(root, "attempt_finished", timeout_s=120)
    reader = client.open_run(root)
    reader.poll_state()
    goodput = reader.goodput()
    planted += _planted(lab, root, sleeps)
    events = lab.events(root)
    last = [event["t"] for event in events if event["kind"] == "attempt_finished"][-1]
    found = {name: getattr(goodput, name) for name in CLASSES}
    lab.nothing_left(60)
    return Result(number, ends, last - events[0]["t"], found, planted)


def _resumes(root: Path) -> bool:
    """Whether it did: the supervisor of the attempt before may still be leaving."""
    from launcher.errors import BusyError

    try:
        client.resume(root, client.ResumeRequest(preflight=False))
    except BusyError:
        return False
    return True


def _planted(lab: Lab, root: Path, sleeps: list[_Sleep]) -> Counter[str]:
    """What the ranks really did: an attempt may have ended before a sleep."""
    starts = [
        (event["resume"] or {}).get("step", 0) for event in lab.events(root, "attempt_started")
    ]
    planted: Counter[str] = Counter()
    # A rank may report a step while the attempt is failing already: that time is not training.
    exits = {event["attempt"]: event["t"] for event in reversed(lab.events(root, "rank_exited"))}
    done: set[tuple[int, int]] = set()
    for attempt in range(1, len(starts) + 1):
        kept = min(starts[attempt:], default=10**9)
        path = root / f"attempts/{attempt:03d}/ranks/0000/metrics.bin"
        for record in unpack(path.read_bytes()):
            if record.time_s > exits.get(attempt, math.inf):
                continue
            is_lost = record.global_step >= kept
            done.add((attempt, record.global_step))
            planted["lost_s" if is_lost else "compute_s"] += STEP_S
    for sleep in sleeps:
        kept = min(starts[sleep.attempt :], default=10**9)
        if sleep.kind == "launch":
            planted["launch_s"] += sleep.seconds
        elif (sleep.attempt, sleep.step) in done and sleep.step > starts[sleep.attempt - 1]:
            is_lost = sleep.kind == "wait" and sleep.step >= kept
            planted["lost_s" if is_lost else f"{sleep.kind}_s"] += sleep.seconds
    return planted


def table(results: list[Result]) -> str:
    """For the page of benchmarks."""
    rows = ["| class | planted in all runs | found |", "|---|---|---|"]
    for name in CLASSES:
        planted = sum(result.planted[name] for result in results)
        found = sum(result.found[name] for result in results)
        known = f"{planted:.1f} s" if planted else ""
        rows.append(f"| {name.removesuffix('_s')} | {known} | {found:.1f} s |")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    results = []
    for number in range(options.first, options.first + options.count):
        result = play(number, options.seed)
        results.append(result)
        verdict = "right" if result.is_right else f"WRONG {result.missing()}"
        ends = ", ".join(result.ends) or "no fault"
        print(
            f"{number}: {result.wall_s:.1f} s, {ends}: off {result.off:.3%}, {verdict}", flush=True
        )
        if not result.is_right:
            print(json.dumps({"planted": result.planted, "found": result.found}), flush=True)
    right = sum(result.is_right for result in results)
    print(f"{right} of {len(results)} right, most off {max(r.off for r in results):.4%}")
    print(table(results))
    return right != len(results)


if __name__ == "__main__":
    raise SystemExit(main())
