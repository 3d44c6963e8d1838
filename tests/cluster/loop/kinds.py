"""The kinds of faults. Each starts a run, does its harm, and returns how the run must end.

The outcome follows from the fault alone; nothing is asked of the product.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.cluster.loop.scene import FOUR, Expected, Scene, WrongError, failed

INTERRUPTED, REFUSED = 130, 4
CLIENT_S = 120.0
UNREACHABLE_S = 3.0
"""Of runs that lose a node."""

Kind = Callable[[Scene], Expected | None]


def rank_killed(scene: Scene) -> Expected:
    scene.start()
    scene.moment()
    rank = scene.random.choice(scene.ranks)
    scene.kill(scene.lab.rank_pid(scene.root, rank))
    return failed(rank=rank, node=scene.node_of(rank), kind="signal", signal=9)


def rank_frozen(scene: Scene) -> Expected:
    """Named as silent; then it goes on, or the run fails because the profile says so."""
    ends = scene.random.random() < 0.5
    scene.start(silent_min_s=4, on_silent="stop" if ends else "report")
    scene.training()
    rank = scene.random.choice(scene.ranks)
    scene.freeze(scene.lab.rank_pid(scene.root, rank))
    if ends:
        return failed(rank=rank, node=scene.node_of(rank), kind="hang")
    scene.lab.wait_for(scene.root, "rank_silent")
    scene.thaw()
    scene.lab.wait_for(scene.root, "rank_recovered")
    named = {(e["rank"], e["node"]) for e in scene.lab.events(scene.root, "rank_silent")}
    if named != {(rank, scene.node_of(rank))}:
        raise WrongError("cause", f"silent: {named}, frozen: {rank}, {scene.node_of(rank)}")
    return scene.survives()


def agent_killed(scene: Scene) -> Expected:
    scene.start()
    scene.moment()
    node = scene.node()
    scene.kill(scene.lab.agent_pid(node))
    return failed(kind="node", node=node, rank=None)


def agent_frozen(scene: Scene) -> Expected:
    scene.start(unreachable_s=4)
    scene.moment()
    node = scene.node()
    scene.freeze(scene.lab.agent_pid(node))
    return failed(kind="node", node=node, rank=None)


def guard_killed(scene: Scene) -> Expected:
    """It only waits: nothing changes."""
    scene.start()
    scene.moment()
    scene.kill(scene.lab.guard_pid(scene.node()))
    return scene.survives()


def guard_frozen(scene: Scene) -> Expected:
    scene.start()
    scene.moment()
    scene.freeze(scene.lab.guard_pid(scene.node()))
    return _thawed_at_some_time(scene)


def scheduler_killed(scene: Scene) -> Expected:
    scene.start()
    scene.moment()
    scene.kill(scene.helper("alpha", "effnet.scheduler"))
    return failed(kind="signal", node="alpha", rank=None, signal=9)


def scheduler_frozen(scene: Scene) -> Expected:
    """All ranks wait in the same all-reduce: none of them may be named."""
    scene.start(silent_min_s=2)
    scene.training()
    scene.freeze(scene.helper("alpha", "effnet.scheduler"))
    scene.sleep(1, 5, "frozen for")
    scene.thaw()
    end = scene.survives()
    if silent := scene.lab.events(scene.root, "rank_silent"):
        raise WrongError("cause", f"ranks are named silent: {silent}")
    return end


def supervisor_killed(scene: Scene) -> Expected:
    """Ranks train on, and the next client replaces it; or nobody looks, and its parent does."""
    from launcher import client

    is_looked_at = scene.random.random() < 2 / 3
    scene.start(supervisor_restart_s=600 if is_looked_at else 0.5)
    if scene.random.random() < 1 / 2:
        scene.sleep(0, 2.5, "after the start:")
    else:
        scene.training()
    scene.kill(scene.lab.supervisor_pid(scene.root))
    if is_looked_at:
        scene.sleep(0, 2, "nobody looked for")
        if scene.random.random() < 1 / 3:
            return scene.stop(save=scene.random.random() < 0.5)
        client.connect(scene.root)
    return scene.survives()


def supervisor_frozen(scene: Scene) -> Expected:
    scene.start()
    scene.moment()
    scene.freeze(scene.lab.supervisor_pid(scene.root))
    scene.sleep(0.2, 12, "frozen for")
    scene.thaw()
    return scene.survives()


def sshd_killed(scene: Scene) -> Expected:
    """Connections end. Nothing that trains depends on them."""
    scene.start()
    scene.moment()
    node = scene.node()
    scene.begin_fault()
    scene.lab.hosts[node].kill_sessions()
    return scene.survives()


def node_off(scene: Scene) -> Expected:
    scene.start(unreachable_s=UNREACHABLE_S)
    scene.moment()
    node = scene.node()
    scene.begin_fault()
    scene.lab.hosts[node].power_off()
    return failed(kind="node", node=node, rank=None)


def node_cut_off(scene: Scene) -> Expected:
    """For less than the limit, or for longer."""
    is_short = scene.random.random() < 0.5
    scene.start(unreachable_s=60 if is_short else UNREACHABLE_S)
    scene.moment()
    node = scene.node()
    scene.begin_fault()
    scene.lab.hosts[node].link_down()
    if not is_short:
        return failed(kind="node", node=node, rank=None)
    scene.sleep(0.2, 7, "cut off for")
    scene.lab.hosts[node].link_up()
    return scene.survives()


def node_slow(scene: Scene) -> Expected:
    """A link that delays and drops; for a while, or to the end."""
    scene.start()
    scene.moment()
    node = scene.node()
    scene.begin_fault()
    scene.lab.hosts[node].slow_down(scene.random.choice((128, 256, 512)))
    if scene.random.random() < 0.5:
        scene.sleep(0.5, 3, "slow for")
        scene.lab.hosts[node].link_speed()
    return scene.survives()


def orted_killed(scene: Scene) -> Expected:
    scene.start()
    scene.moment()
    node = scene.node(*FOUR[1:])
    scene.kill(scene.helper(node, "orted"))
    return failed(kind="signal", node=node, rank=None, signal=9)


def orted_frozen(scene: Scene) -> Expected:
    scene.start()
    scene.moment()
    scene.freeze(scene.helper(scene.node(*FOUR[1:]), "orted"))
    return _thawed_at_some_time(scene)


def mpirun_killed(scene: Scene) -> Expected:
    scene.start()
    scene.moment()
    scene.kill(scene.helper("alpha", "mpirun"))
    return failed(kind="signal", node="alpha", rank=None, signal=9)


def mpirun_frozen(scene: Scene) -> Expected:
    scene.start()
    scene.moment()
    scene.freeze(scene.helper("alpha", "mpirun"))
    return _thawed_at_some_time(scene)


def _thawed_at_some_time(scene: Scene) -> Expected:
    """Nobody needs it while training goes on: it may stay frozen to the end."""
    if scene.random.random() < 0.5:
        scene.notes.append("frozen to the end")
        return scene.survives()
    scene.sleep(0.5, 3, "frozen for")
    scene.thaw()
    return scene.survives()


def stop(scene: Scene) -> Expected:
    """At a random moment of the start."""
    scene.start()
    scene.sleep(0, 4, "stopped after")
    arguments = ["stop", scene.root.name]
    if scene.random.random() < 0.5:
        arguments.append("--no-save")
    scene.begin_fault()
    done = scene.lab.command(*arguments, timeout_s=CLIENT_S)
    if done.returncode != 0:
        raise WrongError("state", f"stop: exit code {done.returncode}: {done.stdout}{done.stderr}")
    return Expected("attempt_stopped")


def resume(scene: Scene) -> Expected:
    """Of a run that starts: refused. Of one that was just told to stop: refused, or resumed."""
    from launcher import client

    scene.start()
    is_stopped = scene.random.random() < 0.5
    if is_stopped:
        scene.lab.wait_for(scene.root, "checkpoint_saved")
        scene.stop()
        scene.sleep(0, 1.5, "resumed after")
    else:
        scene.sleep(0, 3, "resumed after")
    scene.begin_fault()
    done = scene.lab.command("resume", scene.root.name, "--no-preflight", timeout_s=CLIENT_S)
    said = f"resume: exit code {done.returncode}: {done.stdout}{done.stderr}"
    if done.returncode == REFUSED:
        return Expected("attempt_stopped") if is_stopped else scene.survives()
    if not is_stopped or done.returncode != 0:
        raise WrongError("state", said)
    assert client.open_run(scene.root).poll_state().attempt is not None
    return scene.survives()


def interrupt(scene: Scene) -> Expected | None:
    """Ctrl-C at a random moment of `start` or `resume`: it says what was done, and that holds."""
    if scene.random.random() < 0.5:
        scene.notes.append("start")
        return _interrupt_start(scene)
    scene.notes.append("resume")
    scene.start()
    scene.lab.wait_for(scene.root, "checkpoint_saved")
    scene.stop()
    scene.lab.end_of(scene.root)
    said = _interrupted(scene, "resume", scene.root.name, "--no-preflight")
    if scene.attempts() == 1:
        _must_say(said, "", scene)
        return Expected("attempt_stopped")
    _must_say(said, scene.root.name, scene)
    return scene.survives()


def _interrupt_start(scene: Scene) -> Expected | None:
    said = _interrupted(scene, "start", str(scene.profile()), "--no-preflight")
    runs = list(scene.lab.runs.iterdir()) if scene.lab.runs.is_dir() else []
    if not runs:
        _must_say(said, "", scene)
        return None
    (scene.root,) = runs
    _must_say(said, scene.root.name, scene)
    return scene.survives()


def _interrupted(scene: Scene, *arguments: str) -> str:
    process = scene.popen(*arguments)
    scene.sleep(0.1, 4, "Ctrl-C after")
    scene.begin_fault()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=CLIENT_S)
    if process.returncode not in (INTERRUPTED, -signal.SIGINT, 0):
        raise WrongError("state", f"exit code {process.returncode} after Ctrl-C: {said}")
    return said


def _must_say(said: str, run: str, scene: Scene) -> None:
    # One without our code is Python's own: it was still starting.
    is_ours = "Traceback" in said and "/launcher/cli/" in said
    if is_ours or (run and run not in said):
        raise WrongError("state", f"Ctrl-C of {scene.notes}: {run or 'no run'} is there: {said!r}")


EVERYWHERE: dict[str, Kind] = {
    "rank killed": rank_killed,
    "rank frozen": rank_frozen,
    "agent killed": agent_killed,
    "agent frozen": agent_frozen,
    "guard killed": guard_killed,
    "guard frozen": guard_frozen,
    "scheduler killed": scheduler_killed,
    "scheduler frozen": scheduler_frozen,
    "supervisor killed": supervisor_killed,
    "supervisor frozen": supervisor_frozen,
    "sshd sessions killed": sshd_killed,
    "node off": node_off,
    "node cut off": node_cut_off,
    "node slow": node_slow,
    "stop": stop,
    "resume": resume,
    "interrupt": interrupt,
}
WITH_MPIRUN: dict[str, Kind] = {
    "orted killed": orted_killed,
    "orted frozen": orted_frozen,
    "mpirun killed": mpirun_killed,
    "mpirun frozen": mpirun_frozen,
}
KINDS = {**EVERYWHERE, **WITH_MPIRUN}
