"""From `kill -9` of a rank to `failed`, and to the last process gone.

    python benchmarks/launcher_faults.py [RUNS] [RANKS]

Ranks are the stand-in trainer's (tests/standin): how fast the launcher notices and ends does not
depend on what is trained. MindSpore itself takes 31 to 54 s for the same (docs/launcher.md).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PROFILE = """\
name = "standin"
device_target = "CPU"
start_method = "cluster"
[[nodes]]
address = "127.0.0.1"
slots = {ranks}
[trainer]
epoch_size = 1000
[environment]
PYTHONPATH = {path}
"""


def events(root: Path) -> list[dict]:
    return [json.loads(line) for line in (root / "events.jsonl").read_text().splitlines()]


def wait_for(root: Path, kind: str) -> dict:
    while True:
        for event in events(root):
            if event["kind"] == kind:
                return event
        time.sleep(0.005)


def one(profile: str, ranks: int) -> tuple[float, float, float]:
    """(start to training, kill to failed, kill to the last process gone), seconds."""
    from launcher import client
    from launcher.reading.folders import runs_directory
    from launcher.shell.ownership import Claim, owned

    began = time.time()
    root = runs_directory() / client.start_run(profile)
    up_s = wait_for(root, "training_started")["t"] - began
    time.sleep(random.uniform(0.05, 0.3))
    pids = [event["pid"] for event in events(root) if event["kind"] == "rank_started"]
    killed = time.time()
    os.kill(random.choice(pids), signal.SIGKILL)
    failed_s = wait_for(root, "attempt_failed")["t"] - killed
    while owned(Claim(token=f"{root.name}/")):
        time.sleep(0.01)
    return up_s, failed_s, time.time() - killed


def main() -> None:
    count, ranks = (int(text) for text in (*sys.argv[1:], "20", "2")[:2])
    folder = tempfile.mkdtemp(prefix="faults-")
    os.environ["EFFNET_RUNS_DIR"] = folder
    profile = Path(folder) / "standin.toml"
    profile.write_text(PROFILE.format(ranks=ranks, path=json.dumps(str(ROOT / "tests/standin"))))
    try:
        figures = [one(str(profile), ranks) for _ in range(count)]
    finally:
        time.sleep(1)
        shutil.rmtree(folder, ignore_errors=True)
    names = ("start → training", "kill → failed", "kill → all gone")
    print(f"{count} runs of {ranks} ranks, seconds")
    for name, values in zip(names, zip(*figures, strict=True), strict=True):
        p95 = statistics.quantiles(values, n=20)[-1]
        print(
            f"{name:18} p50 {statistics.median(values):.3f}  p95 {p95:.3f}  max {max(values):.3f}"
        )


if __name__ == "__main__":
    main()
