"""How soon the death or absence of a node fails an attempt, and whether the right node is named.

    sudo python benchmarks/supervision.py [agent] [away] [--runs N] [--seed N]

agent: SIGKILL of the agent of a random node of two, at a random moment of training, to `failed`;
goal: p95 1 s, and the right node in all runs. The stand-in's ranks end at once without their peers.
away: the link of a node is cut for good, from its last answer to `failed`; goal: within 1 s of
`unreachable_s`, and the text has the true time.

Nodes are network namespaces with a real sshd each, as tests/cluster makes them: needs root.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rows import head, p95, row  # noqa: E402

from tests.cluster.hosts import cluster  # noqa: E402
from tests.cluster.lab import ClusterLab  # noqa: E402

NODES = ("alpha", "beta")
LIMITS_S = (3, 4, 5, 6, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", help="agent, away; both by default")
    parser.add_argument("--runs", type=int, help="default: 100 of agent, 10 of away")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="supervision-", dir="/tmp"))
    head("", "p50", "p95", "most", "runs")
    with cluster(*NODES) as hosts:
        os.environ["HOME"] = str(hosts.home)
        os.environ["XDG_RUNTIME_DIR"] = str(folder)
        os.environ["EFFNET_RUNS_DIR"] = str(folder / "runs")
        os.environ.pop("SSH_AUTH_SOCK", None)
        lab = ClusterLab(hosts, folder)
        try:
            for name in options.what or FAULTS:
                FAULTS[name](lab, options.runs, random.Random(options.seed))
        finally:
            hosts.repair()
            lab.end_all()


def agent(lab: ClusterLab, runs: int | None, chance: random.Random) -> None:
    took_s, wrong = [], []
    for number in range(runs or 100):
        node = chance.choice(NODES)
        root = lab.start(epochs=10_000)
        lab.wait_for(root, "training_started")
        time.sleep(chance.uniform(0, 1))
        killed = time.time()
        os.kill(lab.agent_pid(node), signal.SIGKILL)
        event = lab.end_of(root)
        took_s.append(event["t"] - killed)
        failure = event.get("failure") or {}
        if (failure.get("node"), failure.get("rank")) != (node, None):
            wrong.append(f"run {number}, agent on {node}: {failure.get('meaning')}")
        print(f"{number + 1}: {node}, {took_s[-1]:.2f} s, {len(wrong)} wrong", file=sys.stderr)
        lab.nothing_left(60)
    right = f", the right cause in {len(took_s) - len(wrong)}"
    show("`kill -9` of the agent of one of 2 nodes → `failed`", took_s, right)
    print(*wrong, sep="\n", file=sys.stderr)


def away(lab: ClusterLab, runs: int | None, chance: random.Random) -> None:
    over_s, text_s = [], []
    for number in range(runs or 10):
        limit_s = LIMITS_S[number % len(LIMITS_S)]
        root = lab.start(epochs=10_000, unreachable_s=limit_s, orphan_limit_s=5)
        lab.wait_for(root, "epoch_finished")
        time.sleep(chance.uniform(0, 1))
        lab.hosts["beta"].link_down()
        cut = time.time()
        event = lab.end_of(root)
        lab.hosts["beta"].link_up()
        over_s.append(event["t"] - cut - limit_s)
        found = re.search(r"not answered for ([\d.]+) s", event["failure"]["meaning"])
        text_s.append(float(found[1]) - (event["t"] - cut) if found else float("nan"))
        print(f"{number + 1}: limit {limit_s} s, {over_s[-1]:+.2f} s", file=sys.stderr)
        lab.nothing_left(90)
    show("link cut → `failed`, beyond `unreachable_s`", over_s)
    show("time in the text, beyond the true time", text_s)


def show(name: str, values: list[float], more: str = "") -> None:
    found = (statistics.median(values), p95(values), max(values))
    row(name, *(f"{value:.2f} s" for value in found), f"{len(values)}{more}")


FAULTS = {"agent": agent, "away": away}


if __name__ == "__main__":
    main()
