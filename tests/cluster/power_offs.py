"""Power-offs at random moments on three hosts with a fourth as the spare. Needs root.

    python -m tests.cluster.power_offs --count 50 --seed 1 --out docs/power-offs.md
    python -m tests.cluster.power_offs --retry shrink --count 50 --out docs/power-offs.md

Nobody presses a key: the run must train again on the spare, or with `--retry shrink` on the other
two, as the run that it was. `--number 7` plays one alone. Exit code 1 when an outcome was wrong;
times are only reported.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.page import write
from tests.cluster.attempt_files import carried, states
from tests.cluster.lab import ClusterLab
from tests.cluster.loop.workers import Place

PROGRAMS = {
    "spare": "tests.cluster.power_offs",
    "shrink": "tests.cluster.power_offs --retry shrink",
}
"""As the marks in the page name them."""
NODES, SPARE = ("alpha", "beta", "gamma"), "delta"
UNREACHABLE_S = 3.0
STEPS, STEP_S = 20, 0.05
MOMENTS = ("start", "training", "training")
COLD_STARTS = 3
UNBROKEN = 25
"""Epochs of the run that the others are compared with: more than any of them does."""
RUN = {
    "nodes": NODES,
    "auto_resume": 3,
    "copies": 2,
    "slots": 1,
    "epochs": 500,
    "steps": STEPS,
    "step_s": STEP_S,
    "unreachable_s": UNREACHABLE_S,
    "state": "1",
}
WAYS: dict[str, dict[str, Any]] = {
    "spare": {"retry_nodes": "spare", "spares": (SPARE,)},
    # Checkpoints within an epoch too: the others continue there.
    "shrink": {"retry_nodes": "shrink", "save": 7},
}


@dataclass(frozen=True)
class PowerOff:
    """One of them. The same seed and number always give the same draws."""

    seed: int
    number: int
    node: str
    moment: str
    after_s: float
    retry: str = "spare"


@dataclass
class Outcome:
    """`again_s`: from the power-off to training again; `step`: where it continued."""

    case: PowerOff
    again_s: float | None = None
    step: int = 0
    is_from_copy: bool = False
    wrong: str = ""
    told: list[str] = field(default_factory=list)


def draw(seed: int, number: int, retry: str = "spare") -> PowerOff:
    """Each node and moment comes once before one comes twice."""
    deck = [(node, moment) for node in NODES for moment in MOMENTS]
    turn, place = divmod(number, len(deck))
    random.Random(f"{seed}/{turn}").shuffle(deck)
    node, moment = deck[place]
    longest_s = 0.3 if moment == "start" else 2 * STEPS * STEP_S
    after_s = random.Random(f"{seed}/{number}").uniform(0, longest_s)
    return PowerOff(seed, number, node, moment, after_s, retry)


def cold_start(lab: ClusterLab, epochs: int, retry: str = "spare") -> tuple[float, dict[int, str]]:
    """(s from the start command to training, the state after each step of an unbroken run)."""
    began_s = time.time()
    root = _start(lab, retry, epochs=epochs)
    lab.wait_for(root, "attempt_finished")
    return _training(lab, root, 1)["t"] - began_s, states(root, 1)


def play(lab: ClusterLab, case: PowerOff, unbroken: dict[int, str]) -> Outcome:
    """Never raises for what the product does."""
    from launcher.errors import LaunchError

    outcome = Outcome(case)
    try:
        _play(lab, case, unbroken, outcome)
    except (AssertionError, LaunchError, OSError) as error:
        outcome.wrong = f"{type(error).__name__}: {error}"[:2000]
    return outcome


def _play(lab: ClusterLab, case: PowerOff, unbroken: dict[int, str], outcome: Outcome) -> None:
    from launcher import client
    from launcher.store import run_lock

    root = _start(lab, case.retry)
    if case.moment == "start":
        lab.wait_for(root, "rank_started", count=len(NODES))
    else:
        lab.wait_for(root, "checkpoint_copied")
    time.sleep(case.after_s)
    off_s = time.time()
    lab.hosts[case.node].power_off()
    lab.until(
        lambda: _again(lab, root) or lab.events(root, "gave_up"), why=lambda: _newest(lab, root)
    )
    assert not lab.events(root, "gave_up"), _newest(lab, root)
    again = _again(lab, root)
    attempt = again["attempt"]
    outcome.again_s = again["t"] - off_s
    started = lab.events(root, "attempt_started")[attempt - 1]
    resume = started["resume"] or {"step": 0, "why": ""}
    outcome.step, outcome.is_from_copy = resume["step"], "the copy on" in resume["why"]
    changes = lab.events(root, "node_replaced", "node_left_out")
    spare = SPARE if case.retry == "spare" else None
    assert [(e["node"], e.get("spare")) for e in changes] == [(case.node, spare)], changes
    lab.until(lambda: any(e["attempt"] == attempt for e in lab.events(root, "epoch_finished")))
    client.stop(root)
    end = lab.wait_for(root, "attempt_stopped")
    lab.until(lambda: not run_lock.is_supervised(root))
    lab.hosts.repair()
    lab.nothing_left()
    lab.check_steps(root, outcome.step, end["step"], attempt)
    if case.retry == "shrink":
        shares = carried(root, attempt, len(NODES) - 1)
        assert shares == ["carries [0, 2] of 3", "carries [1] of 3"], shares
    found = {n: state for a in (1, attempt) for n, state in states(root, a).items()}
    expected = {step: unbroken.get(step) for step in found}
    assert found == expected, "the steps do not come from the same training"
    assert end["step"] in found, found.keys()


def _start(lab: ClusterLab, retry: str, **changes: Any) -> Path:
    from launcher import client

    path = lab.profile(**{**RUN, **WAYS[retry], **changes})
    return lab.runs / client.start(str(path), client.StartRequest())


def _again(lab: ClusterLab, root: Path) -> dict[str, Any]:
    found = [e for e in lab.events(root, "training_started") if e["attempt"] > 1]
    return found[0] if found else {}


def _training(lab: ClusterLab, root: Path, attempt: int) -> dict[str, Any]:
    return next(e for e in lab.events(root, "training_started") if e["attempt"] == attempt)


def _newest(lab: ClusterLab, root: Path) -> str:
    return str(lab.events(root)[-4:])


def line(outcome: Outcome) -> str:
    case = outcome.case
    again = "" if outcome.again_s is None else f", training again after {outcome.again_s:.1f} s"
    copy = " of the copy" if outcome.is_from_copy else ""
    text = f"{case.seed}/{case.number:<3} {case.node:6} {case.moment:9} {case.after_s:.2f} s"
    wrong = f"\n    WRONG: {outcome.wrong}" if outcome.wrong else ""
    return f"{text}{again}, from step {outcome.step}{copy}{wrong}"


def table(outcomes: Sequence[Outcome], limit_s: float) -> str:
    """By node and moment."""
    rows = [
        "| node without power | moment | power-offs | as an unbroken run | from a copy |"
        " training again after, p50 | longest | within the limit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for node in NODES:
        for moment in dict.fromkeys(MOMENTS):
            part = [o for o in outcomes if (o.case.node, o.case.moment) == (node, moment)]
            if part:
                name = f"{node} (rank 0)" if node == NODES[0] else node
                rows.append(_row(name, moment, part, limit_s))
    return "\n".join([*rows, _row("all", "", list(outcomes), limit_s)]) + "\n"


def _row(node: str, moment: str, part: Sequence[Outcome], limit_s: float) -> str:
    times = [o.again_s for o in part if o.again_s is not None]
    cells = [
        *(node, moment, str(len(part)), str(sum(not o.wrong for o in part))),
        str(sum(o.is_from_copy for o in part)),
        f"{statistics.median(times):.1f} s" if times else "",
        f"{max(times):.1f} s" if times else "",
        str(sum(time_s <= limit_s for time_s in times)),
    ]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.power_offs")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--retry", choices=WAYS, default="spare", help="retry.nodes")
    parser.add_argument("--number", type=int, action="append", help="this one only, repeatable")
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="none begins after it")
    parser.add_argument("--out", type=Path, help="a page whose table this run replaces")
    options = parser.parse_args()
    place, began = Place("", 0.0), time.monotonic()
    try:
        colds = []
        for number in range(COLD_STARTS):
            with place.lab(9000 + number) as lab:
                epochs = UNBROKEN if number == COLD_STARTS - 1 else 1
                cold_s, unbroken = cold_start(lab, epochs, options.retry)
                colds.append(cold_s)
        cold_s = statistics.median(colds)
        print(f"cold starts: {', '.join(f'{cold:.1f} s' for cold in colds)}", flush=True)
        outcomes = []
        for number in options.number or range(options.count):
            if time.monotonic() - began > options.limit_s:
                break
            with place.lab(number) as lab:
                outcomes.append(play(lab, draw(options.seed, number, options.retry), unbroken))
            print(line(outcomes[-1]), flush=True)
    finally:
        place.close()
    limit_s, took_s = UNREACHABLE_S + 1.2 * cold_s, time.monotonic() - began
    text = (
        f"{len(outcomes)} power-offs with seed {options.seed} in {took_s / 60:.0f} min."
        f" `unreachable_s` was {UNREACHABLE_S:g} s, a cold start {cold_s:.1f} s (median of"
        f" {len(colds)}), so the limit is {limit_s:.1f} s.\n\n{table(outcomes, limit_s)}"
    )
    print(text)
    if options.out:
        write(options.out, PROGRAMS[options.retry], text)
    return any(outcome.wrong for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
