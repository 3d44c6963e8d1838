"""A run whose supervisor is on the first node: this machine may sleep, and only has a copy."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import pytest

from launcher import client
from launcher.core.run.state import RunStatus
from launcher.errors import BusyError, LaunchError, NodeError
from launcher.reading.living.answers import SILENT_S
from launcher.store import run_lock
from tests.cluster.lab import ENOUGH
from tests.freezing import freeze
from tui.model.run import FrameRequest
from tui.sources.live import LiveSource

FIRST = 'supervisor = "first-node"\ndata_path'


def profile(lab, *faults, **changes):
    path = lab.profile(*faults, **changes)
    path.write_text(path.read_text().replace("data_path", FIRST, 1))
    return path


def knows_others(lab):
    """What a person does once by hand: a login from the first node to the others."""
    known = (lab.hosts.home / ".ssh/known_hosts").read_text()
    (lab.hosts["alpha"].home / ".ssh/known_hosts").write_text(known)


def copies(lab, root):
    """Name -> (here, there) of the files that a copy has."""
    from launcher.remote.sync import names_below

    there = lab.node_file(root, "alpha", ".")
    names = [name for name in names_below(there) if name not in ("profile.json",)]
    assert "events.jsonl" in names
    assert "attempts/001/ranks/0003/log.txt" in names
    return {name: ((root / name).read_bytes(), (there / name).read_bytes()) for name in names}


def test_a_run_lives_on_its_first_node_and_all_commands_work_from_here(lab):
    knows_others(lab)
    done = lab.command("start", str(profile(lab, epochs=5000)), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    root = lab.runs / json.loads(done.stdout)["run"]
    there = lab.node_file(root, "alpha", "supervisor.json")
    supervisor = lab.hosts["alpha"].outside_pid(json.loads(there.read_text())["pid"])
    assert supervisor != lab.supervisor_pid(root)
    lab.wait_for(root, "checkpoint_saved")
    assert "running" in lab.command("status", root.name).stdout
    log = root / "attempts/001/ranks/0003/log.txt"
    lab.until(lambda: log.exists() and b"plain" in log.read_bytes())
    assert "plain" in lab.command("logs", root.name, "--rank", "3", "-n", "4").stdout
    frame = LiveSource().open(root.name).frame(FrameRequest())
    assert len(frame.snapshot.ranks) == 4
    result = json.loads(lab.command("export", root.name, "--name", "b2", "--json").stdout)
    assert result["result"]["path"] == str(root / "export/b2.onnx")
    assert (root / "export/b2.onnx").read_bytes() == b"onnx"
    assert lab.command("note", root.name, "changed from here").returncode == 0
    lab.until(lambda: "changed from here" in lab.command("status", root.name).stdout)
    done = lab.command("stop", root.name)
    assert "stopped" in done.stdout, done.stdout + done.stderr
    lab.nothing_left()
    lab.until(lambda: not run_lock.is_supervised(root))
    assert all(here == there for here, there in copies(lab, root).values())
    step = lab.events(root, "attempt_stopped")[0]["step"]
    epochs = step // 10 + 2
    done = lab.command("resume", root.name, "--set", f"epoch_size={epochs}")
    assert f"step {step}" in done.stdout, done.stdout + done.stderr
    assert lab.end_of(root)["kind"] == "attempt_finished"
    lab.nothing_left()
    lab.until(lambda: not run_lock.is_supervised(root))
    assert lab.steps(root, 3, attempt=2)[-1] == epochs * 10 - 1
    assert client.open_run(root).poll().status is RunStatus.FINISHED
    assert lab.command("prune", "--run", root.name, "--yes").returncode == 0
    assert not there.parent.exists()


def test_this_machine_may_go_away_and_come_back_later(lab):
    knows_others(lab)
    root = lab.runs / client.start(
        str(profile(lab, epochs=5000, step_s=0.05, enough=ENOUGH, unreachable_s=600)),
        client.StartRequest(preflight=False),
    )
    lab.wait_for(root, "epoch_finished")
    # As a laptop that is closed: what is here ends, the node hears nothing.
    lab.hosts["alpha"].link_down()
    os.kill(lab.supervisor_pid(root), signal.SIGKILL)
    lab.until(lambda: not run_lock.is_supervised(root))
    assert "nothing updates this copy" in lab.command("status", root.name).stderr
    with pytest.raises(LaunchError, match="alpha"):
        client.connect(root)
    done = lab.command("status", root.name)
    assert "alpha can't be reached" in done.stderr, done.stderr
    assert client.open_run(root).poll().status is RunStatus.RUNNING
    lab.hosts["alpha"].link_up()
    assert lab.command("status", root.name).returncode == 0
    steps = lab.enough(root)
    lab.nothing_left()
    lab.until(lambda: not run_lock.is_supervised(root))
    assert all(here == there for here, there in copies(lab, root).values())
    assert lab.steps(root, 3) == list(range(steps))


def test_a_first_node_that_cannot_reach_the_others_says_so(lab):
    (lab.hosts["alpha"].home / ".ssh/known_hosts").unlink(missing_ok=True)
    runs = lab.hosts["alpha"].home / "runs"
    before = set(runs.glob("*"))
    done = lab.command("start", str(profile(lab)))
    assert done.returncode != 0
    assert "host-key on beta" in done.stderr
    assert "log in from alpha" in done.stderr
    with pytest.raises(NodeError, match=r"beta: from alpha: the host key of .*\n") as caught:
        client.start(str(profile(lab)), client.StartRequest(preflight=False))
    assert "log in from alpha" in caught.value.hint
    assert not lab.runs.exists()
    assert set(runs.glob("*")) == before


def test_022_with_mpirun_folders_and_python_below_home_are_those_of_the_nodes(lab):
    """Case 022, and `runs_directory = "~/runs"`, which was refused: "these differ"."""
    knows_others(lab)
    for name in ("alpha", "beta"):
        folder = lab.hosts[name].home / "venv/bin"
        folder.mkdir(parents=True)
        (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (folder / "python").chmod(0o755)
    path = profile(lab, method="mpirun", python="~/venv/bin/python")
    done = lab.command("start", str(path), "--no-preflight", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    root = lab.runs / json.loads(done.stdout)["run"]
    assert lab.end_of(root)["kind"] == "attempt_finished"


def test_a_frozen_supervisor_on_the_first_node_is_shown_here_and_stop_replaces_it(lab):
    knows_others(lab)
    root = lab.runs / client.start(
        str(profile(lab, epochs=5000)), client.StartRequest(preflight=False)
    )
    lab.wait_for(root, "training_started")
    there = lab.node_file(root, "alpha", "supervisor.json")
    pid = json.loads(there.read_text())["pid"]
    home, shown = LiveSource(read_only=True), client.open_run(root)

    def silences():
        return {run.supervisor_silent for run in home.home().runs} | {
            item.supervisor_silent for item in client.list_runs()
        }

    # One that has much to do may not answer for a while.
    lab.until(lambda: silences() == {None})
    frozen = lab.hosts["alpha"].outside_pid(pid)
    freeze(frozen)
    lab.until(lambda: None not in silences())
    (silence,) = {(known.node, known.pid) for known in silences()}
    assert silence == ("alpha", pid)
    since_s = shown.poll().supervisor_silent.since_s
    # It may have owed an answer before: this machine, too, is slow at times.
    assert lab.events(root)[0]["t"] < since_s < time.time() - SILENT_S
    printed = lab.command("status", root.name).stdout
    assert f"the supervisor on alpha (process {pid}) has not answered for" in printed
    assert f"kill -CONT {pid} on alpha" in printed
    assert f"the supervisor on alpha (process {pid}) does not" in lab.command("runs").stdout
    os.kill(frozen, signal.SIGCONT)
    lab.until(lambda: silences() == {None})
    freeze(frozen)
    done = lab.command("stop", root.name)
    assert "stopped" in done.stdout, done.stdout + done.stderr
    lab.until(lambda: not run_lock.is_supervised(root))
    assert [e["replaced"] for e in lab.events(root, "supervisor_started")] == [None, pid]
    assert silences() == {None}
    lab.nothing_left()


def test_stop_ends_what_waits_on_the_nodes_after_a_failure(lab):
    knows_others(lab)
    fails = {"rank": 1, "step": 3, "attempt": 1, "do": "exit", "code": 7}
    path = profile(lab, fails, epochs=5000, keep_warm_s=3600)
    root = lab.runs / client.start(str(path), client.StartRequest(preflight=False))
    lab.wait_for(root, "processes_kept")
    lab.until(lambda: not run_lock.is_supervised(root))
    kept = client.open_run(root).poll().kept
    assert kept is not None
    for process in kept.processes:
        assert lab.hosts[process.node].outside_pid(process.pid)
    done = lab.command("stop", root.name)
    assert (done.returncode, done.stdout) == (0, "ended: 2 processes on 2 nodes\n"), done.stderr
    lab.nothing_left()
    assert client.open_run(root).poll().kept is None
    assert lab.command("stop", root.name).returncode == BusyError.exit_code
