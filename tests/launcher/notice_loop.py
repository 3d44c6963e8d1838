"""Random faults, and whether a service was told of each change once.

    python -m tests.launcher.notice_loop --count 100 --seed 1

Runs of the stand-in are broken again and again; the supervisor resumes them. Some faults kill the
supervisor itself, also while the service refuses what it sends. Afterwards the notices that the
run's events give are compared with what the service on the loopback received. A second copy of a
notice (the same id) is right only where a supervisor was killed after it was sent, and before that
was recorded.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from launcher import client
from launcher.core.diagnosis.notices import notice_of
from launcher.core.run.events import parse_event
from launcher.core.run.fold import apply
from launcher.core.run.state import RunState
from launcher.store import run_lock
from tests.launcher.conftest import Lab
from tests.launcher.webhook import Webhook

FAULTS_A_RUN = 8
SUPERVISOR_KILLS = 4  # its parent starts another one five times
RANKS = 2
RECORDED_S = 5.0
"""So long after it was sent a notice may not be recorded yet on a busy machine."""


@dataclass
class Result:
    """What became of the runs."""

    faults: Counter[str] = field(default_factory=Counter)
    notices: int = 0
    missing: int = 0
    unknown: int = 0
    duplicates: int = 0
    wrong_duplicates: int = 0
    delays_s: list[float] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        return not (self.missing or self.unknown or self.wrong_duplicates)


def expected(root: Path) -> dict[str, float]:
    """The id of each notice that the events give -> the time of its event."""
    state, found = RunState(), {}
    for line in (root / "events.jsonl").read_bytes().splitlines():
        event = parse_event(line)
        before, state = state, apply(state, event)
        notice = None if event is None else notice_of(event, before, state)
        if event is not None and notice is not None:
            found[notice.id] = event.t
    return found


def play_run(lab: Lab, hook: Webhook, draw: random.Random, count: int, result: Result) -> None:
    """One run with ``count`` faults, stopped at the end."""
    profile = lab.profile(
        auto_resume=1000, epochs=1000, steps=5, step_s=0.05, silent_min_s=2, supervisor_restart_s=1
    )
    text = profile.read_text().replace("auto_resume = 1000", "auto_resume = 1000\n{}")
    text = text.format("no_progress_limit = 1000")
    profile.write_text(f"{text}\n[notify]\nurls = [{hook.url!r}]\n")
    root = lab.runs / client.start(str(profile), client.StartRequest(preflight=False))
    hook.posts.clear()
    kills: list[float] = []
    for _ in range(count):
        attempts = len(lab.events(root, "attempt_started"))
        lab.wait_for(root, "training_started", count=attempts)
        lab.wait_for(root, "epoch_finished", count=len(lab.events(root, "epoch_finished")) + 1)
        names = ["rank killed", "rank frozen", "agent killed", "service refuses"]
        if len(kills) < SUPERVISOR_KILLS:
            names += ["supervisor killed", "supervisor killed while it sends"]
        fault = draw.choice(names)
        result.faults[fault] += 1
        rank = lab.pid_of(root, draw.randrange(RANKS), attempts)
        if fault == "rank frozen":
            seen = len(lab.events(root, "rank_silent"))
            os.kill(rank, signal.SIGSTOP)
            lab.wait_for(root, "rank_silent", count=seen + 1)
            seen = len(lab.events(root, "rank_recovered"))
            os.kill(rank, signal.SIGCONT)
            lab.wait_for(root, "rank_recovered", count=seen + 1)
            continue
        if fault == "supervisor killed":
            kills.append(kill_supervisor(lab, root))
            continue
        if fault in ("service refuses", "supervisor killed while it sends"):
            hook.refusals = 2
        if fault == "agent killed":
            os.kill(lab.agent_pids()[1], signal.SIGKILL)
        else:
            os.kill(rank, signal.SIGKILL)
        if fault == "supervisor killed while it sends":
            # Anywhere between the event, the first try and the record of what was sent.
            lab.wait_for(root, "attempt_failed", count=attempts)
            time.sleep(draw.uniform(0.0, 1.5))
            kills.append(kill_supervisor(lab, root))
        lab.wait_for(root, "attempt_started", count=attempts + 1)
    assert lab.command("stop", root.name, "--no-save").returncode == 0
    lab.until(lambda: not run_lock.is_supervised(root))
    lab.nothing_left()
    compare(root, hook, kills, result)


def kill_supervisor(lab: Lab, root: Path) -> float:
    """Kills it and waits until its parent has started the next one. -> Unix time of the kill."""
    before = lab.supervisor_pid(root)
    started = len(lab.events(root, "supervisor_started"))
    os.kill(before, signal.SIGKILL)
    killed_s = time.time()
    lab.wait_for(root, "supervisor_started", count=started + 1)
    return killed_s


def compare(root: Path, hook: Webhook, kills: list[float], result: Result) -> None:
    wanted, received = expected(root), Counter(hook.ids())
    result.notices += len(wanted)
    result.missing += len(set(wanted) - set(received))
    result.unknown += len(set(received) - set(wanted))
    for name, first_s in hook.first_s.items():
        if name in wanted:
            result.delays_s.append(first_s - wanted[name])
    for name, times in received.items():
        if times > 1:
            result.duplicates += times - 1
            # Not from `first_s` on: the service may have been held up until after the kill.
            event_s, until_s = wanted.get(name, 0.0), hook.first_s[name] + RECORDED_S
            if not any(event_s <= killed_s <= until_s for killed_s in kills):
                result.wrong_duplicates += 1


def play(count: int, seed: int) -> Result:
    """Faults one after the other, in runs of ``FAULTS_A_RUN``."""
    result, draw = Result(), random.Random(seed)
    while (done := result.faults.total()) < count:
        folder = Path(tempfile.mkdtemp(prefix="notices-"))
        mark, hook = f"lab-{uuid.uuid4().hex}", Webhook()
        own = {
            "XDG_RUNTIME_DIR": str(folder / "r"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "EFFNET_RUNS_DIR": str(folder / "runs"),
            "LAB_MARK": mark,
        }
        (folder / "r").mkdir(0o700)
        before = dict(os.environ)
        os.environ.update(own)
        lab = Lab(folder, mark)
        thread = threading.Thread(target=hook.server.serve_forever, daemon=True)
        thread.start()
        try:
            play_run(lab, hook, draw, min(FAULTS_A_RUN, count - done), result)
        finally:
            lab.end_all()
            hook.server.shutdown()
            hook.server.server_close()
            shutil.rmtree(folder, ignore_errors=True)
            os.environ.clear()
            os.environ.update(before)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began = time.monotonic()
    result = play(arguments.count, arguments.seed)
    delays = sorted(result.delays_s)
    print(f"{result.faults.total()} faults in {time.monotonic() - began:.0f} s: ", end="")
    print(", ".join(f"{n} × {name}" for name, n in sorted(result.faults.items())))
    print(f"notices {result.notices}, missing {result.missing}, unknown {result.unknown}")
    print(f"sent twice {result.duplicates}, of which wrong {result.wrong_duplicates}")
    if delays:
        p95 = delays[int(0.95 * (len(delays) - 1))]
        print(f"event to service p50 {delays[len(delays) // 2]:.2f} s, p95 {p95:.2f} s")
    return 0 if result.is_right else 1


if __name__ == "__main__":
    raise SystemExit(main())
