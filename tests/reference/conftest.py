"""Calls of the reference's scripts, from a folder with a space, through a path with one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
STANDIN = ROOT / "tests" / "standin"
DEVICES = [
    {"device_id": str(n), "device_ip": f"192.168.10{n}.101", "rank_id": str(n)} for n in (0, 1)
]
TABLE = {
    "version": "1.0",
    "server_count": "1",
    "server_list": [{"server_id": "10.0.0.1", "device": DEVICES, "host_nic_ip": "reserve"}],
    "status": "completed",
}


class Desk:
    """A folder to call scripts from; `project` is a link to this project whose path has spaces."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder / "a desk"
        self.folder.mkdir()
        self.project = folder / "my projects" / "effnet tui"
        self.project.parent.mkdir()
        self.project.symlink_to(ROOT)
        self.runs = folder / "runs"
        self.environment = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            "DEVICE_TARGET": "CPU",
            "EFFNET_RUNS_DIR": str(self.runs),
            "XDG_RUNTIME_DIR": str(runtime),
            "NO_COLOR": "1",
        }

    def call(
        self, script: str, *words: object, timeout_s: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """`bash scripts/SCRIPT.sh WORDS`."""
        return subprocess.run(
            ["bash", str(self.project / "scripts" / f"{script}.sh"), *map(str, words)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def launch(self, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """`effnet-launch WORDS`."""
        return subprocess.run(
            [str(ROOT / ".venv/bin/python"), "-m", "launcher.cli.app", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def log(self) -> str:
        return (self.folder / "log.txt").read_text()

    def losses(self) -> list[tuple[int, int, str]]:
        """Epoch, step and losses as `log.txt` has them."""
        found = []
        for line in self.log().splitlines():
            if line.startswith("epoch: ["):
                epoch, step, loss = line.split(", ")[:3]
                found.append((int(epoch[8:11]), int(step[6:11]), loss))
        return found

    def wait_for(self, text: str, timeout_s: float = 300, file: Path | None = None) -> None:
        """Until `log.txt`, or another file, has it."""
        file = file or self.folder / "log.txt"
        deadline = time.monotonic() + timeout_s
        while not file.exists() or text not in file.read_text():
            assert time.monotonic() < deadline, f"no {text!r} in {file}"
            time.sleep(0.02)


def make_desk(folder: Path) -> Iterator[Desk]:
    # pytest's own temporary folders are too deep for a socket.
    runtime = Path(tempfile.mkdtemp(prefix="desk-", dir="/tmp"))
    desk = Desk(folder, runtime)
    (desk.folder / "hccl_2p_01_10.0.0.1.json").write_text(json.dumps(TABLE))
    try:
        yield desk
    finally:
        for run in sorted(desk.runs.glob("*/supervisor.json")):
            desk.launch("stop", run.parent.name, "--no-save")
        shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose ranks are the stand-in's."""
    for made in make_desk(tmp_path):
        made.environment |= {"PYTHONPATH": str(STANDIN), "STANDIN_STEP_S": "0.02"}
        for split in ("train", "val"):
            folder = made.folder / "data" / split / "0"
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / "0.png")
        yield made


def names(folder: Path) -> Sequence[str]:
    return sorted(path.name for path in folder.iterdir())
