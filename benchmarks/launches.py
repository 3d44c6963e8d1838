"""The launcher's own times, side by side in one run.

    python benchmarks/launches.py [launch] [kill] [lines] [--runs N] [--ranks 2,8]

launch: a script that only initialises, start to exit, by msrun and `effnet-launch start --follow`
in turn, and with --torch-python by that Python's torchrun (gloo); goal: 0.6 of msrun's median, 1.0
of torchrun's, and no run above twice our own median.
kill: from `kill -9` of a rank to `failed`, and to the last process gone.
lines: log lines a second from a rank to a client, on this machine and, as root, over SSH.

`kill` and `lines` run the stand-in and a chatty trainer: what is trained does not matter there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rows import head, p95, row

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
HERE = ROOT / "benchmarks"
ONLY_INIT = HERE / "only_init/effnet/__main__.py"
PROFILE = """\
name = "{name}"
device_target = "CPU"
start_method = "cluster"
data_path = "{data}"
[[nodes]]
{node}
slots = {ranks}
[trainer]
{trainer}
[environment]
{environment}
"""
LOCAL = 'address = "127.0.0.1"'


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", help="launch, kill, lines; all by default")
    parser.add_argument("--runs", type=int, help="of each; default 5 (kill: 50)")
    parser.add_argument("--msrun-runs", type=int, help="default: as many as --runs")
    parser.add_argument("--torch-python", type=Path, help="of an environment with PyTorch")
    parser.add_argument("--ranks", default="2,8", help="for launch and kill")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--limit-s", type=float, default=250, help="no new run after this, each")
    options = parser.parse_args()
    wanted = options.what or list(BENCHMARKS)
    folder = Path(tempfile.mkdtemp(prefix="launcher-", dir="/tmp"))
    os.environ["EFFNET_RUNS_DIR"] = str(folder / "runs")
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    try:
        for name in wanted:
            BENCHMARKS[name](folder, options)
    finally:
        time.sleep(1)
        shutil.rmtree(folder, ignore_errors=True)


def write_profile(folder: Path, name: str, ranks: int, **changes: Any) -> str:
    values = {"node": LOCAL, "trainer": "", "data": folder, "environment": {}, **changes}
    environment = "\n".join(f"{k} = {json.dumps(str(v))}" for k, v in values["environment"].items())
    path = folder / f"{name}.toml"
    text = PROFILE.format(**{**values, "environment": environment}, name=name, ranks=ranks)
    path.write_text(text)
    return str(path)


def until(limit_s: float, count: int) -> Iterator[int]:
    """0, 1, … `count` - 1, and no more of them after `limit_s`."""
    began = time.monotonic()
    for number in range(count):
        if number and time.monotonic() - began > limit_s:
            return
        yield number


COLUMNS = ("", "p50", "p95", "most", "runs")


def show(name: str, values: Sequence[float]) -> None:
    found = (statistics.median(values), p95(values), max(values))
    row(name, *(f"{value:.2f} s" for value in found), str(len(values)))


# -- launch


def launch(folder: Path, options: argparse.Namespace) -> None:
    runs = options.runs or 5
    has_torch = options.torch_python is not None
    peers = ("msrun", "torchrun") if has_torch else ("msrun",)
    theirs_too = [cell for peer in peers for cell in (f"{peer}, p50 (most)", "ratio")]
    head("", "effnet-launch, p50 (most)", *theirs_too, "runs")
    for ranks in map(int, options.ranks.split(",")):
        environment = {"PYTHONPATH": ONLY_INIT.parents[1]}
        profile = write_profile(folder, f"init{ranks}", ranks, environment=environment)
        theirs: dict[str, list[float]] = {peer: [] for peer in peers}
        ours = []
        for number in until(options.limit_s, runs):
            if number < (runs if options.msrun_runs is None else options.msrun_runs):
                theirs["msrun"].append(timed(msrun(folder, ranks)))
            if has_torch:
                theirs["torchrun"].append(timed(torchrun(folder, options.torch_python, ranks)))
            argv = [sys.executable, "-m", "launcher.cli.app", "start", profile, "--follow"]
            argv += ["--no-preflight"]
            ours.append(timed(argv))
        cells = [f"{ranks} ranks", middle_and_most(ours)]
        for times in theirs.values():
            ratio = statistics.median(ours) / statistics.median(times)
            cells += [middle_and_most(times), f"{ratio:.2f}"]
        counts = [ours, *theirs.values()]
        row(*cells, ", ".join(str(len(times)) for times in counts))


def middle_and_most(times_s: Sequence[float]) -> str:
    return f"{statistics.median(times_s):.1f} s ({max(times_s):.1f} s)"


def msrun(folder: Path, ranks: int) -> list[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    argv = [str(Path(sys.executable).with_name("msrun")), f"--worker_num={ranks}"]
    argv += [f"--local_worker_num={ranks}", "--master_addr=127.0.0.1", f"--master_port={port}"]
    return [*argv, f"--log_dir={folder}/msrun", "--join=True", str(ONLY_INIT)]


def torchrun(folder: Path, python: Path, ranks: int) -> list[str]:
    script = folder / "init_torch.py"
    script.write_text(
        "import torch.distributed as group\n"
        'group.init_process_group("gloo")\n'
        "group.barrier()\n"
        "group.destroy_process_group()\n"
    )
    argv = [str(python), "-m", "torch.distributed.run", f"--nproc-per-node={ranks}"]
    return [*argv, "--standalone", str(script)]


def timed(argv: list[str]) -> float:
    # msrun starts whatever `python` is the first in PATH.
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    env = {**os.environ, "PATH": path}
    began = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    took_s = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"{argv}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return took_s


# -- kill


def kill(folder: Path, options: argparse.Namespace) -> None:
    for ranks in map(int, options.ranks.split(",")):
        environment = {"PYTHONPATH": ROOT / "tests/standin"}
        if ranks == int(options.ranks.split(",")[0]):
            head(*COLUMNS)
        profile = write_profile(
            folder, f"kill{ranks}", ranks, trainer="epoch_size = 1000", environment=environment
        )
        figures = [kill_once(profile) for _ in until(options.limit_s, options.runs or 50)]
        names = ("start → training", "`kill -9` of one → `failed`", "→ its last process is gone")
        for name, values in zip(names, zip(*figures, strict=True), strict=True):
            show(f"{ranks} ranks: {name}", values)


def kill_once(profile: str) -> tuple[float, float, float]:
    from launcher import client
    from launcher.process.ownership import Claim, owned
    from launcher.reading.folders import runs_directory

    began = time.time()
    root = runs_directory() / client.start(profile, client.StartRequest(preflight=False))
    up_s = wait_for(root, "training_started")["t"] - began
    time.sleep(random.uniform(0.05, 0.3))
    pids = [event["pid"] for event in events(root) if event["kind"] == "rank_started"]
    killed = time.time()
    os.kill(random.choice(pids), signal.SIGKILL)
    failed_s = wait_for(root, "attempt_failed")["t"] - killed
    while owned(Claim(token=f"{root.name}/")):
        time.sleep(0.01)
    gone_s = time.time() - killed
    wait_until_alone(root)
    return up_s, failed_s, gone_s


def events(root: Path) -> list[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(line) for line in (root / "events.jsonl").read_bytes().splitlines()]
    return []


def wait_for(root: Path, kind: str, count: int = 1) -> dict[str, Any]:
    ends = ("attempt_failed", "attempt_stopped", "attempt_finished")
    while True:
        found = [event for event in events(root) if event["kind"] == kind]
        if len(found) >= count:
            return found[count - 1]
        over = [event for event in events(root) if event["kind"] in ends]
        if len(over) >= max(1, count) and kind not in ends:
            raise SystemExit(f"{root.name}: {over[-1]}")
        time.sleep(0.005)


def wait_until_alone(root: Path) -> None:
    from launcher.store import run_lock

    while run_lock.is_supervised(root):
        time.sleep(0.01)


# -- lines


def lines(folder: Path, options: argparse.Namespace) -> None:
    environment = {"PYTHONPATH": HERE / "chatty", "CHATTY_LINES": options.lines}
    profile = write_profile(folder, "chatty", 1, environment=environment)
    head("from a rank to a client, lines of 100 bytes", "lines/s", "least", "runs")
    show_rates("on one machine", profile, options)
    with far_node() as node:
        if node is None:
            print("over SSH: not measured, test hosts need root and sshd", file=sys.stderr)
            return
        profile = write_profile(folder, "far", 1, node=node, environment=environment, data="/tmp")
        show_rates("over SSH", profile, options)


def show_rates(name: str, profile: str, options: argparse.Namespace) -> None:
    runs = until(options.limit_s, options.runs or 5)
    rates = [lines_once(profile, options.lines) for _ in runs]
    middle, least = statistics.median(rates), min(rates)
    row(name, f"{middle:,.0f}", f"{least:,.0f}", f"{len(rates)} of {options.lines:,} lines")


@contextlib.contextmanager
def far_node() -> Iterator[str | None]:
    """A node of a profile: a separate host on this machine, as tests/cluster makes them."""
    from tests.cluster.hosts import ClusterError, cluster

    try:
        context = cluster("alpha")
        built = context.__enter__()
    except ClusterError:
        yield None
        return
    home, os.environ["HOME"] = os.environ.get("HOME", ""), str(built.home)
    try:
        yield (
            f'address = "{built["alpha"].address}"\nuser = "root"\nruns_directory = "~/runs"\n'
            f"python = {json.dumps(sys.executable)}"
        )
    finally:
        os.environ["HOME"] = home
        context.__exit__(None, None, None)


def lines_once(profile: str, count: int) -> float:
    """Lines a second, from the first that the rank wrote to the last that a client has read."""
    from launcher import client
    from launcher.reading.folders import runs_directory

    root = runs_directory() / client.start(profile, client.StartRequest(preflight=False))
    log = client.open_run(root).log(0)
    offset, seen, began, last = 0, 0, 0.0, ""
    while not last.startswith("end "):
        page = log.read_from(offset)
        for line in page.lines:
            if line.text.startswith("begin "):
                began = float(line.text.split()[1])
            elif line.text.startswith("line "):
                assert line.text.split()[1] == str(seen), line
                seen += 1
            last = line.text
        if page.next_offset == offset:
            time.sleep(0.005)
        offset = page.next_offset
    took_s = time.time() - began
    assert seen == count
    wait_for(root, "attempt_finished")
    wait_until_alone(root)
    return count / took_s


BENCHMARKS = {"launch": launch, "kill": kill, "lines": lines}


if __name__ == "__main__":
    main()
