"""What a run of a thousand ranks costs its supervisor, over SSH and through the real protocol.

    python -m benchmarks.scale [--nodes 1 8 32 128] [--seconds 60] [--cut 0] [--simulators 2]

A real sshd on this machine, a real run whose nodes are addresses of the loopback, and a real
supervisor; only `launcher.node`, agents and ranks are simulated (`benchmarks.simulated_nodes`): 8
ranks a node, one step a second. CPU and memory are the supervisor's, while all ranks train. After
the run every file of every rank is compared, byte for byte, with what the nodes have sent: `lost`
counts lines of logs and step reports that are missing or damaged. `--cut N`: that many SSH sessions
are killed at random moments. `status` is `effnet-launch status`: its CPU time, and the time that
passes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.simulated_nodes import ITEM_BYTES, content, write_stub
from launcher import client

ROOT = Path(__file__).resolve().parents[1]
RANKS_PER_NODE = 8
STATUS_CALLS = 5
SSHD_CONFIG = """\
Port {port}
ListenAddress 0.0.0.0
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/home/.ssh/id_ed25519.pub
PidFile {folder}/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
MaxStartups 500
SetEnv HOME={folder}/home
"""
PROFILE = """\
name = "scale"
device_target = "CPU"
start_method = "cluster"
data_path = "/"

[node_defaults]
transport = "ssh"
user = "{user}"
port = {port}
python = "{python}"
runs_directory = "/nowhere"
slots = {slots}

{nodes}
[master]
address = "192.0.2.1"
port = 29500
"""


@dataclass(frozen=True)
class Row:
    """What one run cost. Times in seconds, CPU in shares of a core."""

    ranks: int
    start_s: float
    cpu: float
    rss_mib: float
    threads: int
    sent: int
    lost: int
    status_cpu_s: float
    status_s: float
    state: str

    def __str__(self) -> str:
        return (
            f"| {self.ranks:,} | {self.start_s:.1f} s | {self.cpu:.1%} | {self.rss_mib:.0f} MiB"
            f" | {self.threads} | {self.lost:,} of {self.sent:,} | {self.status_cpu_s:.2f} s"
            f" | {self.status_s:.2f} s | {self.state} |"
        )


HEAD = """\
| ranks | start | supervisor's CPU | memory | threads | lost | status, CPU | status | end |
|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=int, default=60, help="steps of each rank, one a second")
    parser.add_argument("--cut", type=int, default=0, help="SSH sessions that are killed")
    parser.add_argument("--simulators", type=int, default=2, help="processes for all nodes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(HEAD, flush=True)
    for count in options.nodes:
        print(measure(count, options), flush=True)


def measure(count: int, options: argparse.Namespace) -> Row:
    with lab(count, options) as (folder, port):
        began = time.monotonic()
        run = client.start(str(profile(folder, port, count)), client.StartRequest(preflight=False))
        root = folder / "runs" / run
        wait_for(root, "training_started", 120 + count)
        wait_for(root, "rank_started", 120 + count, count * RANKS_PER_NODE)
        start_s = time.monotonic() - began
        pid = json.loads((root / "supervisor.json").read_text())["pid"]
        first_s, first = time.monotonic(), cpu_s(pid)
        chance = random.Random(options.seed)
        status: list[tuple[float, float]] = []
        until = first_s + max(10, options.seconds - start_s - 8)
        cuts = sorted(chance.uniform(first_s, until - 5) for _ in range(options.cut))
        status_at = first_s + 2
        while time.monotonic() < until:
            if cuts and time.monotonic() >= cuts[0]:
                cuts.pop(0)
                cut_one(folder, chance)
            if len(status) < STATUS_CALLS and time.monotonic() >= status_at:
                status.append(timed_status(run))
                status_at = time.monotonic() + 3
            time.sleep(0.05)
        used, over_s = cpu_s(pid) - first, time.monotonic() - first_s
        proc = Path(f"/proc/{pid}/status").read_text()
        rss_mib = field(proc, "VmHWM") / 1024
        threads = field(proc, "Threads")
        end = wait_for(root, "attempt_", 120)
        sent, lost = compare(root, count * RANKS_PER_NODE, options.seconds)
    return Row(
        count * RANKS_PER_NODE,
        start_s,
        used / over_s,
        rss_mib,
        threads,
        sent,
        lost,
        statistics.median(cpu for cpu, _ in status),
        statistics.median(passed for _, passed in status),
        end,
    )


def profile(folder: Path, port: int, count: int) -> Path:
    nodes = "".join(
        f'[[nodes]]\nname = "node-{n:03d}"\naddress = "127.0.1.{n + 1}"\n\n' for n in range(count)
    )
    path = folder / "scale.toml"
    user = os.environ.get("USER", "root")
    python = folder / "python"
    path.write_text(
        PROFILE.format(user=user, port=port, python=python, slots=RANKS_PER_NODE, nodes=nodes)
    )
    return path


def timed_status(run: str) -> tuple[float, float]:
    """-> (CPU time, time passed)."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    argv = [sys.executable, "-m", "launcher.cli.app", "status", run]
    subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.monotonic() - began


def compare(root: Path, ranks: int, steps: int) -> tuple[int, int]:
    """-> (lines and step reports that nodes have sent, those that are not here as they were)."""
    sent = lost = 0
    for rank in range(ranks):
        for file in ("log.txt", "metrics.bin"):
            path = root / "attempts/001/ranks" / f"{rank:04d}" / file
            data = path.read_bytes() if path.exists() else b""
            wanted, size = content(file, rank, 0, steps), ITEM_BYTES[file]
            sent += steps
            if data != wanted:
                lost += sum(
                    data[at : at + size] != wanted[at : at + size]
                    for at in range(0, len(wanted), size)
                )
                lost += max(0, len(data) - len(wanted)) // size  # twice
    return sent, lost


def wait_for(root: Path, kind: str, limit_s: float, count: int = 1) -> str:
    """Until so many events of a kind (or a family of kinds) are there. -> the last one's kind."""
    until = time.monotonic() + limit_s
    kinds = ("attempt_finished", "attempt_failed", "attempt_stopped")
    wanted = kinds if kind == "attempt_" else (kind,)
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError):
            lines = (root / "events.jsonl").read_text().splitlines()
            found = [e["kind"] for e in map(json.loads, lines) if e["kind"] in wanted]
            if len(found) >= count:
                return str(found[-1])
        time.sleep(0.2)
    log = (root / "supervisor.log").read_text()
    raise TimeoutError(f"no {kind} within {limit_s:g} s\n{log[-2000:]}")


