"""What goes wrong with real processes and real signals: the right cause, and nothing left."""

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
import termios
import time

import psutil
import pytest

from launcher import client
from launcher.runs import control, start


def failure_of(lab, root):
    """The failure, when the attempt has failed."""
    event = lab.wait_for(root, "attempt_failed", "attempt_finished", "attempt_stopped")
    assert event["kind"] == "attempt_failed", event
    return event["failure"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_fails_the_run_at_once(lab, rank):
    root = lab.start(ranks=3, epochs=100)
    lab.wait_for(root, "training_started")
    os.kill(lab.pid_of(root, rank), signal.SIGKILL)
    killed = time.time()
    failure = failure_of(lab, root)
    assert (
        lab.events(root, "attempt_failed")[0]["t"] - killed < 10
    )  # a tenth of it is usual: the launcher benchmarks measure it
    lab.nothing_left()
    assert failure["rank"] == rank
    assert failure["signal"] == signal.SIGKILL
    assert failure["kind"] == "signal"
    assert failure["node"] == "127.0.0.1"
    assert sorted(failure["followers"]) == [r for r in range(3) if r != rank]
    assert failure["last_lines"]
    assert len(lab.events(root, "rank_exited")) == 3
    card = lab.command("status", root.name).stdout
    assert f"rank {rank}" in card
    assert "SIGKILL" in card


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"do": "raise", "text": "no such luck"}, "crash", "no such luck"),
        ({"do": "fault", "kind": "loss"}, "loss", ""),
        ({"do": "segv"}, "crash", "SIGSEGV"),
        ({"do": "exit", "code": 3}, "data", ""),
    ],
)
def test_a_rank_that_ends_by_itself_is_named_with_its_cause(lab, fault, kind, words):
    root = lab.start({"rank": 1, "step": 5, **fault})
    failure = failure_of(lab, root)
    assert (failure["rank"], failure["kind"]) == (1, kind)
    assert words in failure["meaning"]
    if fault["do"] == "raise":
        assert "RuntimeError: no such luck" in failure["traceback"][-1]
    lab.nothing_left()


def test_a_start_that_fails_early_exits_1_with_the_cause(lab):
    done = lab.command("start", str(lab.profile({"rank": 0, "do": "raise", "text": "bad start"})))
    assert done.returncode == 1
    assert "bad start" in done.stdout
    assert "Traceback (most recent call last)" not in done.stderr


def test_an_agent_that_is_killed_takes_its_ranks_with_it(lab):
    root = lab.start(
        {"rank": 0, "step": 1, "do": "fork", "ignore_term": True, "session": True},
        {"rank": 1, "step": 1, "do": "ignore_term"},
        epochs=100,
    )
    lab.wait_for(root, "training_started")
    time.sleep(0.2)
    _, agent = lab.agent_pids()
    os.kill(agent, signal.SIGKILL)
    lab.nothing_left()
    failure = failure_of(lab, root)
    assert failure["kind"] == "node"
    assert "agent" in failure["meaning"]
    assert len(lab.events(root, "rank_exited")) == 2


def test_an_agent_that_is_told_to_end_saves_first(lab):
    """As at a shutdown: SIGTERM to everybody, and then some time."""
    root = lab.start(epochs=100)
    lab.wait_for(root, "training_started")
    os.kill(lab.agent_pids()[0], signal.SIGTERM)
    stopped = lab.wait_for(root, "attempt_stopped", "attempt_failed")
    assert stopped["kind"] == "attempt_stopped"
    assert lab.events(root, "checkpoint_saved")[-1]["step"] == stopped["step"]


def test_agent_and_warden_killed_together_leave_nothing(lab):
    root = lab.start(epochs=100)
    lab.wait_for(root, "training_started")
    for pid in lab.agent_pids():
        os.kill(pid, signal.SIGKILL)
    assert failure_of(lab, root)["kind"] == "node"
    lab.nothing_left()


def test_a_supervisor_that_is_killed_is_replaced_without_a_lost_or_doubled_line(lab):
    root = lab.start(step_s=0.05, epochs=6)
    lab.wait_for(root, "epoch_finished")
    os.kill(lab.supervisor_pid(root), signal.SIGKILL)
    lab.until(lambda: not start.is_supervised(root))
    before = len(lab.events(root))
    lab.until(lambda: lab.log(root, 0).count(b"epoch ") >= 3)
    assert len(lab.events(root)) == before
    done = lab.command("status", root.name)
    assert "replaced" in done.stderr
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert [e["epoch"] for e in lab.events(root, "epoch_finished")] == [1, 2, 3, 4, 5, 6]
    assert [e["step"] for e in lab.events(root, "checkpoint_saved")] == [10, 20, 30, 40, 50, 60]
    assert [e["n"] for e in lab.events(root)] == list(range(1, len(lab.events(root)) + 1))
    assert lab.check_metrics(root, 0) == lab.check_metrics(root, 1) == list(range(60))
    replaced = lab.events(root, "supervisor_started")
    assert [e["replaced"] for e in replaced] == [None, replaced[0]["pid"]]


