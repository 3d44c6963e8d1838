"""What goes wrong on real hosts: the right state and cause shown, no process left on any host, no
line lost or doubled against what the ranks wrote, and a resume reaches the end (tests/proof.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from itertools import pairwise
from pathlib import Path

import pytest

from launcher import client
from launcher.core.run.metrics import unpack
from launcher.store import run_lock
from tests import proof
from tests.cluster.conftest import both_transports
from tests.cluster.lab import ENOUGH, LIMIT_S, UNREACHABLE_S, ClusterLab

COMPILE_S, SILENT_S = 60, 15
FOUR = ("alpha", "beta", "gamma", "delta")


@pytest.fixture(scope="module")
def compiling(built_cluster, tmp_path_factory):
    """A run on gamma and delta whose rank 3 compiles for a minute, beside the other tests."""
    folder = tmp_path_factory.mktemp("compiling")
    runtime = tempfile.mkdtemp(prefix="lab-", dir="/tmp")
    lab = ClusterLab(built_cluster, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(built_cluster.home))
        patch.setenv("XDG_RUNTIME_DIR", runtime)
        patch.setenv("EFFNET_RUNS_DIR", str(lab.runs))
        fault = {"rank": 3, "step": 15, "do": "compile", "seconds": COMPILE_S}
        root = lab.start(fault, nodes=("gamma", "delta"), epochs=2, silent_min_s=SILENT_S)
    beat = root / "attempts/001/ranks/0003/heartbeat"
    lab.until(lambda: beat.exists() and b" compile " in beat.read_bytes())
    yield lab, root
    lab.end_all()
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def _in_the_background(request):
    """The minute begins with the first test of this module, when its own is among them."""
    if any("compiles_for_a_minute" in item.name for item in request.session.items):
        request.getfixturevalue("compiling")


@both_transports
def test_a_killed_rank_ends_all_nodes(lab):
    root = lab.start(nodes=FOUR, epochs=5000)
    lab.wait_for(root, "epoch_finished")
    os.kill(lab.rank_pid(root, 5), signal.SIGKILL)
    failure = lab.failed(root, rank=5, node="gamma", kind="signal", signal=signal.SIGKILL)
    lab.nothing_left()
    proof.blames(failure, followers=[0, 1, 2, 3, 4, 6, 7])
    assert failure["log"] == str(root / "attempts/001/ranks/0005/log.txt")
    lab.whole(root)
    lab.resume_to_end(root)


def test_a_killed_agent_takes_its_ranks_and_the_run_with_it(lab):
    root = lab.start(
        {"rank": 2, "step": 1, "do": "fork", "ignore_term": True, "session": True, "attempt": 1},
        epochs=5000,
    )
    lab.wait_for(root, "epoch_finished")
    os.kill(lab.agent_pid("beta"), signal.SIGKILL)
    failure = lab.failed(root, kind="node", node="beta", rank=None)
    assert "agent" in failure["meaning"]
    lab.whole(root)
    lab.resume_to_end(root)


def test_a_killed_supervisor_is_replaced_and_catches_up(lab):
    root = lab.start_endless(step_s=0.08)
    lab.wait_for(root, "epoch_finished")
    lab.kill_supervisor(root)
    lab.until(lambda: not run_lock.is_supervised(root))
    log = "attempts/001/ranks/0003/log.txt"
    there, here = lab.node_file(root, "beta", log), root / log
    # The ranks continue: a few steps are on the node and not here.
    lab.until(lambda: there.stat().st_size > here.stat().st_size + 500)
    assert "its supervisor is gone" in lab.command("status", root.name).stderr
    assert client.connect(root)
    assert "running" in lab.command("status", root.name).stdout
    steps = lab.enough(root)
    lab.whole(root)
    lab.check_steps(root, 0, steps)


def test_an_sshd_that_is_killed_and_comes_back_costs_nothing(lab):
    root = lab.start_endless(step_s=0.08)
    lab.wait_for(root, "epoch_finished")
    lab.hosts["beta"].kill_sshd()
    away = lab.wait_for(root, "node_unreachable")
    assert away["node"] == "beta"
    assert list(client.open_run(root).poll_state().attempt.unreachable) == ["beta"]
    lab.hosts["beta"].start_sshd()
    assert lab.wait_for(root, "node_reached")["node"] == "beta"
    steps = lab.enough(root)
    lab.whole(root)
    lab.check_steps(root, 0, steps)


@both_transports
def test_a_node_that_is_cut_off_and_back_in_time_goes_on(lab):
    root = lab.start_endless(step_s=0.05)
    lab.wait_for(root, "epoch_finished")
    lab.hosts["beta"].link_down()
    assert lab.wait_for(root, "node_unreachable")["node"] == "beta"
    lab.hosts["beta"].link_up()
    assert lab.wait_for(root, "node_reached")["silent_s"] > 1
    steps = lab.enough(root)
    lab.whole(root)
    lab.check_steps(root, 0, steps)


def test_a_node_that_is_cut_off_too_long_fails_the_run_and_is_ended_when_it_is_back(lab):
    root = lab.start(epochs=5000, unreachable_s=UNREACHABLE_S)
    lab.wait_for(root, "epoch_finished")
    lab.hosts["beta"].link_down()
    failure = lab.failed(root, kind="node", node="beta", rank=None)
    assert "beta has not answered" in failure["meaning"]
    lab.until(lambda: "alpha" not in lab.left())
    assert lab.left()["beta"]
    lab.hosts["beta"].link_up()
    lab.whole(root)
    lab.resume_to_end(root)


def _other_host_key(lab):
    path = lab.hosts.home / ".ssh/known_hosts"
    keys = [line.split() for line in path.read_text().splitlines()]
    other = next(key for host, _, key, *_ in keys if host != lab.hosts["beta"].address)
    lines = [
        f"{host} {kind} {other if host == lab.hosts['beta'].address else key}\n"
        for host, kind, key, *_ in keys
    ]
    path.write_text("".join(lines))


def _no_key(lab):
    (lab.hosts["beta"].home / ".ssh/authorized_keys").unlink()


REASONS = {
    "host key": (_other_host_key, "has changed: known SHA256:"),
    "key": (_no_key, "accepts none of your keys"),
    "sshd": (lambda lab: None, "Connection refused"),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_ssh_reports_is_in_the_event_the_status_and_the_failure(lab, name):
    change, text = REASONS[name]
    beta = lab.hosts["beta"]
    keys = (beta.home / ".ssh/authorized_keys").read_bytes()
    known = (lab.hosts.home / ".ssh/known_hosts").read_bytes()
    root = lab.start(epochs=5000, unreachable_s=12)
    lab.wait_for(root, "epoch_finished")
    try:
        change(lab)
        # The listener stays where a login has to say why it fails.
        beta.kill_sshd() if name == "sshd" else beta.kill_sessions()
        lab.until(lambda: any(text in e["why"] for e in lab.events(root, "node_unreachable")))
        assert text in lab.card(root)
        assert text in lab.failed(root, kind="node", node="beta", rank=None)["meaning"]
    finally:
        (beta.home / ".ssh/authorized_keys").write_bytes(keys)
        (lab.hosts.home / ".ssh/known_hosts").write_bytes(known)
        lab.hosts.repair()
    lab.whole(root)


def test_a_node_that_nobody_reaches_ends_its_ranks_by_itself(lab):
    root = lab.start(epochs=5000, unreachable_s=UNREACHABLE_S, orphan_limit_s=4)
    lab.wait_for(root, "epoch_finished")
    lab.hosts["beta"].link_down()
    lab.failed(root, node="beta")
    lab.until(lambda: not [s for s in lab.left().get("beta", ()) if "-m effnet" in s.command])
    lab.hosts["beta"].link_up()
    lab.whole(root)


def test_a_stopped_rank_is_named_silent(lab):
    root = lab.start(epochs=5000, silent_min_s=3)
    lab.wait_for(root, "epoch_finished")
    pid = lab.rank_pid(root, 2)
    os.kill(pid, signal.SIGSTOP)
    silent = lab.wait_for(root, "rank_silent")
    proof.blames(silent, rank=2, node="beta")
    taken = lab.wait_for(root, "stacks_taken")
    # Where py-spy is installed, with the line.
    assert taken["words"].startswith("3 ranks wait in the all-reduce; rank 2 is stopped ")
    assert taken["outliers"] == [2]
    copy = root / "attempts/001/ranks/0003/stacks.log"
    lab.until(lambda: copy.exists() and b"most recent call first" in copy.read_bytes())
    shown = [line.split()[:3] for line in lab.card(root).splitlines()]
    assert [row for row in shown if row[-1:] == ["silent"]] == [["2", "beta", "silent"]]
    os.kill(pid, signal.SIGCONT)
    assert lab.wait_for(root, "rank_recovered")["rank"] == 2
    assert {e["rank"] for e in lab.events(root, "rank_silent")} == {2}
    client.stop(root)
    stopped = lab.end_of(root)
    assert stopped["kind"] == "attempt_stopped"
    lab.whole(root)
    assert lab.resume_to_end(root).step == stopped["step"]


def test_ranks_that_ignore_sigterm_go_with_their_grandchildren(lab):
    faults = [{"rank": rank, "step": 1, "do": "ignore_term", "attempt": 1} for rank in range(4)]
    forks = [
        {"rank": rank, "step": 1, "do": "fork", "ignore_term": True, "session": rank % 2 == 1}
        for rank in range(4)
    ]
    root = lab.start(*faults, *forks, epochs=5000)
    lab.wait_for(root, "epoch_finished")
    client.stop(root, client.StopRequest(save=False))
    stopped = lab.end_of(root)
    assert (stopped["kind"], stopped["leftover"]) == ("attempt_stopped", [])
    assert "stopped" in lab.card(root)
    lab.whole(root)
    lab.resume_to_end(root)


def test_a_disk_that_is_full_at_a_checkpoint(lab):
    """Room for two of three checkpoints; the logs are elsewhere."""
    alpha = lab.hosts["alpha"]
    alpha.run("mkdir", "-p", "/tmp/small")
    alpha.run("mount", "-t", "tmpfs", "-o", "size=260k", "tmpfs", "/tmp/small")
    try:
        root = lab.start(checkpoints="/tmp/small", epochs=5)
        failure = lab.failed(root, rank=0, node="alpha", kind="data")
        assert "full" in failure["meaning"]
        assert [e["step"] for e in lab.events(root, "checkpoint_saved")] == [10, 20]
        lab.whole(root)
        alpha.run("mount", "-o", "remount,size=10m", "/tmp/small")
        assert lab.resume_to_end(root, checkpoints="/tmp/small").step == 20
    finally:
        alpha.run("umount", "--lazy", "/tmp/small")


def test_a_half_written_newest_checkpoint_is_passed_over(lab):
    root = lab.start(
        {"rank": 0, "step": 20, "do": "half_checkpoint", "attempt": 1},
        {"rank": 3, "step": 24, "do": "kill", "attempt": 1},
    )
    lab.failed(root, rank=3, node="beta", signal=signal.SIGKILL)
    lab.whole(root)
    # One that lacks its manifest: the power went while it was written.
    lab.node_file(root, "alpha", "checkpoint/step-00000023.ckpt").write_bytes(b"a part")
    choice = lab.resume_to_end(root, epochs=2)
    assert choice.step == 10
    why = {Path(skipped.path).name: skipped.why for skipped in choice.skipped}
    assert "sha256" in why["step-00000020.ckpt"]
    assert "manifest" in why["step-00000023.ckpt"]


def test_the_terminal_of_the_client_closes(lab):
    main, side = pty.openpty()
    argv = [sys.executable, "-m", "launcher.cli.app", "start"]
    argv += [str(lab.profile(epochs=5000, enough=ENOUGH)), "--follow"]
    with subprocess.Popen(
        argv,
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(side)
        lab.until(lambda: lab.runs.is_dir() and any(lab.runs.iterdir()))
        root = next(lab.runs.iterdir())
        lab.wait_for(root, "training_started")
        os.close(main)
        assert process.wait(LIMIT_S) != 0
    steps = lab.enough(root)
    assert "finished" in lab.card(root)
    lab.whole(root)
    lab.check_steps(root, 0, steps)


def test_an_agent_that_is_stopped_fails_the_run_and_its_ranks_are_ended_without_it(lab):
    root = lab.start(epochs=5000, unreachable_s=8)
    lab.wait_for(root, "epoch_finished")
    os.kill(lab.agent_pid("beta"), signal.SIGSTOP)
    assert "does not answer" in lab.wait_for(root, "node_unreachable")["why"]
    failure = lab.failed(root, kind="node", node="beta", rank=None)
    assert "beta" in failure["meaning"]
    lab.nothing_left()
    assert not lab.events(root, "node_reached")
    lab.resume_to_end(root)


def test_two_starts_of_one_profile_at_once_do_not_meet(lab):
    profile = str(lab.profile())
    argv = [sys.executable, "-m", "launcher.cli.app", "start", profile, "--json"]
    with contextlib.ExitStack() as stack:
        starts = [
            stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        said = [start.communicate(timeout=LIMIT_S)[0] for start in starts]
    assert [start.returncode for start in starts] == [0, 0], said
    roots = [lab.runs / json.loads(text)["run"] for text in said]
    assert roots[0] != roots[1]
    for root in roots:
        assert lab.end_of(root)["kind"] == "attempt_finished"
    for root in roots:
        lab.whole(root)
        lab.check_steps(root, 0, 30)


def test_a_rank_that_compiles_for_a_minute_is_neither_silent_nor_ended(compiling):
    """It began with the first test of this module."""
    background, root = compiling
    assert background.end_of(root, 2 * COMPILE_S + 60)["kind"] == "attempt_finished"
    content = (root / "attempts/001/ranks/0003/metrics.bin").read_bytes()
    # By its own clock: it says when each step was done.
    done_s = [record.time_s for record in unpack(content)]
    assert max(b - a for a, b in pairwise(done_s)) > COMPILE_S - 1
    silent = background.events(root, "rank_silent")
    assert not silent, silent
    background.whole(root)
    background.check_steps(root, 0, 20)


def test_a_node_that_starts_python_slowly_is_reached_again(lab):
    """Under load, or from a slow disk: tries that are all given up too soon would never end."""
    for host in ("alpha", "beta"):
        python = lab.hosts[host].home / "python"
        python.write_text(f'#!/bin/sh\n[ ! -e ~/slow ] || sleep 7\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
    root = lab.start(epochs=5000, python="~/python")
    lab.wait_for(root, "epoch_finished")
    (lab.hosts["beta"].home / "slow").touch()
    lab.hosts["beta"].kill_sshd()
    lab.hosts["beta"].start_sshd()
    assert lab.wait_for(root, "node_reached")["node"] == "beta"
    client.stop(root)
    assert lab.end_of(root)["kind"] == "attempt_stopped"
    lab.whole(root)
