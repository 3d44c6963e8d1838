"""What has imported for the ranks waits for the next attempt, as long as it is wanted."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from launcher import client
from launcher.errors import BusyError
from launcher.ipc.endpoint import read_address
from launcher.process import ownership
from launcher.store.run_lock import is_supervised
from tests.freezing import freeze

FAILS = {"rank": 1, "step": 3, "attempt": 1, "do": "exit", "code": 7}
NEVER_S = 3600
HERE = "127.0.0.1"
LIMIT_S = 120


def is_parent(process: psutil.Process) -> bool:
    """Whether it forks ranks. The command of a rank is another one."""
    try:
        return process.cmdline()[3:4] == ["launcher.fork"]
    except psutil.Error:
        return False


def parents(lab) -> list[psutil.Process]:
    return [process for process in lab.ours() if is_parent(process)]


def failed(lab, **changes) -> tuple[Path, psutil.Process]:
    """A run whose first attempt has failed, and whose supervisor is gone; and what it keeps."""
    root = lab.start(FAILS, **{"keep_warm_s": NEVER_S, "epochs": 1000, **changes})
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: not is_supervised(root))
    (parent,) = parents(lab)
    return root, parent


def resume(lab, root: Path) -> None:
    request = client.ResumeRequest(preflight=False, checkpoint="scratch")
    client.resume(root, request)
    lab.wait_for(root, "training_started", count=2)


def stop(lab, root: Path) -> None:
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")
    lab.nothing_left()


def log(root: Path) -> str:
    return (root / "supervisor.log").read_text()


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_resume_takes_over_what_has_imported(lab):
    root, parent = failed(lab)
    agent = parent.ppid()
    resume(lab, root)
    assert parents(lab) == [parent]
    for rank in 0, 1:
        pid = lab.pid_of(root, rank, 2)
        assert psutil.Process(pid).ppid() == agent
        assert ownership.variable_of(pid, "RANK_ID") == str(rank)
        assert (ownership.variable_of(pid, "EFFNET_TOKEN") or "").endswith(f"{root.name}/002")
    lab.kill_supervisor(root)
    os.kill(lab.pid_of(root, 1, 2), signal.SIGKILL)
    lab.nothing_left()
    assert "3600 s for the next attempt" in log(root)
    assert "kept warm is not used" not in log(root)


def test_an_automatic_attempt_takes_over_and_a_finished_run_keeps_nothing(lab):
    root = lab.start(FAILS, keep_warm_s=NEVER_S, auto_resume=1)
    assert lab.wait_for(root, "attempt_finished", "gave_up")["kind"] == "attempt_finished"
    lab.nothing_left()
    (ended,) = (e for e in lab.events(root, "rank_exited") if e["exit_code"] == 7)
    assert ended["rank"] == 1
    assert {e["exit_code"] for e in lab.events(root, "rank_exited") if e["attempt"] == 2} == {0}
    assert not (root / f"attempts/002/agents/{HERE}.log").read_text()
    assert "3600 s for the next attempt" in log(root)
    assert "kept warm is not used" not in log(root)


def test_people_see_what_waits_and_stop_ends_it(lab):
    root, parent = failed(lab)
    ended_s = lab.events(root, "attempt_failed")[0]["t"]
    (kept,) = lab.events(root, "processes_kept")
    assert [process["pid"] for process in kept["processes"]] == [parent.pid]
    assert kept["until_s"] == pytest.approx(ended_s + NEVER_S, abs=LIMIT_S)
    until = time.strftime("%H:%M", time.localtime(kept["until_s"]))
    words = f"1 process on {HERE} waits until {until} for the next attempt"
    shown = lab.command("status", root.name).stdout
    assert f"{words}: effnet-launch resume {root.name} uses it" in shown
    assert f"effnet-launch stop {root.name} ends it" in shown
    found = json.loads(lab.command("status", root.name, "--json").stdout)["kept"]
    assert found["until_s"] == kept["until_s"]
    assert [process["pid"] for process in found["processes"]] == [parent.pid]
    (listed,) = json.loads(lab.command("runs", "--json").stdout)
    assert listed["kept_until_s"] == kept["until_s"]
    doctor = lab.command("doctor", "--target", "CPU")
    assert f"{root.name}: {words}" in doctor.stdout
    done = lab.command("stop", root.name)
    assert (done.returncode, done.stdout) == (0, f"ended: 1 process on {HERE}\n")
    lab.nothing_left()
    assert lab.events(root, "processes_kept")[1]["processes"] == []
    assert "waits until" not in lab.command("status", root.name).stdout
    assert lab.command("stop", root.name).returncode == BusyError.exit_code


def test_nobody_is_shown_what_was_killed(lab):
    root, parent = failed(lab)
    assert client.open_run(root).poll().kept
    parent.kill()
    lab.until(lambda: has_ended(parent))
    assert client.open_run(root).poll().kept is None
    lab.nothing_left()


@pytest.mark.parametrize("how", ["agent", "both", "stop", "prune", "clean"])
def test_what_is_kept_ends(lab, how):
    root, _ = failed(lab)
    guard, agent = lab.agent_pids()
    match how:
        case "agent":
            os.kill(agent, signal.SIGKILL)
        case "both":
            freeze(guard)
            os.kill(agent, signal.SIGKILL)
            os.kill(guard, signal.SIGKILL)
        case "stop":
            client.stop(root)
        case "prune":
            assert client.prune([root]) == ([root.name], [])
        case "clean":
            with client.connections() as nodes:
                found = client.find_leftovers(nodes, here_only=True)
                # Not what tests beside this one have left for a moment.
                own = tuple(item for item in found[""].strays if item.run == root.name)
                assert len(own) == 1
                assert own[0].what.startswith(f"a warm process of {HERE}: MindSpore is imported")
                only = {"": replace(found[""], strays=own)}
                assert client.clean(nodes, only)[""].strays == ()
    lab.nothing_left()


def test_it_ends_after_its_limit(lab):
    root = lab.start(FAILS, keep_warm_s=0.5)
    lab.wait_for(root, "attempt_failed")
    lab.nothing_left()


def test_it_ends_by_its_own_clock_while_all_others_are_stopped(lab):
    """The supervisor says nothing after the failure, and the agent does nothing."""
    root = lab.start(keep_warm_s=3, epochs=1000)
    lab.wait_for(root, "training_started")
    (parent,) = parents(lab)
    agent, supervisor = psutil.Process(parent.ppid()), psutil.Process(lab.supervisor_pid(root))
    freeze(supervisor.pid)
    os.kill(lab.pid_of(root, 1), signal.SIGKILL)
    file = root / f"attempts/001/agents/{HERE}.json"
    lab.until(lambda: (address := read_address(file)) and address.warm_until_s)
    freeze(agent.pid)
    lab.until(lambda: has_ended(parent))
    agent.resume()
    supervisor.resume()
    lab.nothing_left()


def test_a_run_that_gave_up_keeps_nothing(lab):
    again = [{**FAILS, "attempt": attempt} for attempt in (1, 2)]
    root = lab.start(*again, keep_warm_s=NEVER_S, auto_resume=1)
    lab.wait_for(root, "gave_up")
    lab.nothing_left()


def test_a_run_that_was_stopped_keeps_nothing(lab):
    root = lab.start(keep_warm_s=NEVER_S, epochs=1000)
    lab.wait_for(root, "training_started")
    stop(lab, root)


@pytest.mark.parametrize("how", ["kill", "environment", "agent"])
def test_what_cannot_be_used_hurts_nobody(lab, how):
    root, parent = failed(lab)
    if how == "environment":
        profile = json.loads((root / "profile.json").read_text())
        profile["environment"]["STANDIN_MARK"] += "x"
        (root / "profile.json").write_text(json.dumps(profile))
    elif how == "kill":
        parent.kill()
    else:
        freeze(lab.agent_pids()[1])
    resume(lab, root)
    lab.until(lambda: has_ended(parent))
    assert [process != parent for process in parents(lab)] == [True]
    if how == "environment":
        assert f"what {HERE} kept warm is not used: the environment differs: STANDIN_MARK" in log(
            root
        )
    stop(lab, root)
