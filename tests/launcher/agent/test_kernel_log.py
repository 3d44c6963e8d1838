"""What the kernel says about a process: only lines that name it, and never an error."""

from __future__ import annotations

import os
import signal
import stat
import time
from pathlib import Path

import pytest

from launcher.agent import kernel_log
from launcher.agent.kernel_log import OomKills
from launcher.agent.sampler import resident_memory
from launcher.core.diagnosis.failure import Death, explain, name_failure
from launcher.core.run.events import FailureKind
from launcher.process import load

KILLED = "Out of memory: Killed process 4711 (python) total-vm:9000kB, anon-rss:8000kB, UID:1000"
DETAIL = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=python,pid=4711,uid=1000"
OTHERS = (
    "Out of memory: Killed process 47110 (python) total-vm:1kB",
    "Out of memory: Killed process 14711 (java) total-vm:1kB",
    "usb 4711-1: new device",
)


def a_journal(folder: Path, script: str) -> None:
    tool = folder / "journalctl"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def no_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which the kernel's messages may not be read."""
    monkeypatch.setattr(kernel_log, "KERNEL_MESSAGES", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def test_recent_messages_that_name_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_us = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
    path = tmp_path / "kmsg"
    os.mkfifo(path)
    records = [f"6,1,{now_us - 3_600_000_000},-;{KILLED} an hour ago"]
    records += [f"6,2,{now_us},-;{text}\n SUBSYSTEM=x" for text in (*OTHERS, DETAIL, KILLED)]
    records += ["damaged", "6,3,x,-;process 4711"]
    monkeypatch.setattr(kernel_log, "KERNEL_MESSAGES", str(path))
    parts = iter([record.encode() for record in records])

    def read(fd: int, count: int) -> bytes:
        part = next(parts, None)
        if part is None:
            raise BlockingIOError
        return part

    monkeypatch.setattr(kernel_log.os, "read", read)
    assert kernel_log.lines_about(4711) == (DETAIL, KILLED)


def test_the_journal_is_read_where_messages_may_not_be(
    no_messages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_log, "JOURNAL_LIMIT_S", 60.0)
    text = "\n".join((*OTHERS, KILLED))
    a_journal(no_messages, f"cat <<'X'\n{text}\nX")
    assert kernel_log.lines_about(4711) == (KILLED,)


@pytest.mark.parametrize("script", ["exit 1", "sleep 600", "echo No permission >&2; exit 1"])
def test_what_may_not_be_read_is_no_error(no_messages: Path, script: str) -> None:
    a_journal(no_messages, script)
    began = time.monotonic()
    assert kernel_log.lines_about(4711) == ()
    assert time.monotonic() - began < 300


def test_the_kernels_line_makes_the_cause_certain() -> None:
    death = Death("node-b", 1.0, rank=1, signal=signal.SIGKILL)
    assert explain(death).kind is FailureKind.SIGNAL
    sure = Death("node-b", 1.0, rank=1, signal=signal.SIGKILL, kernel_lines=(KILLED,))
    failure = name_failure([sure], (0, 1))
    assert failure.kind is FailureKind.OOM
    assert failure.kernel_lines == (KILLED,)


def test_a_process_that_is_ending_has_no_sample() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert resident_memory(pid) is None
    finally:
        os.waitpid(pid, 0)
    assert resident_memory(os.getpid()) is not None


def test_only_a_recent_kill_for_memory_explains_a_death(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: dict[str, int | None] = {"own": 3, "machine": 5}
    monkeypatch.setattr(load, "oom_kills", lambda pid: counted["own"])
    monkeypatch.setattr(load, "machine_oom_kills", lambda: counted["machine"])
    kills = OomKills()
    begin_s = kills._counts[0].time_s
    assert kills.has_killed is False
    counted.update(own=4, machine=6)
    assert kills.has_killed is True
    for second in range(0, 1000, 7):
        kills.look(begin_s + second)
        # In between the process may have been chosen, and have taken so long to die.
        expected = True if second < 67 else None if second < 607 else False
        assert kills.has_killed is expected, second
    counted["own"] = None
    assert kills.has_killed is None


def test_a_kill_elsewhere_on_the_machine_may_be_that_of_a_rank_in_another_cgroup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[int | None] = [5]
    monkeypatch.setattr(load, "oom_kills", lambda pid: 3)
    monkeypatch.setattr(load, "machine_oom_kills", lambda: counted[0])
    kills = OomKills()
    begin_s = kills._counts[0].time_s
    counted[0] = 6
    for second in range(0, 120, 7):
        assert kills.has_killed is (None if second < 74 else False), second
        kills.look(begin_s + second)
    counted[0] = None
    assert kills.has_killed is None