def test_a_run_that_ended_while_nobody_supervised_is_caught_up(lab):
    root = lab.start(step_s=0.03)
    lab.wait_for(root, "training_started")
    os.kill(lab.supervisor_pid(root), signal.SIGKILL)
    lab.until(lambda: b"done: " in lab.log(root, 1))
    assert lab.command("status", root.name).returncode == 0
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert [e["epoch"] for e in lab.events(root, "epoch_finished")] == [1, 2, 3]
    assert len(lab.events(root, "rank_exited")) == 2


def test_a_rank_dies_while_nobody_supervises(lab):
    root = lab.start(step_s=0.03, epochs=100)
    lab.wait_for(root, "training_started")
    os.kill(lab.supervisor_pid(root), signal.SIGKILL)
    os.kill(lab.pid_of(root, 1), signal.SIGKILL)
    # The agent acts by itself.
    lab.until(lambda: not psutil.pid_exists(lab.pid_of(root, 0)))
    assert lab.command("attach", root.name).returncode == 1
    assert failure_of(lab, root)["rank"] == 1


def test_everything_killed_at_once_as_by_a_power_cut(lab):
    root = lab.start(epochs=100)
    lab.wait_for(root, "checkpoint_saved")
    for process in lab.ours():
        with contextlib.suppress(psutil.NoSuchProcess):  # one may take another with it
            process.kill()
    lab.nothing_left()
    assert client.open_run(root).poll(time.time() + 60).status.value == "lost"
    assert lab.command("status", root.name).returncode == 0
    assert failure_of(lab, root)["kind"] == "node"
    lab.until(lambda: not start.is_supervised(root))
    assert client.resume_run(root).step >= 10
    client.stop_run(root, save=False)
    lab.wait_for(root, "attempt_stopped")


def test_an_agent_without_a_supervisor_saves_and_ends_after_its_limit(lab):
    root = lab.start(step_s=0.05, epochs=100, orphan_limit_s=1)
    lab.wait_for(root, "training_started")
    os.kill(lab.supervisor_pid(root), signal.SIGKILL)
    lab.until(lambda: b"stop: " in lab.log(root, 0))
    lab.nothing_left()
    assert lab.command("status", root.name).returncode == 0
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"


