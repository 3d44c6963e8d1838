"""Runs of the stand-in trainer on the cluster's hosts, looked at from outside."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.hosts import Cluster, Seen

ROOT = Path(__file__).parents[2]
STANDIN = ROOT / "tests/standin"
PROFILE = """\
name = "standin"
device_target = "CPU"
start_method = "{method}"
data_path = "/tmp"

[node_defaults]
user = "root"
python = {python}
runs_directory = "~/runs"
slots = 2

{nodes}
[trainer]
epoch_size = {epochs}

[limits]
stop_save_s = 15
term_s = 2
kill_s = 5
orphan_limit_s = {orphan_limit_s}
silent_min_s = {silent_min_s}
unreachable_s = {unreachable_s}

[retry]
auto_resume = {auto_resume}

[environment]
PYTHONPATH = {python_path}
STANDIN_FAULTS = {faults}
STANDIN_STEPS = "{steps}"
STANDIN_STEP_S = "{step_s}"
"""


class ClusterLab:
    """Starts runs over SSH. `runs` is the runs folder of this machine."""

    def __init__(self, hosts: Cluster, folder: Path) -> None:
        self.hosts = hosts
        self.folder = folder
        self.runs = folder / "runs"
        self.before = hosts.processes()

    def profile(self, *faults: dict[str, Any], **changes: Any) -> Path:
        values: dict[str, Any] = {
            "method": "cluster",
            "nodes": ("alpha", "beta"),
            "epochs": 3,
            "steps": 10,
            "step_s": 0.02,
            "orphan_limit_s": 600,
            "silent_min_s": 10,
            "unreachable_s": 60,
            "auto_resume": 0,
        }
        values |= changes
        nodes = [
            f'[[nodes]]\nname = "{name}"\naddress = "{self.hosts[name].address}"\n'
            for name in values.pop("nodes")
        ]
        text = PROFILE.format(
            **values,
            nodes="\n".join(nodes),
            python=json.dumps(sys.executable),
            python_path=json.dumps(str(STANDIN)),
            faults=json.dumps(json.dumps(faults)),
        )
        path = self.folder / "standin.toml"
        path.write_text(text)
        return path

    def start(self, *faults: dict[str, Any], **changes: Any) -> Path:
        from launcher import client

        return self.runs / client.start_run(str(self.profile(*faults, **changes)))

    def command(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "launcher.cli.app", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def events(self, root: Path, *kinds: str) -> list[dict[str, Any]]:
        try:
            lines = (root / "events.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines]
        return [event for event in found if not kinds or event["kind"] in kinds]

    def wait_for(
        self, root: Path, *kinds: str, count: int = 1, timeout_s: float = 30
    ) -> dict[str, Any]:
        def why() -> str:
            log = root / "supervisor.log"
            return f"no {kinds}: {self.events(root)[-4:]}\n{log.read_text()[-2000:]}"

        self.until(lambda: len(self.events(root, *kinds)) >= count, timeout_s, why)
        return self.events(root, *kinds)[count - 1]

    def end_of(self, root: Path, timeout_s: float = 40) -> dict[str, Any]:
        """The event that ends the newest attempt."""
        attempts = len(self.events(root, "attempt_started"))
        kinds = ("attempt_finished", "attempt_failed", "attempt_stopped")
        return self.wait_for(root, *kinds, count=attempts, timeout_s=timeout_s)

    def until(
        self,
        is_true: Callable[[], object],
        timeout_s: float = 20,
        why: Callable[[], str] = lambda: "it did not come true",
    ) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_true():
            assert time.monotonic() < deadline, why()
            time.sleep(0.02)

    def left(self) -> dict[str, set[Seen]]:
        """What every host has more than before the test."""
        now = self.hosts.processes()
        return {
            name: now[name] - self.before[name] for name in now if now[name] - self.before[name]
        }

    def nothing_left(self, timeout_s: float = 8) -> None:
        self.until(lambda: not self.left(), timeout_s, lambda: f"left: {self.left()}")

    def rank_pid(self, root: Path, rank: int, attempt: int = 1) -> int:
        """The rank's process id as this machine knows it."""
        started = self.events(root, "rank_started")
        event = next(e for e in started if e["rank"] == rank and e["attempt"] == attempt)
        return self.hosts[event["node"]].outside_pid(event["pid"])

    def pid_like(self, host: str, *words: str) -> int:
        """The only process of a host with all these words in its command line."""
        found = [
            seen.pid
            for seen in self.hosts[host].processes()
            if all(word in seen.command for word in words)
        ]
        assert len(found) == 1, (host, words, found)
        return found[0]

    def agent_pid(self, host: str) -> int:
        """The agent itself: its parent, the warden, has the same command line."""
        found = {
            seen.pid
            for seen in self.hosts[host].processes()
            if "launcher.shell.agent serve" in seen.command
        }
        return next(pid for pid in found if _parent(pid) in found)

    def supervisor_pid(self, root: Path) -> int:
        return int(json.loads((root / "supervisor.json").read_text())["pid"])

    def node_file(self, root: Path, node: str, name: str) -> Path:
        """A file of the run on a node, seen from here."""
        return self.hosts[node].home / "runs" / root.name / name

    def check_copies(self, root: Path, world_size: int = 4, attempt: int = 1) -> None:
        """Every byte that a rank wrote is here once; every report has its record."""
        from launcher.core.metrics import unpack

        nodes = {e["rank"]: e["node"] for e in self.events(root, "rank_started")}
        for rank in range(world_size):
            folder = f"attempts/{attempt:03d}/ranks/{rank:04d}"
            for name in ("log.txt", "metrics.bin"):
                there = self.node_file(root, nodes[rank], f"{folder}/{name}").read_bytes()
                assert (root / folder / name).read_bytes() == there, (rank, name)
            log = (root / folder / "log.txt").read_bytes()
            offsets, position = [], 0
            for line in log.split(b"\n"):
                if line.startswith(b"epoch: [") and b"loss:[" in line:
                    offsets.append(position)
                position += len(line) + 1
            records = unpack((root / folder / "metrics.bin").read_bytes())
            assert [record.log_offset for record in records] == offsets, rank
        journal = f"attempts/{attempt:03d}/agents"
        for node in set(nodes.values()):
            there = self.node_file(root, node, f"{journal}/{node}.jsonl").read_bytes()
            assert there.startswith((root / journal / f"{node}.jsonl").read_bytes()), node
        numbers = [event["n"] for event in self.events(root)]
        assert numbers == list(range(1, len(numbers) + 1))
        told = [(e["attempt"], *e["source"]) for e in self.events(root) if "source" in e]
        assert len(told) == len(set(told))

    def story(self, root: Path) -> str:
        """What a person needs who sees a run fail here and nowhere else."""
        failures = [e["failure"] for e in self.events(root) if e.get("failure")]
        parts = [json.dumps(failure, indent=1) for failure in failures]
        logs = [root / "supervisor.log", *sorted(root.glob("attempts/*/**/*.log"))]
        for path in [*logs, *sorted(root.glob("attempts/*/ranks/*/log.txt"))]:
            with contextlib.suppress(OSError):
                last = path.read_text(errors="replace").splitlines()[-15:]
                parts.append("\n".join([f"--- {path.relative_to(root)}", *last]))
        return "\n".join(parts)

    def steps(self, root: Path, rank: int, attempt: int = 1) -> list[int]:
        from launcher.core.metrics import unpack

        path = root / f"attempts/{attempt:03d}/ranks/{rank:04d}/metrics.bin"
        return [record.global_step for record in unpack(path.read_bytes())]

    def end_all(self) -> None:
        for root in self.runs.glob("*"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                os.kill(self.supervisor_pid(root), 9)
        for seen in {s for found in self.left().values() for s in found}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(seen.pid, 9)


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat[stat.rfind(")") + 2 :].split()[1])
