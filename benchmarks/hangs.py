"""Whether the rank that makes a run hang is named, with its place, and how soon.

    python benchmarks/hangs.py [standin] [ssh] [real] [--runs N] [--first N] [--seed N]

standin: 50 hangs of the stand-in trainer: a sleep in a loader, a lock, SIGSTOP; 2 or 8 ranks.
ssh: 50 more, whose ranks are on two hosts made of network namespaces. Needs root.
real: 10 hangs of a small network on 2 ranks, whose peers wait in MindSpore's all-reduce: a sleep or
a lock while an image is decoded, SIGSTOP. Goal: the right rank and place in all, within 4 s after
the rank is called silent. Where py-spy is installed beside Python, the place of a stopped rank is
its line. One line for each hang; a table at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rows import head, row  # noqa: E402

from launcher import client  # noqa: E402
from tests import small  # noqa: E402
from tests.cluster.hosts import Cluster, cluster  # noqa: E402
from tests.cluster.lab import ClusterLab  # noqa: E402
from tests.cluster.real import make_images  # noqa: E402
from tests.launcher.conftest import Lab  # noqa: E402

LIMIT_S = 4.0
SILENT_S = 5
"""On busy cores a step may well take a second."""
HAS_PY_SPY = Path(sys.executable).with_name("py-spy").exists() or shutil.which("py-spy")
STOPPED = "is stopped in faults.py:" if HAS_PY_SPY else "is stopped"
STANDIN = {"loader": "faults.py:", "lock": "faults.py:", "stop": STOPPED}
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

Key = tuple[str, int]
"""The hang, and how many ranks the run has."""
Planted = tuple[Key, int, str, Path]
"""Also the rank that hangs, what must be in the words about it, and the run directory."""
Chance = random.Random


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", help=f"{', '.join(HANGS)}; all by default")
    parser.add_argument("--runs", type=int, help="default: 50 of standin and ssh, 10 of real")
    parser.add_argument("--first", type=int, default=0, help="number of the first hang")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the run in progress is ended
    spy = "py-spy" if HAS_PY_SPY else "no py-spy"
    print(f"Seed {options.seed}, {spy}:\n")
    head("", "hang", "ranks", "right", "p50", "most")
    for name in options.what or HANGS:
        place, count = HANGS[name]
        found: dict[Key, list[tuple[bool, float]]] = {}
        with place() as play:
            for number in range(options.first, options.first + (options.runs or count)):
                key, is_right, took_s, words = play(Chance(f"{options.seed} {name} {number}"))
                found.setdefault(key, []).append((is_right and took_s <= LIMIT_S, took_s))
                verdict = "right" if is_right else "WRONG"
                about = f"{name} {number}: {key[0]} of {key[1]}: {took_s:.2f} s, {verdict}: {words}"
                print(about, file=sys.stderr, flush=True)
        for (kind, ranks), results in sorted(found.items()):
            times = sorted(took_s for _, took_s in results)
            right = sum(is_right for is_right, _ in results)
            middle, most = f"{statistics.median(times):.2f} s", f"{times[-1]:.2f} s"
            row(name, kind, str(ranks), f"{right} of {len(results)}", middle, most)


Play = Callable[[Chance], tuple[Key, bool, float, str]]


@contextlib.contextmanager
def here(plant: Callable[[Lab, Chance], Planted]) -> Iterator[Play]:
    """Plays hangs whose ranks are on this machine."""

    def play(chance: Chance) -> tuple[Key, bool, float, str]:
        with folder_of_runs() as folder:
            mark = os.environ["LAB_MARK"] = f"lab-{uuid.uuid4().hex}"
            lab = Lab(folder, mark)
            return judged(lab, lambda: plant(lab, chance))

    yield play


@contextlib.contextmanager
def on_hosts() -> Iterator[Play]:
    """Plays hangs whose ranks are on two hosts, over SSH."""
    with cluster("alpha", "beta") as hosts:

        def play(chance: Chance) -> tuple[Key, bool, float, str]:
            with folder_of_runs(hosts) as folder:
                lab = ClusterLab(hosts, folder)
                return judged(lab, lambda: ssh(lab, chance))

        yield play


@contextlib.contextmanager
def folder_of_runs(hosts: Cluster | None = None) -> Iterator[Path]:
    with (
        tempfile.TemporaryDirectory(prefix="hang-", dir="/tmp") as name,
        mock.patch.dict(os.environ),
    ):
        os.environ["XDG_RUNTIME_DIR"] = os.environ["XDG_STATE_HOME"] = name
        os.environ["EFFNET_RUNS_DIR"] = str(Path(name) / "runs")
        if hosts is not None:
            hosts.repair()
            os.environ["HOME"] = str(hosts.home)
            os.environ.pop("SSH_AUTH_SOCK", None)
        yield Path(name)


def judged(lab: Lab | ClusterLab, plant: Callable[[], Planted]) -> tuple[Key, bool, float, str]:
    try:
        key, rank, place, root = plant()
        silent = lab.wait_for(root, "rank_silent", timeout_s=400)
        taken = lab.wait_for(root, "stacks_taken", timeout_s=30)
        client.stop(root, client.StopRequest(save=False))
        lab.wait_for(root, "attempt_stopped", timeout_s=120)
        lab.nothing_left(60)
    finally:
        lab.end_all()
    own = [words for words in taken["words"].split("; ") if words.startswith(f"rank {rank} ")]
    is_right = taken["outliers"] == [rank] and place in "".join(own)
    return key, is_right, taken["t"] - silent["t"], taken["words"]


def standin(lab: Lab, chance: Chance) -> Planted:
    key, rank, fault = drawn(chance)
    root = lab.start(fault, ranks=key[1], silent_min_s=SILENT_S, epochs=100)
    return key, rank, STANDIN[key[0]], root


def ssh(lab: ClusterLab, chance: Chance) -> Planted:
    key, rank, fault = drawn(chance)
    root = lab.start(fault, slots=key[1] // 2, silent_min_s=SILENT_S, epochs=100)
    return key, rank, STANDIN[key[0]], root


def drawn(chance: Chance) -> tuple[Key, int, dict[str, object]]:
    kind, ranks = chance.choice(sorted(STANDIN)), chance.choice((2, 8))
    rank = chance.randrange(ranks)
    return (kind, ranks), rank, {"rank": rank, "step": chance.randrange(6, 30), "do": kind}


def real(lab: Lab, chance: Chance) -> Planted:
    kind, rank = chance.choice(sorted(REAL)), chance.randrange(2)
    images = make_images(lab.folder / "images")
    hang = "" if kind == "stop" else f"{kind} {rank} {chance.randrange(60, 200)}"
    profile = lab.folder / "hang.toml"
    profile.write_text(REAL_PROFILE.format(data=images, small=small.FOLDER, hang=hang))
    run = client.start(str(profile), client.StartRequest(preflight=False))
    root = lab.runs / run
    if kind == "stop":
        lab.wait_for(root, "epoch_finished", count=chance.randrange(3, 7), timeout_s=400)
        time.sleep(chance.uniform(0, 0.5))
        os.kill(lab.pid_of(root, rank), signal.SIGSTOP)
    return (kind, 2), rank, REAL[kind], root


HANGS = {
    "standin": (functools.partial(here, standin), 50),
    "ssh": (on_hosts, 50),
    "real": (functools.partial(here, real), 10),
}


if __name__ == "__main__":
    main()
