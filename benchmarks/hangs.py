"""Whether the rank that makes a run hang is named, with its place, and how soon.

    python benchmarks/hangs.py [standin] [real] [--runs N] [--first N] [--seed N]

standin: 100 hangs of the stand-in trainer: a sleep in a loader, a lock, SIGSTOP; 2 or 8 ranks.
real: 10 hangs of a small network on 2 ranks, whose peers wait in MindSpore's all-reduce: a sleep or
a lock while an image is decoded, SIGSTOP. Goal: the right rank and place in all, within 4 s after
the rank is called silent. One line for each hang; a table at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from launcher import client  # noqa: E402
from tests import small  # noqa: E402
from tests.cluster.real import make_images  # noqa: E402
from tests.launcher.conftest import Lab  # noqa: E402

LIMIT_S = 4.0
STANDIN = {"loader": "faults.py:", "lock": "faults.py:", "stop": "is stopped"}
REAL = {"sleep": "data/decode.py:", "lock": "data/decode.py:", "stop": "is stopped"}
REAL_PROFILE = """\
name = "hang"
device_target = "CPU"
start_method = "cluster"
data_path = "{data}"

[[nodes]]
address = "127.0.0.1"
slots = 2

[limits]
silent_min_s = 3

[environment]
PYTHONPATH = "{small}"
SMALL_HANG = "{hang}"

[trainer]
variant = "b0"
class_num = 2
image_size = 32
batch_size = 2
epoch_size = 500
warmup_epochs = 0
interval = 0
save_checkpoint = false
image_cache_mb = 0
reduction = "collective"
"""

Found = dict[tuple[str, int], list[tuple[bool, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", help="standin, real; both by default")
    parser.add_argument("--runs", type=int, help="default: 100 of standin, 10 of real")
    parser.add_argument("--first", type=int, default=0, help="number of the first hang")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the run in progress is ended
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, seed {options.seed}")
    for name in options.what or HANGS:
        hang, count = HANGS[name]
        found: Found = {}
        for number in range(options.first, options.first + (options.runs or count)):
            chance = random.Random(f"{options.seed} {name} {number}")
            key, is_right, took_s, words = in_lab(hang, chance)
            found.setdefault(key, []).append((is_right and took_s <= LIMIT_S, took_s))
            verdict = "right" if is_right else "WRONG"
            print(f"{name} {number}: {key[0]} of {key[1]}: {took_s:.2f} s, {verdict}: {words}")
            sys.stdout.flush()
        for (kind, ranks), results in sorted(found.items()):
            times = sorted(took_s for _, took_s in results)
            right = sum(is_right for is_right, _ in results)
            print(
                f"| {name} | {kind} | {ranks} | {right} of {len(results)} |"
                f" {statistics.median(times):.2f} | {times[-1]:.2f} |"
            )


def in_lab(hang: Any, chance: random.Random) -> tuple[tuple[str, int], bool, float, str]:
    with tempfile.TemporaryDirectory(prefix="hang-", dir="/tmp") as name:
        folder, mark = Path(name), f"lab-{uuid.uuid4().hex}"
        os.environ["XDG_RUNTIME_DIR"] = os.environ["XDG_STATE_HOME"] = name
        os.environ["EFFNET_RUNS_DIR"] = str(folder / "runs")
        os.environ["LAB_MARK"] = mark
        lab = Lab(folder, mark)
        try:
            key, rank, place, root = hang(lab, chance)
            silent = lab.wait_for(root, "rank_silent", timeout_s=120)
            taken = lab.wait_for(root, "stacks_taken", timeout_s=30)
            client.stop(root, client.StopRequest(save=False))
            lab.wait_for(root, "attempt_stopped")
            lab.nothing_left(60)
        finally:
            lab.end_all()
        own = [words for words in taken["words"].split("; ") if words.startswith(f"rank {rank} ")]
        is_right = taken["outliers"] == [rank] and place in "".join(own)
        return key, is_right, taken["t"] - silent["t"], taken["words"]


def standin(lab: Lab, chance: random.Random) -> tuple[tuple[str, int], int, str, Path]:
    kind, ranks = chance.choice(sorted(STANDIN)), chance.choice((2, 8))
    rank = chance.randrange(ranks)
    fault = {"rank": rank, "step": chance.randrange(6, 30), "do": kind}
    root = lab.start(fault, ranks=ranks, silent_min_s=1, epochs=100)
    return (kind, ranks), rank, STANDIN[kind], root


def real(lab: Lab, chance: random.Random) -> tuple[tuple[str, int], int, str, Path]:
    kind, rank = chance.choice(sorted(REAL)), chance.randrange(2)
    images = make_images(lab.folder / "images")
    hang = "" if kind == "stop" else f"{kind} {rank} {chance.randrange(60, 200)}"
    profile = lab.folder / "hang.toml"
    profile.write_text(REAL_PROFILE.format(data=images, small=small.FOLDER, hang=hang))
    run = client.start(str(profile), client.StartRequest(preflight=False))
    root = lab.runs / run
    if kind == "stop":
        lab.wait_for(root, "epoch_finished", count=chance.randrange(3, 7), timeout_s=120)
        time.sleep(chance.uniform(0, 0.5))
        os.kill(lab.pid_of(root, rank), signal.SIGSTOP)
    return (kind, 2), rank, REAL[kind], root


HANGS = {"standin": (standin, 100), "real": (real, 10)}


if __name__ == "__main__":
    main()
