"""Random faults on the four hosts. Needs root.

    python -m tests.cluster.loop --count 200 --seed 1 --workers 2 --out docs/fault-loop.md

Even numbers run with `cluster`, odd ones with mpirun. One fault alone: `--seed 1 --number 37`.
Each worker has hosts of its own. Exit code 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page import write
from tests.cluster.loop.kinds import KINDS
from tests.cluster.loop.scene import Verdict
from tests.cluster.loop.workers import METHODS, draw, play_all

PROGRAM = "tests.cluster.loop"


def line(verdict: Verdict) -> str:
    case = verdict.case
    text = f"{case.seed}/{case.number:<4} {case.method:8} {case.kind:21} {verdict.took_s:5.1f} s"
    ended = "" if verdict.fault_s is None else f", ended after {verdict.fault_s:.2f} s"
    text += f" ({'; '.join(verdict.notes)}{ended})"
    return "\n    ".join([text, *(f"WRONG {what}: {how}" for what, how in verdict.wrong.items())])


def table(verdicts: Sequence[Verdict]) -> str:
    rows = [
        "| fault | started with | faults | right | wrong | ended after, p50 | p95"
        " | processes left | lines lost |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        for method in METHODS:
            found = [v for v in verdicts if (v.case.kind, v.case.method) == (kind, method)]
            if found:
                rows.append(_row(kind, method, found))
    return "\n".join([*rows, _row("all", "", verdicts)]) + "\n"


def _row(kind: str, method: str, found: Sequence[Verdict]) -> str:
    names = sorted({what for v in found for what in v.wrong} - {"left", "lost"})
    wrong = sum(bool(v.wrong) for v in found)
    times = sorted(v.fault_s for v in found if v.fault_s is not None) if method else []
    p95 = statistics.quantiles(times, n=20, method="inclusive")[-1] if len(times) > 1 else None
    cells = [
        *(kind, method, str(len(found)), str(len(found) - wrong)),
        f"{wrong} ({', '.join(names)})" if names else str(wrong),
        f"{statistics.median(times):.1f} s" if times else "",
        f"{p95 if p95 is not None else times[0]:.1f} s" if times else "",
        *(str(sum(what in v.wrong for v in found)) for what in ("left", "lost")),
    ]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.loop")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first fault")
    parser.add_argument("--number", type=int, action="append", help="this fault only, repeatable")
    parser.add_argument("--only", choices=KINDS, action="append", help="this kind, repeatable")
    parser.add_argument("--method", choices=METHODS)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--limit-s", type=float, default=math.inf, help="no new fault after this")
    parser.add_argument("--keep", default="", help="a folder for the runs that were wrong")
    parser.add_argument("--out", type=Path, help="a page whose table this run replaces")
    options = parser.parse_args()
    numbers = options.number or range(options.first, options.first + options.count)
    cases = [draw(options.seed, number) for number in numbers]
    cases = [case for case in cases if not options.only or case.kind in options.only]
    cases = [case for case in cases if options.method in (None, case.method)]
    if not cases:
        parser.error(f"none of the {len(numbers)} faults is of this kind: raise --count")
    began, verdicts = time.monotonic(), list[Verdict]()
    for verdict in play_all(cases, options.workers, options.keep, options.limit_s):
        verdicts.append(verdict)
        print(f"{len(verdicts)}/{len(cases)} {line(verdict)}", flush=True)
    took_s = time.monotonic() - began
    said = (
        f"{len(verdicts)} faults with seed {options.seed} in {took_s / 60:.0f} min:"
        f" {options.workers} at a time, {took_s / len(verdicts):.1f} s a fault.\n\n"
    )
    print(said + table(verdicts))
    if options.out:
        write(options.out, PROGRAM, said + table(verdicts))
    return any(verdict.wrong for verdict in verdicts)


if __name__ == "__main__":
    sys.exit(main())
