"""Runs of the real trainer on the hosts: a small network and images, few steps."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests import kept_cache, small
from tests.cluster.lab import ClusterLab

TRAINER = """\
[trainer]
variant = "b0"
class_num = 2
image_size = 32
eval_resize = 32
eval_image_size = 32
batch_size = 2
epoch_size = {epochs}
warmup_epochs = 0
report_steps = 1
"""
"""The smallest network on images of 32 px; a step is reported by itself."""
PROFILE = """\
name = "real"
device_target = "CPU"
start_method = "{method}"
data_path = "{data}"

[node_defaults]
user = "root"
python = {python}
slots = {slots}
{nodes}

[limits]
silent_min_s = 3
stop_save_s = 60

"""
PROFILE += TRAINER
PROFILE += 'mode = "pynative"\n'
PROFILE += """
[environment]
# A rank's share of the cores, which changes the last bit, differs between one machine and several.
OMP_NUM_THREADS = "1"
PYTHONPATH = {python_path}
XDG_CACHE_HOME = {cache}
"""


def make_images(folder: Path, count: int = 12) -> Path:
    """Two classes of `count` images for training and as many for evaluation."""
    random = np.random.default_rng(1)
    for part in ("train", "val"):
        for name in ("a", "b"):
            place = folder / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def profile(
    lab: ClusterLab,
    images: Path,
    names: tuple[str, ...] = (),
    *,
    slots: int,
    method: str = "cluster",
    epochs: int = 1,
) -> Path:
    """`names` are hosts, which get the images too; without any it is this machine."""
    nodes = [] if names else ['address = "127.0.0.1"']
    for name in names:
        host = lab.hosts[name]
        shutil.copytree(images, host.root / "tmp/images", dirs_exist_ok=True)
        nodes.append(f'name = "{name}"\naddress = "{host.address}"\nruns_directory = "~/runs"')
    path = lab.folder / "real.toml"
    values: dict[str, Any] = {"method": method, "slots": slots}
    path.write_text(
        PROFILE.format(
            **values,
            epochs=epochs,
            data="/tmp/images" if names else images,
            python=json.dumps(sys.executable),
            python_path=json.dumps(str(small.FOLDER)),
            cache=json.dumps(str(kept_cache.FOLDER)),
            nodes="\n".join(f"[[nodes]]\n{node}" for node in nodes),
        )
    )
    return path


def states(root: Path, world_size: int, attempt: int = 1) -> list[str | None]:
    """What each rank says that it has learned, as a digest."""
    from launcher.core.run.report import parse
    from launcher.core.run.report_types import Done, Stopped

    found = []
    for rank in range(world_size):
        log = root / f"attempts/{attempt:03d}/ranks/{rank:04d}/log.txt"
        reports = [parse(line) for line in log.read_bytes().splitlines()]
        last = [report for report in reports if isinstance(report, (Done, Stopped))]
        assert len(last) == 1, f"rank {rank} ended {len(last)} times"
        found.append(last[0].state)
    return found