def cut_one(folder: Path, chance: random.Random) -> None:
    """Kills one SSH session of our sshd."""
    listener = int((folder / "sshd.pid").read_text())
    sessions = Path(f"/proc/{listener}/task/{listener}/children").read_text().split()
    if sessions:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(chance.choice(sessions)), signal.SIGKILL)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def field(text: str, name: str) -> int:
    return int(next(line for line in text.splitlines() if line.startswith(name)).split()[1])


@contextlib.contextmanager
def lab(count: int, options: argparse.Namespace) -> Iterator[tuple[Path, int]]:
    """An sshd and the processes that simulate nodes; a home with a key and the host's key."""
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir="/tmp"))
    port = random.randrange(20_000, 29_000)
    ours = folder / "home" / ".ssh"
    ours.mkdir(parents=True, mode=0o700)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for path in (ours / "id_ed25519", folder / "host_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True
            )
        key = (folder / "host_key.pub").read_text()
        hosts = (f"[127.0.1.{n + 1}]:{port} {key}" for n in range(count))
        (ours / "known_hosts").write_text("".join(hosts))
        (folder / "sshd_config").write_text(SSHD_CONFIG.format(port=port, folder=folder))
        Path("/run/sshd").mkdir(exist_ok=True)
        sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        if sshd is None:
            sys.exit("sshd is not here: apt-get install openssh-server")
        started.append(subprocess.Popen([sshd, "-D", "-f", str(folder / "sshd_config")]))
        simulators = min(count, options.simulators)
        write_stub(folder, simulators)
        for number in range(simulators):
            argv = [sys.executable, "-m", "benchmarks.simulated_nodes", str(folder), str(number)]
            started.append(subprocess.Popen([*argv, str(options.seconds)], cwd=ROOT))
        os.environ["HOME"] = os.environ["XDG_RUNTIME_DIR"] = str(folder / "home")
        os.environ["EFFNET_RUNS_DIR"] = str(folder / "runs")
        os.environ.pop("SSH_AUTH_SOCK", None)
        until = time.monotonic() + 30
        while not all((folder / f"{n}.sock").exists() for n in range(simulators)):
            if time.monotonic() > until or any(one.poll() is not None for one in started):
                sys.exit("the simulated nodes do not start")
            time.sleep(0.05)
        yield folder, port
    finally:
        for one in reversed(started):
            one.terminate()
            one.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
