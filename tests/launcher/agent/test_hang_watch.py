"""Ranks that hang, and ranks that are only slow."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from launcher import client
from launcher.agent.hang_watch import PAUSE_S, HangWatch
from launcher.core.plan.make import make_plan
from launcher.core.plan.model import RunContext
from launcher.reading.profiles import find_profile


def failure_of(lab, root):
    """The failure, when the attempt has failed."""
    event = lab.wait_for(root, "attempt_failed", "attempt_finished", "attempt_stopped")
    assert event["kind"] == "attempt_failed", event
    return event["failure"]


def test_a_stopped_process_is_silent_and_its_peers_are_not(lab):
    root = lab.start(ranks=3, epochs=5000, silent_min_s=3)
    lab.wait_for(root, "epoch_finished")
    pid = lab.pid_of(root, 1)
    os.kill(pid, signal.SIGSTOP)
    silent = lab.wait_for(root, "rank_silent")
    assert silent["rank"] == 1
    os.kill(pid, signal.SIGCONT)
    assert lab.wait_for(root, "rank_recovered")["rank"] == 1
    assert {e["rank"] for e in lab.events(root, "rank_silent")} == {1}
    client.stop(root)
    assert lab.wait_for(root, "attempt_stopped", "attempt_failed")["kind"] == "attempt_stopped"


def test_a_process_that_is_stopped_while_it_compiles_is_silent_too(lab):
    root = lab.start({"rank": 1, "step": 12, "do": "compile", "seconds": 3600}, silent_min_s=2)
    beat = root / "attempts/001/ranks/0001/heartbeat"
    lab.until(lambda: beat.exists() and b" compile " in beat.read_bytes())
    os.kill(lab.pid_of(root, 1), signal.SIGSTOP)
    silent = lab.wait_for(root, "rank_silent")
    assert (silent["rank"], silent["phase"]) == (1, "compile")
    os.kill(lab.pid_of(root, 1), signal.SIGCONT)
    lab.wait_for(root, "rank_recovered")
    assert {event["rank"] for event in lab.events(root, "rank_silent")} == {1}
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")


def test_a_hung_rank_ends_the_attempt_if_the_profile_says_so(lab):
    root = lab.start(
        {"rank": 1, "step": 14, "do": "hang", "attempt": 1}, silent_min_s=3, on_silent="resume"
    )
    failure = failure_of(lab, root)
    assert (failure["kind"], failure["rank"]) == ("hang", 1)
    lab.wait_for(root, "attempt_finished")


def test_a_rank_that_compiles_long_is_not_silent(lab):
    root = lab.start({"rank": 1, "step": 12, "do": "compile", "seconds": 7}, silent_min_s=3)
    assert lab.wait_for(root, "attempt_finished", "attempt_failed")["kind"] == "attempt_finished"
    assert lab.events(root, "rank_silent") == []


class Watched:
    """Rank 1, whose process is this one, seen by a `HangWatch`."""

    def __init__(self, folder):
        plan = make_plan(find_profile("local-cpu-8p"), RunContext("r", str(folder)))
        path = next(process.heartbeat for process in plan.ranks if process.rank == 1)
        self.events, self.limit_s, self._file = [], plan.limits.compile_s, Path(path)
        self._file.parent.mkdir(parents=True)
        self.watch = HangWatch(plan, lambda: {1: os.getpid()}, self.events.append)
        self.beats(1e9)

    def beats(self, time_s):
        self._file.write_text(f"1 {time_s:.6f} compute 3 0 {os.getpid()}".ljust(127) + "\n")

    def look(self, now_s):
        self.watch.look(now_s, {})

    def named_s(self, from_s):
        """Looks once a second -> when it is named as silent."""
        for number in range(1, 100_000):
            self.look(from_s + number)
            if self.events:
                assert self.events[0].rank == 1
                return from_s + number
        raise AssertionError("it is not named")


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


def test_the_time_in_which_the_machine_did_not_run_is_no_silence(watched):
    """A laptop that was suspended: no rank has had the time for a heartbeat since."""
    watched.look(1e9)
    awake_s = 1e9 + 10 * watched.limit_s
    watched.look(awake_s)
    assert watched.events == []
    # A rank that stays silent is named as late as any other.
    named_s = watched.named_s(awake_s)
    assert watched.limit_s <= named_s - awake_s + PAUSE_S <= watched.limit_s + 1


def test_a_rank_that_hangs_after_its_first_heartbeat_is_named_as_late_as_any_other(watched):
    """It wakes up before the agent does."""
    watched.look(1e9)
    awake_s = 1e9 + 10 * watched.limit_s
    watched.beats(awake_s)
    watched.look(awake_s + 0.2)
    assert watched.limit_s <= watched.named_s(awake_s + 0.2) - awake_s <= watched.limit_s + 2


def test_a_clock_that_is_set_forward_and_back_hides_no_silence(watched):
    for now_s in (1e9, 1e9 + 7200, 1e9 + 1):
        watched.look(now_s)
    watched.beats(1e9 + 1)
    watched.events.clear()
    assert watched.named_s(1e9 + 1) <= 1e9 + 3 + watched.limit_s


def test_a_silent_rank_is_named_where_all_looks_are_late(watched):
    for number in range(int(watched.limit_s / PAUSE_S) + 2):
        watched.look(1e9 + number * 10 * PAUSE_S)
    assert watched.events[0].rank == 1
