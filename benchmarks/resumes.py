"""From a request to the first step that is reported: cold starts, and resumes after a failure.

    python benchmarks/resumes.py [--rounds N] [--ranks 2,8] [--variants b0,b2] [--limit-s S]

In each round, with and without `keep_warm_s`: a start with an empty cache of compiled steps, a rank
that is killed when a checkpoint is there, and a resume. The C++ kernels are in the cache before.
The ratio is that of the two medians with `keep_warm_s`; its goal is 0.6.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import tempfile
import time
from pathlib import Path

from launches import events, until, wait_for, wait_until_alone, write_profile
from rows import head, row

TRAINER = """\
variant = "{variant}"
class_num = 2
image_size = 32
eval_resize = 32
eval_image_size = 32
batch_size = 16
epoch_size = 1000
warmup_epochs = 0
report_steps = 1
save_checkpoint_steps = 5
[launch]
keep_warm_s = {keep_warm_s}
"""
KEEP_WARM_S = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ranks", default="2")
    parser.add_argument("--variants", default="b0,b2")
    parser.add_argument("--limit-s", type=float, default=600, help="no new round after this, each")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="resumes-", dir="/tmp"))
    kernels = Path.home() / ".cache/effnet-tui/kernels"
    if kernels.is_dir():
        shutil.copytree(kernels, folder / "cache/effnet-tui/kernels")
    os.environ["EFFNET_RUNS_DIR"] = str(folder / "runs")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    try:
        make_images(folder / "images")
        measure(folder, options)
    finally:
        time.sleep(1)
        shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, options: argparse.Namespace) -> None:
    head("", "cold", "`resume`", "cold, warm parent", "`resume`, warm parent", "ratio", "rounds")
    for variant in options.variants.split(","):
        for ranks in map(int, options.ranks.split(",")):
            names = [
                write_profile(
                    folder,
                    f"{variant}-{ranks}-{keep_warm_s}",
                    ranks,
                    trainer=TRAINER.format(variant=variant, keep_warm_s=keep_warm_s),
                    data=folder / "images",
                )
                for keep_warm_s in (0, KEEP_WARM_S)
            ]
            once(folder, names[0])  # compiles the C++ kernels where there are none
            found = [
                [figure for name in names for figure in once(folder, name)]
                for _ in until(options.limit_s, options.rounds)
            ]
            middle = [statistics.median(values) for values in zip(*found, strict=True)]
            times = (f"{value:.1f} s" for value in middle)
            name = f"{variant.upper()}, {ranks} ranks"
            row(name, *times, f"{middle[3] / middle[2]:.2f}", str(len(found)))


def once(folder: Path, profile: str) -> tuple[float, float]:
    """Seconds to the first step: of a cold start, and of the resume after it has failed."""
    from launcher import client
    from launcher.reading.folders import runs_directory

    shutil.rmtree(folder / "cache/effnet-tui/graphs", ignore_errors=True)
    began = time.time()
    root = runs_directory() / client.start(profile, client.StartRequest(preflight=False))
    cold_s = first_step(root, 1) - began
    wait_for(root, "checkpoint_saved")
    pids = [event["pid"] for event in events(root) if event["kind"] == "rank_started"]
    os.kill(pids[-1], signal.SIGKILL)
    wait_for(root, "attempt_failed")
    wait_until_alone(root)
    began = time.time()
    client.resume(root, client.ResumeRequest(preflight=False))
    warm_s = first_step(root, 2) - began
    client.stop(root, client.StopRequest(save=False))
    wait_for(root, "attempt_stopped")
    wait_until_alone(root)
    return cold_s, warm_s


def first_step(root: Path, attempt: int) -> float:
    """When rank 0's first report came."""
    from launcher.core.run.metrics import unpack

    path = root / f"attempts/{attempt:03d}/ranks/0000/metrics.bin"
    while True:
        with contextlib.suppress(FileNotFoundError):
            records = unpack(path.read_bytes())
            if records:
                return records[0].time_s
        time.sleep(0.02)


def make_images(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    for part in ("train", "val"):
        for name in ("a", "b"):
            (folder / part / name).mkdir(parents=True)
            for number in range(64):
                pixels = np.full((32, 32, 3), 4 * number, np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")


if __name__ == "__main__":
    main()
