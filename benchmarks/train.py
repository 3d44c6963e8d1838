"""What training costs on this machine: our loop against a bare MindSpore step, and 1, 2, 8 ranks.

    python benchmarks/train.py                       everything, about 15 minutes on 2 cores
    python benchmarks/train.py --ranks 1,2 --rounds 0 --collective
    python benchmarks/train.py --ranks '' --rounds 12     loop against bare only
    python benchmarks/train.py --against torch --torch-python VENV/bin/python

`--against torch` instead compares with PyTorch and timm, which must be installed: steps in turn at
32 to 260 px (against_torch.py).

`loop / bare`: one rank, 32 px, batch 32. `bare` is a compiled `value_and_grad` and `nn.RMSProp`
on one batch in memory; `loop` is the training loop with data, reports and heartbeat. Blocks of six
steps of each alternate in one process (loop_step.py), and medians are compared, because the machine
may be shared.

`ranks`: 32 images a step in all, started by `effnet-launch` as any run is, throughput from the
ranks' own reports. `--collective` also measures them without shared memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE

from rows import head, row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
IMAGES_A_STEP = 32
SETTLE = 5
"""Steps left out: compiling, and the first ones after it."""

STEP = re.compile(
    r"^epoch: \[.*?step:\[.*?time:\[([\d.]+)\](?:, wait:\[([\d.]+)\])?, images/s:\[([\d.]+)\]"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", default="1,2,8", help="numbers of ranks (default 1,2,8)")
    parser.add_argument("--rounds", type=int, default=20, help="of loop against bare; 0: none")
    parser.add_argument(
        "--collective", action="store_true", help="ranks also without shared memory"
    )
    parser.add_argument("--against", choices=("torch",), help="compare with this instead")
    parser.add_argument("--torch-python", default=sys.executable, help="Python that has PyTorch")
    args = parser.parse_args()
    if args.against:
        against_torch([int(n) for n in args.ranks.split(",")], args.torch_python)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run([sys.executable, "-m", "effnet", "data", "digits", str(work / "digits")], work)
        if args.rounds:
            show_loop(loop_against_bare(work, args.rounds))
        ranks = [int(n) for n in args.ranks.split(",") if n]
        if ranks:
            show_ranks(work, ranks, args.collective)


def against_torch(ranks: list[int], python: str) -> None:
    """Print one row for each size and number of ranks: 8 ranks at the two smallest sizes."""
    asked = subprocess.run([python, "-c", "import torch, timm"], check=False, capture_output=True)
    if asked.returncode:
        sys.exit(f"error: {python} has no torch and timm: pip install torch torchvision timm")
    columns = ("images", "images/s", "PyTorch", "ratio", "MiB, peak", "PyTorch", "ratio", "load")
    head("ranks", "px", *columns)
    for count in ranks:
        words = [str(HERE / "against_torch.py"), "--ranks", str(count), "--torch-python", python]
        words += ["--sizes", "32,64" if count > 2 else "32,64,128,224,260"]
        done = subprocess.run([sys.executable, *words], check=True, text=True, stdout=PIPE)
        for found in map(json.loads, done.stdout.splitlines()):
            ours, theirs = found["auto"], found["torch"]
            cells = [f"{count}", f"{found['px']}", f"{found['images']}"]
            for key in ("images_per_s", "peak_mib"):
                cells += [f"{ours[key]:,}", f"{theirs[key]:,}", f"{ours[key] / theirs[key]:.2f}"]
            row(*cells, f"{found['load']:.1f}")


def loop_against_bare(work: Path, rounds: int) -> dict[str, float]:
    """Medians in ms, of steps taken in turn in one process."""
    words = [str(HERE / "loop_step.py"), str(work / "digits"), "--rounds", str(rounds)]
    found: dict[str, float] = json.loads(
        run([sys.executable, *words], work, tuned()).splitlines()[-1]
    )
    return found


def of_ranks(work: Path, ranks: int, *more: str) -> dict[str, float]:
    """Our own: throughput of all ranks, step and wait time of the slowest to report."""
    name = f"bench-{ranks}-{len(more)}"
    profile = work / f"{name}.toml"
    profile.write_text(
        f'name = "{name}"\ndevice_target = "CPU"\nstart_method = "cluster"\n'
        f'[[nodes]]\naddress = "127.0.0.1"\nslots = {ranks}\n[limits]\nlaunch_s = 900\n'
    )
    environment = {**os.environ, "EFFNET_RUNS_DIR": str(work / "runs")}
    words = [str(Path(sys.executable).with_name("effnet-launch")), "start", str(profile)]
    words += ["--follow", "--name", name, "--data", str(work / "digits"), *recipe(ranks), *more]
    run(words, work, environment)
    attempt = work / "runs" / name / "attempts" / "001"
    steps = step_lines((attempt / "ranks" / "0000" / "log.txt").read_text())
    return {
        "ranks": ranks,
        "images_per_s": statistics.median(step[2] for step in steps),
        "step_ms": statistics.median(step[0] for step in steps),
        "wait_ms": statistics.median(step[1] for step in steps),
    }


def recipe(ranks: int) -> list[str]:
    """Plain training at 32 px for one epoch of 44 steps."""
    keys = ["class_num=10", "image_size=32", f"batch_size={IMAGES_A_STEP // ranks}"]
    keys += ["epoch_size=1", "interval=0", "auto_augment=none", "color_jitter=0", "hflip=0"]
    return [f"--set={key}" for key in keys]


def step_lines(log: str) -> list[tuple[float, float, float]]:
    """Step time in ms, wait in ms and images/s of each settled step."""
    found = [match for line in log.splitlines() if (match := STEP.match(line))]
    return [(float(m[1]), float(m[2] or 0), float(m[3])) for m in found[SETTLE:]]


def tuned() -> dict[str, str]:
    """What the launcher sets for one rank alone (launcher/core/plan/cpu.py)."""
    from launcher.core.plan.cpu import rank_environment
    from launcher.core.profile.model import DeviceTarget

    return {**os.environ, **rank_environment(DeviceTarget.CPU, os.cpu_count() or 1)}


def run(words: list[str], work: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words, cwd=work, env=environment, check=False, text=True, timeout=1800,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-3000:]}")
    return done.stdout


def show_loop(found: dict[str, float]) -> None:
    head("one rank, 32 px, batch 32", "loop", "bare step", "ratio")
    for name, key in (("a step", "ms"), ("its CPU time", "cpu_ms")):
        loop, bare = found[f"loop_{key}"], found[f"bare_{key}"]
        row(name, f"{loop:.0f} ms", f"{bare:.0f} ms", f"{loop / bare:.2f}")


def show_ranks(work: Path, ranks: list[int], collective: bool) -> None:
    head("ranks", "images/s", "step, ms", "of it wait, ms", *["MCCL, images/s"] * collective)
    for count in ranks:
        found = of_ranks(work, count)
        cells = [f"{found['images_per_s']:.1f}", f"{found['step_ms']:.0f}"]
        cells.append(f"{found['wait_ms']:.0f}" if count > 1 else "")
        if collective and count > 1:
            cells.append(
                f"{of_ranks(work, count, '--set=reduction=collective')['images_per_s']:.1f}"
            )
        row(str(count), *cells, *[""] * (collective and count == 1))


if __name__ == "__main__":
    main()
