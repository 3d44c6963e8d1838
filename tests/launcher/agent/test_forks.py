"""Ranks that one process of the node forks: the same to everybody as ranks that are started."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher import client
from launcher.agent.deaths import unstarted
from launcher.agent.processes.parents import Parents
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import PlannedProcess, Role, RunContext
from launcher.process.forking import Warm
from launcher.process.spawn import SpawnedProcess
from launcher.reading.profiles import find_profile
from tests.launcher.sleeper import sleeper


def planned(root: Path) -> dict[int, dict[str, Any]]:
    plan = json.loads((root / "attempts/001/plan.json").read_text())
    return {item["rank"]: item for item in plan["processes"] if item["rank"] is not None}


def texts(root: Path, file: str) -> list[str]:
    """The parts of a file of /proc, with the same name for each run."""
    content = Path(file).read_bytes().rstrip(b"\0").decode()
    return [part.replace(root.name, "RUN") for part in content.split("\0")]


def look(root: Path, pid: int) -> dict[str, Any]:
    """What the kernel says of a rank; what differs from run to run is left out."""
    of_run = {*planned(root)[0]["environment"]} - {"MS_SCHED_PORT"}
    variables = [entry.partition("=") for entry in texts(root, f"/proc/{pid}/environ")]
    files = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {
        "session": os.getsid(pid) == os.getpgid(pid) == pid,
        "parent": texts(root, f"/proc/{psutil.Process(pid).ppid()}/cmdline")[3:5],
        "command": texts(root, f"/proc/{pid}/cmdline"),
        "token": next(value for name, _, value in variables if name == "EFFNET_TOKEN")[-7:],
        "variables": sorted((name, value) for name, _, value in variables if name in of_run),
        "files": sorted(file.partition("[")[0].replace(root.name, "RUN") for file in files),
        "folder": os.readlink(f"/proc/{pid}/cwd").replace(root.name, "RUN"),
        "cpus": os.sched_getaffinity(pid),
        "signals": [line for line in status if line.startswith(("SigBlk", "SigIgn", "SigCgt"))],
    }


def test_a_forked_rank_looks_like_one_that_was_started(lab):
    looks = []
    for fork in "true", "false":
        # Each stops at the same place: a rank that trains opens and closes files.
        root = lab.start({"step": 3, "do": "stop"}, epochs=1000, fork=fork)
        lab.wait_for(root, "training_started")
        ranks = [psutil.Process(lab.pid_of(root, rank)) for rank in (0, 1)]
        lab.until(lambda: all(rank.status() == psutil.STATUS_STOPPED for rank in ranks))  # noqa: B023
        assert {item["is_forked"] for item in planned(root).values()} == {fork == "true"}
        assert (root / "attempts/001/fork-127.0.0.1.log").exists() == (fork == "true")
        looks.append([look(root, rank.pid) for rank in ranks])
        for rank in ranks:
            rank.resume()
        client.stop(root, client.StopRequest(save=False))
        lab.wait_for(root, "attempt_stopped")
        lab.nothing_left()
    forked, started = looks
    for rank in 0, 1:
        assert forked[rank]["session"]
        assert forked[rank]["token"] == "RUN/001"
        assert ("RANK_ID", str(rank)) in forked[rank]["variables"]
        assert forked[rank] == started[rank]


@pytest.mark.parametrize(
    ("fault", "why"),
    [("kill", "their parent ended with SIGKILL"), ("thread", "the import left 2 threads")],
)
def test_ranks_that_cannot_be_forked_are_started(lab, fault, why):
    root = lab.start(imports=fault)
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert f"ranks of 127.0.0.1 are not forked: {why}" in (root / "supervisor.log").read_text()
    assert len(lab.events(root, "rank_started")) == 2
    lab.nothing_left()


def test_a_rank_says_itself_what_it_cannot_import(lab):
    """Here only the parent imports it: the ranks train."""
    root = lab.start(imports="raise")
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    log = (root / "attempts/001/fork-127.0.0.1.log").read_text()
    assert log.endswith("ImportError: a library is missing\n")


def parent(lab) -> psutil.Process:
    found: list[psutil.Process] = []

    def is_there() -> bool:
        found[:] = [p for p in lab.ours() if "launcher.fork" in lab.words(p)[:5]]
        return len(found) == 1 and "launcher.rank" not in lab.words(found[0])

    lab.until(is_there)
    return found[0]


def test_a_stop_while_the_parent_imports(lab):
    root = lab.start(imports="hang")
    parent(lab)
    client.stop(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"
    assert lab.events(root, "rank_started") == []
    lab.nothing_left()


def test_an_agent_that_is_ended_while_the_parent_imports_has_not_finished(lab):
    """As Slurm ends it at a preemption: no rank has started, and none has failed."""
    root = lab.start(imports="hang")
    parent(lab)
    os.kill(lab.agent_pids()[1], signal.SIGTERM)
    ends = ("attempt_stopped", "attempt_failed", "attempt_finished")
    assert lab.wait_for(root, *ends)["kind"] == "attempt_stopped"
    lab.nothing_left()


def test_an_agent_killed_while_the_parent_imports_leaves_nothing(lab):
    root = lab.start(imports="hang")
    parent(lab)
    os.kill(lab.agent_pids()[1], signal.SIGKILL)
    assert lab.wait_for(root, "attempt_failed")["failure"]["kind"] == "node"
    lab.nothing_left()


def test_ranks_that_the_parent_did_not_fork_in_time_are_named(lab):
    root = lab.start(imports="hang", launch_s=1)
    failure = lab.wait_for(root, "attempt_failed")["failure"]
    assert failure["kind"] == "launch"
    assert re.fullmatch(
        r"MindSpore is still being imported on 127\.0\.0\.1 after \d+ s \(launch_s is 1 s\),"
        r" for rank 0, rank 1",
        failure["meaning"],
    )
    assert failure["try_next"] == (
        "raise [limits] launch_s in the profile, or set [launch] fork = false:"
        " then each rank imports by itself"
    )
    assert failure["log"] == str(root / "attempts/001/fork-127.0.0.1.log")
    # It may not have come so far within that second.
    assert failure["last_lines"] in ([], ["importing slowly"])
    shown = re.sub(r"[│\s]+", " ", lab.command("status", root.name).stdout)
    assert failure["meaning"] in shown
    assert failure["try_next"] in shown
    lab.nothing_left()


def test_a_slow_import_is_shown_with_the_end_of_its_log(tmp_path):
    plan = make_plan(find_profile("local-cpu"), RunContext("r", str(tmp_path)))
    log = tmp_path / "fork.log"
    log.write_text("begins\nimporting slowly\n")
    process = PlannedProcess(Role.FORK, "n", (), {}, str(log))
    death = unstarted(plan, plan.ranks, SpawnedProcess(process, 1, 0, time.time() - 70))
    assert (death.last_lines, death.log_offset) == (("begins", "importing slowly"), 0)
    assert re.search(r"still being imported on \S+ after \d\d+ s", death.meaning)


def test_a_process_that_has_waited_for_the_attempt_is_not_said_to_import(tmp_path):
    plan = make_plan(find_profile("local-cpu"), RunContext("r", str(tmp_path)))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with sleeper() as process, ours, theirs:
        warm = Warm(process.pid, ours)
        parents = Parents("r/002", str(tmp_path / "fork.log"), [warm], stay=True)
        assert parents.start(plan.ranks).pid == process.pid
        assert parents.importing() is None
    death = unstarted(plan, plan.ranks, None)
    assert "the process that forks the ranks has not started rank 0" in death.meaning


def test_how_a_forked_rank_ends_is_reported(lab):
    waits = {"rank": 0, "step": 3, "do": "stop"}
    root = lab.start(
        waits, {**waits, "do": "exit", "code": 7}, {"rank": 1, "step": 3, "do": "hang"}
    )
    lab.wait_for(root, "training_started")
    # Each in its place: a rank that still waits for the scheduler fails when that is ended.
    first, beat = psutil.Process(lab.pid_of(root, 0)), root / "attempts/001/ranks/0001/heartbeat"
    lab.until(lambda: first.status() == psutil.STATUS_STOPPED)
    lab.until(lambda: b" compute 3 " in beat.read_bytes())
    first.resume()
    lab.wait_for(root, "rank_exited", count=2)
    ends = {e["rank"]: (e["exit_code"], e["signal"]) for e in lab.events(root, "rank_exited")}
    assert ends == {0: (7, None), 1: (None, signal.SIGKILL)}
    lab.nothing_left()


def test_a_killed_agent_takes_forked_ranks_along_without_its_guard(lab):
    """By the signal that the kernel sends at a parent's death."""
    root = lab.start(epochs=1000)
    lab.wait_for(root, "training_started")
    ranks = [psutil.Process(lab.pid_of(root, rank)) for rank in (0, 1)]
    for pid in lab.agent_pids():
        with contextlib.suppress(ProcessLookupError):  # one may take the other with it
            os.kill(pid, signal.SIGKILL)
    psutil.wait_procs(ranks, timeout=20)
    lab.nothing_left()
