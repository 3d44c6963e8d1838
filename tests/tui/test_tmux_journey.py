"""A person's way through the dashboard, in a real tmux, with nothing but keys."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tmux import ROOT, Server, Session, server

from tests import kept_cache, story

STANDIN = ROOT / "tests" / "standin"
STEPS = 20
PROFILE = f"""\
name = "journey"
description = "two ranks that only look like training"
device_target = "CPU"
start_method = "cluster"
data_path = "{STANDIN}"

[[nodes]]
address = "127.0.0.1"
slots = 2

[trainer]
epoch_size = 1000

[limits]
stop_save_s = 20
term_s = 2
kill_s = 5

[environment]
PYTHONPATH = "{STANDIN}"
STANDIN_STEPS = "{STEPS}"
STANDIN_STEP_S = "0.1"
"""

pytestmark = [
    pytest.mark.slow,
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, since sockets are in it."""
    made = Path(tempfile.mkdtemp(prefix="journey-", dir="/tmp"))
    (made / "profiles").mkdir()
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def place(folder: Path) -> Iterator[Server]:
    """tmux, with every folder that the product writes to in ``folder``."""
    here = {
        name: str(folder / name.lower())
        for name in ("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    }
    (folder / "xdg_runtime_dir").mkdir(mode=0o700)
    (folder / "xdg_cache_home").mkdir()
    kept_cache.link(folder / "xdg_cache_home")
    runs, profiles = str(folder / "runs"), str(folder / "profiles")
    with server(folder, EFFNET_RUNS_DIR=runs, EFFNET_PROFILES_DIR=profiles, **here) as made:
        yield made


def only_run(folder: Path) -> Path:
    (root,) = (folder / "runs").iterdir()
    return root


def events(root: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in story.events(root) if event["kind"] == kind]


def see_it_move(shown: Session, wanted: tuple[str, ...], limit_s: float = 120) -> None:
    """Each rank's figures, under these headings, take at least two values each."""
    seen: dict[tuple[int, str], set[str]] = {
        (rank, name): set() for rank in (0, 1) for name in wanted
    }
    end = time.monotonic() + limit_s
    while any(len(values) < 2 for values in seen.values()):
        text = shown.text()
        assert time.monotonic() < end, f"{seen}\n{text}"
        head, *rows = text[max(text.find("rank state"), 0) :].splitlines()
        margin = text.splitlines()[2].find(head)
        for rank, name in seen:
            row = rows[rank][margin:] if len(rows) > 1 else ""
            seen[rank, name] |= under(head, row, name)
        time.sleep(0.15)


def under(head: str, row: str, name: str) -> set[str]:
    """The figure of ``row`` whose last cell is under the heading's; none when it is not known."""
    column = re.search(rf"\b{name}\b", head)
    cut = row[: column.end()] if column is not None else ""
    return set(re.findall(r"\d[\d.]*(?: (?:ms|s|[KMG]iB))?(?=(?: +\d+%)?$)", cut))


def start_with_keys(shown: Session, profile: str) -> None:
    """From home: the profile by its name, the plan, start."""
    shown.type("effnet-tui")
    shown.sees("No runs yet", profile)
    for _ in range(20):
        shown.press("Enter")
        text = shown.sees("new run from", "Start")
        if f"new run from {profile}\n" in re.sub(r" +\n", "\n", text):
            break
        shown.press("Escape")
        shown.wait(lambda now: "new run from" not in now)
        shown.press("j")
    else:
        raise AssertionError(f"no {profile}")
    shown.sees("effnet-launch start")
    shown.press("C-s")


def resume_step(folder: Path) -> int:
    """The step of the newest whole checkpoint, by its manifest."""
    manifests = (only_run(folder) / "checkpoint").glob("*.manifest.json")
    return max(int(json.loads(path.read_text())["step"]) for path in manifests)


@pytest.mark.parametrize(("columns", "rows"), [(160, 48), (80, 24)])
def test_start_kill_resume_leave_attach_eval_export_end(
    folder: Path, place: Server, columns: int, rows: int
) -> None:
    (folder / "profiles" / "journey.toml").write_text(PROFILE)
    first = Session(place, "first", columns, rows)
    start_with_keys(first, "journey")
    first.sees("RUNNING", "attempt 1")
    see_it_move(first, ("loss", "time"))
    first.sees("MiB")
    root = only_run(folder)

    # A rank dies: the card names it, says how, and what a resume would take.
    first.wait(lambda _: any((root / "checkpoint").glob("*.manifest.json")))
    pid = next(int(e["pid"]) for e in events(root, "rank_started") if e["rank"] == 1)
    os.kill(pid, signal.SIGKILL)
    first.sees("FAILED", "rank 1 on", "failed first", "killed (SIGKILL)", "rank 0 stopped because")
    step = resume_step(folder)
    first.sees(f"step {step} (", "verified", f"effnet-launch resume {root.name}", "r Resume")
    first.sees("log rank 1 ")

    # r and enter: it continues from that step.
    first.press("r")
    first.sees(f"Resume {root.name}", "Resume (ctrl+s)")
    first.press("Enter")
    first.sees("RUNNING", "attempt 2")
    (_, resumed) = events(root, "attempt_started")
    assert resumed["resume"]["step"] == step
    epoch, within = divmod(step, STEPS)
    log = root / "attempts/002/ranks/0000/log.txt"
    first.wait(lambda _: log.is_file() and b"epoch: [" in log.read_bytes())
    reports = [line for line in log.read_text().splitlines() if line.startswith("epoch: [")]
    assert reports[0].startswith(f"epoch: [{epoch:3d}/1000], step:[{within:5d}/"), reports[0]
    first.sees("log rank 1 127.0.0.1 attempt 2")

    # Leaving ends nothing and says how to come back.
    first.press("q")
    first.sees("shell>", f"{root.name} continues", f"come back:        effnet-tui {root.name}")

    # From another terminal: evaluate and export what was trained so far.
    second = Session(place, "second", columns, rows)
    second.type("effnet-tui latest")
    second.sees("RUNNING", "attempt 2")
    second.press("e")
    second.sees("Evaluate", f"$ effnet-launch eval {root.name}", "ctrl+s")
    second.press("C-s")
    second.sees("eval 001: done", "top_1_acc")
    assert json.loads((root / "jobs/001-eval/result.json").read_text())["top_1_acc"] == 0.9
    second.press("x")
    second.sees("Export", f"$ effnet-launch export {root.name}", "ctrl+s")
    second.press("C-s")
    second.sees("export 002: done")
    assert [path.name for path in (root / "export").iterdir()] == ["efficientnet_b2.onnx"]

    # The end has a key of its own, and asks.
    second.press("s")
    second.sees(f"Stop run {root.name}?", "2 ranks on 1 node", f"$ effnet-launch stop {root.name}")
    second.press("y")
    second.sees("STOPPED")
    assert events(root, "attempt_stopped")[0]["leftover"] == []
    second.press("q")
    second.sees("shell>", f"{root.name} is stopped")


@pytest.mark.mindspore
def test_a_shipped_profile_is_started_killed_and_resumed_with_real_training(
    folder: Path, place: Server
) -> None:
    """EfficientNet-B0 on few images; MindSpore's own processes, the last rank of them killed."""
    shipped, last = "local-cpu", 1
    data = folder / "digits"
    argv = [sys.executable, "-m", "effnet", "data", "digits", str(data)]
    subprocess.run(argv, check=True, capture_output=True, timeout=300, cwd=ROOT)
    for images in [*(data / "train").iterdir(), *(data / "val").iterdir()]:
        for image in sorted(images.iterdir())[8:]:
            image.unlink()
    profile = (ROOT / "cluster_profiles" / f"{shipped}.toml").read_text()
    changes = {
        "variant": '"b0"', "batch_size": "8", "epoch_size": "400", "data_path": f'"{data}"'
    }  # fmt: skip
    for key, value in changes.items():
        profile = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", profile)
    profile = profile.replace("[trainer]\n", '[trainer]\nmode = "pynative"\ninterval = 0\n')
    profile = profile.replace(f'name = "{shipped}"', 'name = "journey"')
    (folder / "profiles" / "journey.toml").write_text(profile)
    shown = Session(place, "first", 160, 48)
    start_with_keys(shown, "journey")
    shown.sees("RUNNING", "attempt 1", limit_s=240)
    see_it_move(shown, ("loss", "time"), 120)
    root = only_run(folder)
    shown.wait(lambda _: any((root / "checkpoint").glob("*.manifest.json")), 120)
    pid = next(int(e["pid"]) for e in events(root, "rank_started") if e["rank"] == last)
    os.kill(pid, signal.SIGKILL)
    shown.sees(
        "FAILED", f"rank {last} on", "failed first", "killed (SIGKILL)", "r Resume", "verified"
    )
    step = resume_step(folder)
    shown.press("r")
    shown.sees("Resume (ctrl+s)")
    shown.press("Enter")
    shown.sees("RUNNING", "attempt 2", limit_s=240)
    assert events(root, "attempt_started")[1]["resume"]["step"] == step
    reported = root / f"attempts/002/ranks/{last:04d}/metrics.bin"
    shown.wait(lambda _: reported.is_file() and reported.stat().st_size >= 64, 120)
    assert int.from_bytes(reported.read_bytes()[8:16], "little") == step
    shown.press("s")
    shown.sees("Stop run")
    shown.press("y")
    shown.sees("STOPPED", limit_s=120)
    shown.press("q")
    shown.sees("shell>")
