"""Records what `effnet-tui --demo` plays: a real run of eight ranks, one of them killed, resumed.

    python scripts/record_demo.py                    record, then pack
    python scripts/record_demo.py --pack RUN         pack a run that is there already

Takes minutes: eight processes train EfficientNet-B0 on a few cores. What is packed is what the run
wrote, but for names: user, host and folders are replaced by neutral ones.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from launcher import client
from launcher.core.run.metrics import FIELDS, METRIC_BYTES, whole_bytes
from launcher.core.run.paths import RunPaths

PROJECT: Final = Path(__file__).resolve().parent.parent
RECORDING: Final = PROJECT / "tui" / "demo" / "run.tar.gz"
NAME: Final = "local-cpu-8p-demo"
TRAIN_IMAGES, EVAL_IMAGES = 32, 8  # of each of ten classes
BATCH, EPOCHS = 4, 8
KILLED_RANK, KILLED_AT_STEP = 5, 54
LIMIT_S: Final = 1500.0
SETTINGS: Final = {
    "variant": "b0",
    "mode": "pynative",
    "batch_size": BATCH,
    "epoch_size": EPOCHS,
    "ema_decay": 0,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pack", metavar="RUN", help="pack this run instead of recording one")
    parser.add_argument("--out", type=Path, default=RECORDING, help="default: tui/demo/run.tar.gz")
    given = parser.parse_args()
    if given.pack:
        write_recording(client.open_run(given.pack).paths.root, given.out)
        return 0
    with tempfile.TemporaryDirectory(prefix="effnet-demo-") as folder:
        os.environ["EFFNET_RUNS_DIR"] = f"{folder}/runs"
        root = record(Path(folder))
        write_recording(root, given.out)
    return 0


def record(folder: Path) -> Path:
    """A run with a failure and a resume in it; -> its run directory."""
    data = small_copy(folder)
    settings = tuple((key, str(value)) for key, value in SETTINGS.items())
    request = client.StartRequest(
        settings=settings, name=NAME, data_path=str(data), preflight=False
    )
    run = client.start("local-cpu-8p", request)
    reader = client.open_run(run)

    def step() -> int:
        snapshot = reader.poll()
        show(f"{snapshot.status.value}, epoch {snapshot.epoch}, step {snapshot.step}")
        if snapshot.status.is_over:
            raise SystemExit(f"the run is {snapshot.status.value}: {snapshot.failure}")
        return (snapshot.epoch or 0) * (snapshot.steps_per_epoch or 0) + (snapshot.step or 0)

    try:
        until(lambda: step() >= KILLED_AT_STEP)
        victim = next(rank for rank in reader.poll().ranks if rank.rank == KILLED_RANK)
        if victim.pid is None:
            raise SystemExit(f"rank {KILLED_RANK} has no process")
        os.kill(victim.pid, signal.SIGKILL)
        until(lambda: reader.poll().status is client.RunStatus.FAILED)
        time.sleep(4)  # so long a person reads the card, at least
        client.resume(run, client.ResumeRequest(preflight=False))
        until(lambda: reader.poll().status is not client.RunStatus.FAILED)
        until(lambda: reader.poll().status.is_over)
    finally:
        if not reader.poll().status.is_over:
            client.stop(run, client.StopRequest(save=False), by="record_demo")
            until(lambda: reader.poll().status.is_over)
    return reader.paths.root


def small_copy(folder: Path) -> Path:
    """The digits, but few: so that an epoch of eight ranks has few steps."""
    whole, few = folder / "digits", folder / "few"
    subprocess.run([sys.executable, "-m", "effnet", "data", "digits", str(whole)], check=True)
    for part, count in (("train", TRAIN_IMAGES), ("val", EVAL_IMAGES)):
        for images in sorted((whole / part).iterdir()):
            (few / part / images.name).mkdir(parents=True)
            for image in sorted(images.iterdir())[:count]:
                shutil.copy(image, few / part / images.name)
    return few


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {LIMIT_S:.0f} s")
        time.sleep(0.5)


def show(text: str) -> None:
    print(f"\r{text:<60}", end="", flush=True)


class Mask:
    """Replaces names of the machine and its user; never a number."""

    def __init__(self, root: Path) -> None:
        words = [
            (str(root), f"/runs/{NAME}"),
            (str(root.parent), "/runs"),
            (str(PROJECT / ".venv" / "bin"), "/usr/bin"),
            (sys.prefix, "/usr"),
            (sys.base_prefix, "/usr"),
            (str(PROJECT), "/effnet-tui"),
            (root.name, NAME),
            (str(Path.home()), "/home/user"),
            (socket.gethostname(), "host"),
        ]
        self._words = [(old.encode(), new.encode()) for old, new in words if len(old) > 3]
        user = re.escape(getpass.getuser().encode())
        self._user = re.compile(rb"\b" + user + rb"\b")
        self._temporary = re.compile(rb"/tmp/[^/\s\"']+(?=/)")

    def __call__(self, text: bytes) -> bytes:
        for old, new in self._words:
            text = text.replace(old, new)
        return self._user.sub(b"user", self._temporary.sub(b"/data", text))


def write_recording(root: Path, out: Path) -> None:
    """Packs what a replay reads; offsets into the logs follow the changed names."""
    paths, mask = RunPaths(root), Mask(root)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(out, "w:gz", compresslevel=9) as tar:
        there = Path(folder) / NAME
        there.mkdir()
        moved: dict[tuple[int, int], Callable[[int], int]] = {}
        for attempt in sorted(paths.attempts.glob("[0-9]*")):
            for rank_root in sorted((attempt / "ranks").glob("[0-9]*")):
                numbers = int(attempt.name), int(rank_root.name)
                to = there / rank_root.relative_to(root)
                moved[numbers] = write_rank(rank_root, to, mask)
        for name in ("run.json", "profile.json", "config.toml"):
            (there / name).write_bytes(mask((root / name).read_bytes()))
        (there / "events.jsonl").write_bytes(masked_events(paths.events, mask, moved))
        for path in sorted(there.rglob("*")):
            if path.is_file():
                tar.add(path, arcname=str(path.relative_to(folder)), filter=_nobody)
    show("")
    print(f"{out}: {out.stat().st_size} bytes")


def write_rank(here: Path, there: Path, mask: Mask) -> Callable[[int], int]:
    """One rank's files; -> where an offset into its log has gone."""
    there.mkdir(parents=True)
    old_at = new_at = 0
    moved = {0: 0}
    with (here / "log.txt").open("rb") as read, (there / "log.txt").open("wb") as write:
        for line in read:
            masked = mask(line)
            write.write(masked)
            old_at, new_at = old_at + len(line), new_at + len(masked)
            moved[old_at] = new_at
    data = bytearray((here / "metrics.bin").read_bytes())
    at = FIELDS["log_offset"].offset
    for place in range(at, whole_bytes(len(data)), METRIC_BYTES):
        (offset,) = struct.unpack_from("<q", data, place)
        if offset >= 0:
            struct.pack_into("<q", data, place, moved[offset])
    (there / "metrics.bin").write_bytes(data)
    for name in ("device.bin", "load.bin"):
        shutil.copy(here / name, there / name)
    os.utime(there / "log.txt", (here / "log.txt").stat()[7:9])
    return lambda offset: moved.get(offset, 0)


def masked_events(
    path: Path, mask: Mask, moved: dict[tuple[int, int], Callable[[int], int]]
) -> bytes:
    """The events; the place of a failure in its log follows."""
    lines = []
    for line in path.read_bytes().splitlines():
        event = json.loads(mask(line))
        failure = event.get("failure")
        if failure and failure.get("rank") is not None and failure.get("log_offset") is not None:
            to = moved[event["attempt"], failure["rank"]]
            failure["log_offset"] = to(failure["log_offset"])
        lines.append(json.dumps(event, ensure_ascii=False).encode())
    return b"\n".join(lines) + b"\n"


def _nobody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    sys.exit(main())