def test_a_stopped_process_is_named_silent_and_its_peers_are_not(lab):
    root = lab.start(ranks=3, epochs=200, silent_min_s=3)
    lab.wait_for(root, "epoch_finished")
    pid = lab.pid_of(root, 1)
    os.kill(pid, signal.SIGSTOP)
    silent = lab.wait_for(root, "rank_silent")
    assert silent["rank"] == 1
    os.kill(pid, signal.SIGCONT)
    assert lab.wait_for(root, "rank_recovered")["rank"] == 1
    assert {e["rank"] for e in lab.events(root, "rank_silent")} == {1}
    client.stop_run(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"


def test_a_process_that_is_stopped_while_it_compiles_is_silent_too(lab):
    root = lab.start({"rank": 1, "step": 12, "do": "compile", "seconds": 8}, silent_min_s=2)
    beat = root / "attempts/001/ranks/0001/heartbeat"
    lab.until(lambda: beat.exists() and b" compile " in beat.read_bytes())
    os.kill(lab.pid_of(root, 1), signal.SIGSTOP)
    silent = lab.wait_for(root, "rank_silent")
    assert (silent["rank"], silent["phase"]) == (1, "compile")
    os.kill(lab.pid_of(root, 1), signal.SIGCONT)
    lab.wait_for(root, "rank_recovered")
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert {event["rank"] for event in lab.events(root, "rank_silent")} == {1}


def test_a_hanging_rank_ends_the_attempt_where_the_policy_says_so(lab):
    root = lab.start(
        {"rank": 1, "step": 14, "do": "hang", "attempt": 1}, silent_min_s=1, on_silent="resume"
    )
    failure = failure_of(lab, root)
    assert (failure["kind"], failure["rank"]) == ("hang", 1)
    lab.wait_for(root, "attempt_finished", timeout_s=30)


def test_a_rank_that_compiles_long_is_not_called_silent(lab):
    root = lab.start({"rank": 1, "step": 12, "do": "compile", "seconds": 2.5}, silent_min_s=0.5)
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert lab.events(root, "rank_silent") == []


def test_the_scheduler_that_dies_is_named(lab):
    root = lab.start(epochs=100)
    lab.wait_for(root, "training_started")
    scheduler = next(p for p in lab.ours() if "effnet.scheduler" in p.cmdline())
    scheduler.kill()
    failure = failure_of(lab, root)
    assert failure["rank"] is None
    assert "scheduler" in failure["meaning"]
    lab.nothing_left()


def test_the_terminal_of_the_client_closes(lab):
    main, side = pty.openpty()

    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    argv = [
        sys.executable,
        "-m",
        "launcher.cli.app",
        "start",
        str(lab.profile(epochs=4, step_s=0.1)),
        "-f",
    ]
    with subprocess.Popen(
        argv,
        stdin=side,
        stdout=side,
        stderr=side,
        start_new_session=True,
        preexec_fn=take_terminal,
    ) as process:
        os.close(side)
        lab.until(lambda: lab.runs.is_dir() and any(lab.runs.iterdir()))
        root = next(lab.runs.iterdir())
        lab.wait_for(root, "training_started")
        os.close(main)
        assert process.wait(10) != 0
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"


def interruptible():
    """A shell that starts the tests in the background has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_says_that_the_run_goes_on(lab):
    argv = [
        sys.executable,
        "-m",
        "launcher.cli.app",
        "start",
        str(lab.profile(step_s=0.2)),
        "--follow",
    ]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible
    ) as process:
        lab.until(lambda: lab.runs.is_dir() and any(lab.runs.iterdir()))
        root = next(lab.runs.iterdir())
        lab.wait_for(root, "training_started")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert f"attach {root.name}" in output
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"


def test_the_runtime_folder_goes_away(lab, monkeypatch):
    """As at a logout: clients, and a supervisor that replaces another, still find everybody."""
    root = lab.start(epochs=12, step_s=0.05)
    lab.wait_for(root, "training_started")
    shutil.rmtree(os.environ["XDG_RUNTIME_DIR"])
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    os.kill(lab.supervisor_pid(root), signal.SIGKILL)
    lab.until(lambda: not start.is_supervised(root))
    assert "replaced" in lab.command("status", root.name).stderr
    client.stop_run(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"


def test_a_second_supervisor_is_refused(lab):
    root = lab.start(epochs=100)
    with pytest.raises(start.BusyError):
        control.spawn_supervisor(root)
    client.stop_run(root, save=False)
    lab.wait_for(root, "attempt_stopped")


def test_errors_of_users_are_no_tracebacks(lab):
    (lab.folder / "bad.toml").write_text("name = 3\n")
    for arguments, code in [
        (("start", str(lab.folder / "bad.toml")), 2),
        (("start", "no-such-profile"), 2),
        (("start", str(lab.profile()), "--set", "nonsense"), 2),
        (("status", "no-such-run"), 3),
        (("stop",), 3),
        (("no-such-command",), 2),
        (("profiles", "check", str(lab.folder / "bad.toml")), 2),
    ]:
        done = lab.command(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr


@pytest.mark.parametrize("profile", ["cpu-2-nodes-ssh", "gpu-2x8-mpirun", "ascend-2x8"])
def test_a_cluster_that_is_not_there_can_be_planned(lab, profile):
    assert json.loads(lab.command("plan", profile, "--json").stdout)["world_size"] > 1
    assert "rank 0" in lab.command("plan", profile).stdout


def test_a_node_that_is_not_there_is_named_before_anything_is_written(lab):
    text = (
        lab.profile().read_text().replace('"127.0.0.1"', '"127.0.0.1"\ntransport = "ssh"\nport = 1')
    )
    (lab.folder / "away.toml").write_text(text)
    done = lab.command("start", str(lab.folder / "away.toml"))
    assert done.returncode == 6, done.stderr
    assert "127.0.0.1:1 can't be reached" in done.stderr
    assert not lab.runs.exists()


def test_an_unwritable_runs_folder_is_a_clear_error(lab, monkeypatch):
    (lab.folder / "file").write_text("")
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(lab.folder / "file" / "runs"))
    for words, code in (((), 6), (("--no-preflight",), 1)):
        done = lab.command("start", str(lab.profile()), *words)
        assert done.returncode == code
        assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_fails_the_run_and_says_so(lab):
    lab.runs.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1000k", "tmpfs", str(lab.runs)]
    subprocess.run(mount, check=True)  # wants root, as the test hosts do
    try:
        root = lab.start(epochs=30)
        failure = failure_of(lab, root)
        assert failure["kind"] == "data"
        assert "full" in failure["meaning"]
        lab.nothing_left()
        lab.until(lambda: not start.is_supervised(root))
        for path in sorted((root / "checkpoint").glob("step-*"))[:4]:
            path.unlink()
        assert client.resume_choice(root).step >= 20
    finally:
        lab.end_all()
        subprocess.run(["umount", "--lazy", str(lab.runs)], check=True)


def test_clean_ends_what_nobody_watches(lab):
    root = lab.start(epochs=100)
    lab.wait_for(root, "training_started")
    rank = lab.pid_of(root, 0)
    assert json.loads(lab.command("clean", "--json").stdout)["found"] == []
    stray = subprocess.Popen(
        ["sleep", "300"],
        env={**os.environ, "EFFNET_TOKEN": "a-run-of-yesterday/001"},
        start_new_session=True,
    )
    try:
        found = json.loads(lab.command("clean", "--json").stdout)["found"]
        assert found == [stray.pid]
        assert lab.command("clean", "--yes").returncode == 0
        assert stray.wait(5) == -signal.SIGTERM
    finally:
        stray.kill()
    assert psutil.pid_exists(rank)
    client.stop_run(root, save=False)
    lab.wait_for(root, "attempt_stopped")
