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

import psutil

from tests import pace, proof, story
from tests.cluster.hosts import Cluster, Seen
from tests.cluster.standin_profile import PROFILE
from tests.job_runner import kill_with_parent

ROOT = Path(__file__).parents[2]
STANDIN = ROOT / "tests/standin"
WITNESS = "/tmp/witness"
"""On each host: what its ranks wrote, by their own account (tests/standin/effnet/witness.py)."""
STEPS = 10
"""An epoch's."""
ENOUGH = "/tmp/enough"
"""On alpha: with it, the training of the stand-in ends (tests/standin/effnet/__main__.py)."""
LIMIT_S = 120
"""For what takes seconds on an idle machine."""
UNREACHABLE_S = 6
"""For a test in which a node is lost. The others may be held up for half of it, and then have the
other half to be reached again.
"""


class ClusterLab:
    """Starts runs over SSH. `runs` is the runs folder of this machine."""

    def __init__(self, hosts: Cluster, folder: Path, transport: str = "ssh") -> None:
        self.transport = transport
        self.hosts = hosts
        self.folder = folder
        self.runs = folder / "runs"
        self.before = hosts.processes()

    def profile(self, *faults: dict[str, Any], **changes: Any) -> Path:
        values: dict[str, Any] = {
            "method": "cluster",
            "nodes": ("alpha", "beta"),
            "spares": (),
            "retry_nodes": "same",
            "epochs": 3,
            "steps": STEPS,
            "orphan_limit_s": 600,
            "supervisor_restart_s": 600,
            "stop_save_s": 15,
            "silent_min_s": 10,
            "compile_s": 1800,
            "checkpoints": "",
            "shared": "false",
            "copies": 1,
            "python": sys.executable,
            "unreachable_s": 60,
            "keep_warm_s": 0,
            "auto_resume": 0,
            "on_silent": "report",
            "slots": 2,
            "enough": "",
            "keep": "",
            "state": "",
            "save": "",
            "transport": self.transport,
        }
        values |= changes
        values.setdefault("step_s", pace.step_s(values["epochs"]))

        def node(table: str, name: str) -> str:
            return f'[[{table}]]\nname = "{name}"\naddress = "{self.hosts[name].address}"\n'

        nodes = [node("nodes", name) for name in values.pop("nodes")]
        nodes += [node("spares", name) for name in values.pop("spares")]
        text = PROFILE.format(
            **{**values, "python": json.dumps(values["python"])},
            nodes="\n".join(nodes),
            witness=WITNESS,
            # Any folder of folders that all hosts see: the stand-in reads no image.
            data=json.dumps(str(STANDIN)),
            python_path=json.dumps(str(STANDIN)),
            faults=json.dumps(json.dumps(faults)),
        )
        if values["enough"]:
            self.enough_file.unlink(missing_ok=True)
        path = self.folder / "standin.toml"
        path.write_text(text)
        return path

    def start(self, *faults: dict[str, Any], **changes: Any) -> Path:
        from launcher import client

        return self.runs / client.start(
            str(self.profile(*faults, **changes)), client.StartRequest(preflight=False)
        )

    def start_endless(self, *faults: dict[str, Any], **changes: Any) -> Path:
        """Trains until `enough`, however long the test takes for what it does meanwhile."""
        return self.start(*faults, epochs=5000, enough=ENOUGH, **changes)

    def enough(self, root: Path) -> int:
        """Lets the first attempt finish its epoch, which is the last one. -> steps of training."""
        self.enough_file.touch()
        ended = self.end_of(root)
        assert ended["kind"] == "attempt_finished", ended
        return STEPS * len(self.events(root, "epoch_finished"))

    @property
    def enough_file(self) -> Path:
        return self.hosts["alpha"].root / ENOUGH[1:]

    def command(
        self, *arguments: str, timeout_s: float = LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "launcher.cli.app", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def events(self, root: Path, *kinds: str) -> list[dict[str, Any]]:
        return [event for event in story.events(root) if not kinds or event["kind"] in kinds]

    def wait_for(
        self, root: Path, *kinds: str, count: int = 1, timeout_s: float = LIMIT_S
    ) -> dict[str, Any]:
        def why() -> str:
            log = root / "supervisor.log"
            return f"no {kinds}: {self.events(root)[-4:]}\n{log.read_text()[-2000:]}"

        self.until(lambda: len(self.events(root, *kinds)) >= count, timeout_s, why)
        return self.events(root, *kinds)[count - 1]

    def end_of(self, root: Path, timeout_s: float = LIMIT_S) -> dict[str, Any]:
        """The event that ends the newest attempt."""
        attempts = len(self.events(root, "attempt_started"))
        kinds = ("attempt_finished", "attempt_failed", "attempt_stopped")
        return self.wait_for(root, *kinds, count=attempts, timeout_s=timeout_s)

    def until(
        self,
        is_true: Callable[[], object],
        timeout_s: float = LIMIT_S,
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

    def nothing_left(self, timeout_s: float = LIMIT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                proof.none_left(self.before, self.hosts.processes())
                return
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    def rank_pid(self, root: Path, rank: int, attempt: int = 1) -> int:
        """The rank's process id as this machine knows it.

        Its node may report its start after another one has reported training.
        """

        def started() -> list[dict[str, Any]]:
            found = self.events(root, "rank_started")
            return [e for e in found if (e["rank"], e["attempt"]) == (rank, attempt)]

        self.until(started, why=lambda: f"rank {rank} did not start: {self.events(root)[-4:]}")
        (event,) = started()
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
        """The agent itself: its parent, the guard, has the same command line.

        So has what the agent starts, before its exec.
        """
        found = self._agents(host)
        return next(
            pid for pid in found if (up := _parent(pid)) in found and _parent(up) not in found
        )

    def guard_pid(self, host: str) -> int:
        return _parent(self.agent_pid(host))

    def _agents(self, host: str) -> set[int]:
        return {
            seen.pid
            for seen in self.hosts[host].processes()
            if "launcher.agent serve" in seen.command or "launcher.agent guard" in seen.command
        }

    def supervisor_pid(self, root: Path) -> int:
        return int(json.loads((root / "supervisor.json").read_text())["pid"])

    def kill_supervisor(self, root: Path) -> None:
        """For good; returns when it is gone."""
        kill_with_parent(self.supervisor_pid(root))

    def node_file(self, root: Path, node: str, name: str) -> Path:
        """A file of the run on a node, seen from here."""
        return self.hosts[node].home / "runs" / root.name / name

    def written(self, root: Path, rank: int, attempt: int = 1) -> bytes:
        """What the rank itself noted that it wrote."""
        node = self.nodes(root, attempt)[rank]
        name = f"{root.name}/{attempt:03d}-{rank:04d}"
        return _content(self.hosts[node].root / WITNESS[1:] / name)

    def nodes(self, root: Path, attempt: int = 1) -> dict[int, str]:
        """rank -> the name of its node."""
        started = self.events(root, "rank_started")
        return {e["rank"]: e["node"] for e in started if e["attempt"] == attempt}

    def check_copies(self, root: Path, attempt: int = 1) -> None:
        """Every line that a rank wrote is here once; every report has its record and event."""
        for rank in self.nodes(root, attempt):
            self.check_rank(root, rank, attempt)
        self.check_events(root, attempt)

    def check_rank(self, root: Path, rank: int, attempt: int = 1) -> None:
        node, who = self.nodes(root, attempt)[rank], f"rank {rank}"
        folder = f"attempts/{attempt:03d}/ranks/{rank:04d}"
        files = {name: _content(root / folder / name) for name in ("log.txt", "metrics.bin")}
        if "STANDIN_WITNESS" in (root / "profile.json").read_text():
            exits = [e for e in self.events(root, "rank_exited") if e["attempt"] == attempt]
            is_clean = any(e["rank"] == rank and e["exit_code"] == 0 for e in exits)
            noted = self.written(root, rank, attempt)
            proof.log_is_whole(who, files["log.txt"], noted, was_killed=not is_clean)
        for name, here in files.items():
            there = _content(self.node_file(root, node, f"{folder}/{name}"))
            proof.log_is_whole(f"{who}'s {name} on {node}", here, there)
        proof.reports_are_recorded(who, files["log.txt"], files["metrics.bin"])

    def check_events(self, root: Path, attempt: int = 1) -> None:
        events = self.events(root)
        log = root / f"attempts/{attempt:03d}/ranks/0000/log.txt"
        proof.reports_became_events(events, attempt, _content(log))
        for node in set(self.nodes(root, attempt).values()):
            journal = f"attempts/{attempt:03d}/agents/{node}.jsonl"
            there = self.node_file(root, node, journal).read_bytes()
            assert there.startswith((root / journal).read_bytes()), node
        proof.events_are_whole(events)

    def check_steps(self, root: Path, first: int, end: int, attempt: int = 1) -> None:
        """Each rank reported each of these steps once, in order."""
        for rank in self.nodes(root, attempt):
            proof.steps_are_all(f"rank {rank}", self.steps(root, rank, attempt), first, end)

    def failed(self, root: Path, timeout_s: float = LIMIT_S, **blamed: object) -> dict[str, Any]:
        """The failure of the newest attempt, which names all of `blamed`, to a person too."""
        event = self.end_of(root, timeout_s)
        assert event["kind"] == "attempt_failed", event
        failure: dict[str, Any] = event["failure"]
        proof.blames(failure, **blamed)
        self.check_card(root, event)
        return failure

    def check_card(self, root: Path, event: dict[str, Any]) -> None:
        """A person sees what the event that ended the newest attempt says."""
        card = self.card(root)
        assert event["kind"].removeprefix("attempt_") in card, card
        failure = event.get("failure")
        if failure is not None:
            where = "" if failure["node"] is None else f" on {failure['node']}"
            is_rank = failure["rank"] is not None
            who = f"rank {failure['rank']}{where}" if is_rank else f"the run failed{where}"
            assert who in card, card
            assert failure["kind"] == "signal" or f"({failure['kind']})" in card, card

    def card(self, root: Path) -> str:
        """What `effnet-launch status` says, in this process."""
        from typer.testing import CliRunner

        from launcher.cli.app import app

        result = CliRunner().invoke(app, ["status", root.name])
        assert result.exit_code == 0, result.output
        return result.output

    def whole(self, root: Path, attempt: int = 1) -> None:
        """After an attempt: nothing left anywhere, nothing lost, nothing doubled."""
        from launcher.store import run_lock

        self.nothing_left()
        self.until(lambda: not run_lock.is_supervised(root))
        self.check_copies(root, attempt)

    def resume_to_end(
        self, root: Path, epochs: int = 1, checkpoints: str = "", timeout_s: float = LIMIT_S
    ) -> Any:
        """Resumes and trains some epochs more, from the checkpoint that is right. -> the choice.

        `checkpoints` is their folder on the first node, where it is not the run's.
        """
        from launcher import client

        node = self.nodes(root)[0]
        folder = self.node_file(root, node, "checkpoint")
        if checkpoints:
            folder = self.hosts[node].root / checkpoints.lstrip("/")
        expected = proof.newest_whole(folder)
        attempt = len(self.events(root, "attempt_started")) + 1
        steps_per_epoch = self.events(root, "training_started")[0]["steps_per_epoch"]
        end = expected // steps_per_epoch + epochs
        choice = client.resume(
            root, client.ResumeRequest(settings=(("epoch_size", str(end)),), preflight=False)
        )
        assert self.end_of(root, timeout_s)["kind"] == "attempt_finished"
        proof.resumed_from(expected, choice.step, self.events(root), attempt)
        self.check_steps(root, expected, end * steps_per_epoch, attempt)
        self.whole(root, attempt)
        return choice

    def steps(self, root: Path, rank: int, attempt: int = 1) -> list[int]:
        from launcher.core.run.metrics import unpack

        path = root / f"attempts/{attempt:03d}/ranks/{rank:04d}/metrics.bin"
        return [record.global_step for record in unpack(path.read_bytes())]

    def end_logins(self) -> None:
        """The processes of ssh that hold a login."""
        for path in Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")).glob("effnet-tui/ssh/*"):
            if path.is_socket():
                argv = ["ssh", "-F", "none", "-S", str(path), "-O", "exit", "any"]
                subprocess.run(argv, capture_output=True, check=False)  # it may be dead

    def end_all(self) -> None:
        self.end_logins()
        for root in self.runs.glob("*"):
            with contextlib.suppress(OSError, ValueError, KeyError, psutil.Error):
                supervisor = psutil.Process(self.supervisor_pid(root))
                # Its parent first, which would start another one. After the run's end the number
                # may be that of any process.
                for process in (supervisor.parent(), supervisor):
                    if process is not None and str(root) in process.cmdline():
                        process.kill()
        for seen in {s for found in self.left().values() for s in found}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(seen.pid, 9)


def _content(path: Path) -> bytes:
    """Nothing, for a file that a rank did not come to make."""
    return path.read_bytes() if path.exists() else b""


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat[stat.rfind(")") + 2 :].split()[1])
