"""What the launcher shows of a real NVIDIA GPU, beside what nvidia-smi says at the same time.

    python benchmarks/device_figures.py                 20 s of load by PyTorch
    python benchmarks/device_figures.py --seconds 60

A run of one rank is started with `device_target = "GPU"`. The rank is the tests' stand-in for the
trainer, and PyTorch computes in it, so that memory and use are those of a real process. Printed:
the GPU's rows of preflight and doctor, the samples of the run directory with nvidia-smi's figures,
and the last frame of the dashboard. It ends with an error where memory differs by over 1 %.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from launcher.core.run.metrics import DeviceRecord, unpack_devices, unpack_loads  # noqa: E402

QUERY = "memory.used,memory.total,utilization.gpu,power.draw,temperature.gpu,clocks.sm"
LOAD = """\
import os, sys, threading
if sys.orig_argv[1:4] == ["-m", "effnet", "train"]:
    def load():
        import torch
        kept = torch.ones(3 << 30, dtype=torch.uint8, device="cuda")
        one = torch.ones(8192, 8192, device="cuda", dtype=torch.float16)
        while True:
            one @ one
            torch.cuda.synchronize()
    threading.Thread(target=load, daemon=True).start()
"""
PROFILE = """\
name = "device-figures"
device_target = "GPU"
start_method = "cluster"
data_path = "{folder}/data"

[[nodes]]
address = "127.0.0.1"
slots = 1

[environment]
PYTHONPATH = "{folder}/load:{root}/tests/standin:{path}"
STANDIN_STEPS = "100000"
STANDIN_STEP_S = "0.1"
"""


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launcher.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def nvidia_smi() -> list[float]:
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits", "-i", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(value) for value in done.stdout.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="effnet-device-") as name:
        folder = Path(name)
        for part in ("data/train/a", "data/val/a", "load", "runs", "state", "r"):
            (folder / part).mkdir(parents=True, mode=0o700)
        (folder / "load/sitecustomize.py").write_text(LOAD)
        (folder / "data/train/a/0.jpg").write_bytes(b"")
        profile = folder / "device-figures.toml"
        path = os.environ.get("PYTHONPATH", "")
        profile.write_text(PROFILE.format(folder=folder, root=ROOT, path=path))
        os.environ["EFFNET_RUNS_DIR"] = str(folder / "runs")
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        os.environ["XDG_RUNTIME_DIR"] = str(folder / "r")
        for command in ("preflight", "doctor"):
            done = launch(command, str(profile))
            print(f"$ effnet-launch {command}\n{done.stdout}{done.stderr}")
        return watch(profile, folder / "runs", arguments.seconds)


def watch(profile: Path, runs: Path, seconds: float) -> int:
    started = launch("start", str(profile), "--no-preflight")
    print(started.stdout + started.stderr)
    if started.returncode:
        return 1
    (root,) = runs.iterdir()
    file = root / "attempts/001/ranks/0000/device.bin"
    seen, worst = 0, 0.0
    try:
        print(f"nvidia-smi: {QUERY}")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            records = unpack_devices(file.read_bytes()) if file.exists() else []
            if len(records) > seen:
                theirs = nvidia_smi()
                seen = len(records)
                worst = worst if seen < 5 else max(worst, difference(records[-1], theirs))
                loads = unpack_loads(file.with_name("load.bin").read_bytes())
                load = asdict(loads[-1]) if loads else {}
                print({**load, **asdict(records[-1]), "nvidia-smi": theirs}, flush=True)
            time.sleep(0.1)
        frame = [sys.executable, "-m", "tui", root.name, "--once"]
        print(subprocess.run(frame, cwd=ROOT, capture_output=True, text=True, check=False).stdout)
        print(launch("status", root.name).stdout)
    finally:
        print(launch("stop", root.name, "--no-save").stdout)
    print(f"{seen} samples; memory differs by at most {worst:.2%}")
    return 0 if seen >= 5 and worst <= 0.01 else 1


def difference(record: DeviceRecord, theirs: list[float]) -> float:
    """Of the memory in use, as a share of nvidia-smi's; 1 where nothing is in use: no load."""
    used_mib = theirs[0]
    return abs(record.used_bytes / 2**20 - used_mib) / used_mib if used_mib else 1.0


if __name__ == "__main__":
    raise SystemExit(main())
