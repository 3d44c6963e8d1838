"""The three paths of docs/architecture.md: real calls pass through the listed files, each once."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from textual.message import Message
from textual.message_pump import MessagePump

from launcher.agent.rank_log import RankLog
from launcher.client import ResumeRequest, find_profile
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext
from launcher.core.run.info import RunInfo
from launcher.planning.start_point import start_point
from launcher.process import spawn
from launcher.store import owner
from launcher.store import run as run_files
from launcher.store.event_log import EventLog, read_state
from launcher.supervisor.supervisor import Supervisor
from tests.tui.made_run import MadeRun
from tui.app import Dashboard
from tui.settings import Settings
from tui.sources.feed import RunFeed, in_background
from tui.sources.live import LiveSource
from tui.sources.messages import ActionDone

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
Stack = tuple[str, ...]


def path(title: str) -> list[str]:
    """The files of a path in their order, without the shared ones."""
    text = PAGE.split(f"### {title}")[1].split("\n## ")[0].split("\n### ")[0]
    return re.findall(r"^\d+\. `([\w/]+\.py)`", text, re.MULTILINE)


LINE, RESUME, ARGV = map(path, ("A line printed", "Pressing `r`", "A profile to"))


class Calls:
    """The files on the stack at each call into a file; a file that calls itself counts once."""

    def __init__(self, target: str) -> None:
        self._target = str(ROOT / target)
        self.stacks: set[Stack] = set()

    def profile(self, frame: FrameType | None, event: str, _: Any) -> None:
        assert frame is not None
        if event == "call" and frame.f_code.co_filename == self._target:
            self.stacks.add(self._files(frame))

    @staticmethod
    def _files(frame: FrameType | None) -> Stack:
        found: list[str] = []
        while frame is not None:
            file = frame.f_code.co_filename.removeprefix(f"{ROOT}/")
            is_ours = file.startswith(("launcher/", "tui/", "effnet/"))
            if is_ours and (not found or found[-1] != file):
                found.append(file)
            frame = frame.f_back
        return tuple(reversed(found))


@contextmanager
def calls_into(target: str) -> Iterator[set[Stack]]:
    calls = Calls(target)
    threading.setprofile(calls.profile)
    sys.setprofile(calls.profile)
    try:
        yield calls.stacks
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def returned_to(stacks: set[Stack]) -> list[Stack]:
    """Stacks in which a file stands twice."""
    assert stacks, "nothing was called"
    return [stack for stack in stacks if len(set(stack)) != len(stack)]


def in_order(stack: Stack, listed: list[str]) -> bool:
    """Whether the page lists these files, in this order."""
    places = [listed.index(file) if file in listed else -1 for file in stack]
    return -1 not in places and places == sorted(places)


@pytest.fixture
def failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRun:
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    run = MadeRun(tmp_path / "runs", "made-1", ranks=2, time_s=time.time() - 100, pid=0)
    run.start()
    run.steps(50)
    run.fail(1)
    return run


class Pump(MessagePump):
    """Gets what a feed posts."""

    def __init__(self) -> None:
        super().__init__()
        self.posted = threading.Event()

    def post_message(self, message: Message) -> bool:
        self.posted.set()
        return True


class NotStartedError(OSError):
    """Instead of a process."""


def no_process(*_: object, **__: object) -> int:
    raise NotStartedError("not started: this is a test")


def test_a_file_that_stands_twice_is_found() -> None:
    assert returned_to({("a", "b", "a")}) == [("a", "b", "a")]
    assert returned_to({("a", "b")}) == []
    assert in_order(("a", "c"), ["a", "b", "c"])
    assert not in_order(("c", "a"), ["a", "b", "c"])
    assert not in_order(("a", "x"), ["a", "b", "c"])


def test_the_agent_reads_a_line_along_the_path(failed_run: MadeRun) -> None:
    with calls_into("launcher/store/tail.py") as stacks:
        log = RankLog(1, 0, failed_run.paths.attempt(1).rank(0))
        log.drain(time.time())
        log.close()
    assert returned_to(stacks) == []
    assert all(in_order(stack, LINE) for stack in stacks)


def test_the_dashboard_reads_a_line_along_the_path(failed_run: MadeRun) -> None:
    feed = RunFeed(Pump(), lambda: LiveSource().open("made-1"), lambda: 1.0)
    feed.poll()
    failed_run.steps(1)
    with calls_into("launcher/reading/growing.py") as stacks:
        feed.poll()
    assert returned_to(stacks) == []
    first = LINE.index("tui/sources/feed.py")
    expected = tuple(LINE[first : LINE.index("launcher/reading/growing.py") + 1])
    assert expected in stacks


def resumed(request: ResumeRequest, monkeypatch: pytest.MonkeyPatch, target: str) -> set[Stack]:
    """Sends it as the dashboard does, up to the process that is not started."""
    app, pump = Dashboard(LiveSource(), Settings()), Pump()
    with calls_into(target) as stacks, monkeypatch.context() as patched:
        patched.setattr(spawn.os, "posix_spawn", no_process)
        in_background(pump, "resume", lambda: ActionDone("resume", app.send("made-1", request)))
        assert pump.posted.wait(60)
    return stacks


def test_a_resume_goes_along_the_path_to_its_supervisor(
    failed_run: MadeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ResumeRequest(preflight=False)
    stacks = resumed(request, monkeypatch, "launcher/process/spawn.py")
    assert returned_to(stacks) == []
    assert all(in_order(stack[:-1], RESUME) for stack in stacks)
    assert any(
        stack[-2:] == ("launcher/runs/base.py", "launcher/process/spawn.py") for stack in stacks
    )


def test_the_preflight_of_a_resume_returns_to_no_file(
    failed_run: MadeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = resumed(ResumeRequest(), monkeypatch, "launcher/checks/preflight.py")
    stacks |= resumed(ResumeRequest(), monkeypatch, "launcher/client.py")
    assert any(stack[-1] == "launcher/checks/preflight.py" for stack in stacks)
    assert returned_to(stacks) == []


def test_the_supervisor_gets_the_checkpoint_that_its_client_has_chosen(
    failed_run: MadeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[str] = []

    def detached(argv: list[str], *_: object) -> int:
        passed.extend(argv)
        raise NotStartedError

    monkeypatch.setattr(spawn, "detached", detached)
    resumed(ResumeRequest(preflight=False), monkeypatch, "launcher/planning/restart.py")
    run = run_files.load(failed_run.paths.root)
    choice = "launcher/planning/restart.py", "launcher/planning/checkpoint_choice.py"
    with calls_into(choice[0]) as restart, calls_into(choice[1]) as chosen:
        point = start_point(run, read_state(run.paths.root), passed[passed.index("--resume") + 1])
    assert point is not None
    assert point.step == 45
    assert restart == set()
    assert chosen == set()


def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> set[Stack]:
    """A supervisor begins an attempt whose agents cannot be started."""
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))  # its port's lock stays: it never turns
    profile = find_profile("local-cpu")
    root = tmp_path / "planned-1"
    info = RunInfo(root.name, profile.name, 0.0, profile.world_size, {}, ())
    run_files.create(root, info, profile)
    run = run_files.load(root)
    log = EventLog(run.paths.events)
    supervisor = Supervisor(run, log, owner.must_be_mine(root))
    with calls_into(target) as stacks, monkeypatch.context() as patched:
        patched.setattr(spawn.os, "posix_spawn", no_process)
        supervisor.begin(None, True)
    log.close()
    return stacks


def test_a_supervisor_plans_along_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = supervised(tmp_path, monkeypatch, "launcher/core/plan/command.py")
    assert returned_to(stacks) == []
    first = ARGV.index("launcher/supervisor/supervisor.py")
    until = ARGV.index("launcher/core/plan/command.py") + 1
    assert any(set(stack) <= set(ARGV[first:until]) and len(stack) >= 5 for stack in stacks)


@pytest.mark.parametrize("profile", ["local-cpu", "ascend-2x8", "gpu-2x8-mpirun"])
def test_a_plan_of_each_start_method_returns_to_no_file(profile: str) -> None:
    context = RunContext("r", "/runs/r", 1, "python3", master_port=20000)
    with calls_into("launcher/core/plan/command.py") as stacks:
        make_plan(find_profile(profile), context)
    assert returned_to(stacks) == []


def test_a_supervisor_starts_an_agent_along_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks = supervised(tmp_path, monkeypatch, "launcher/process/spawn.py")
    assert returned_to(stacks) == []
    assert all(in_order(stack[:-1], RESUME) for stack in stacks)


def test_a_supervisor_returns_to_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that cannot be started: the attempt launches it, fails, and records why."""
    stacks = supervised(tmp_path, monkeypatch, "launcher/supervisor/attempt.py")
    assert returned_to(stacks) == []
