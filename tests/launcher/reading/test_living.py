"""Reading a run while it happens: nothing lost, nothing doubled, never lost sight of."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from launcher import client
from launcher.client import RankStatus, RunStatus
from launcher.core.run import events
from launcher.core.run.metrics import unpack
from launcher.reading.living import processes
from tests.launcher.reading.test_run import NOW, MadeRun


def test_following_a_run_from_its_first_moment(lab):
    root = lab.start({"rank": 1, "step": 3, "do": "lines", "count": 5000}, step_s=0.1)
    reader = client.open_run(root)
    log = reader.log(1)
    offset, lines, steps, statuses = 0, [], [], []
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        snapshot = reader.poll()
        statuses.append(snapshot.status)
        if snapshot.steps_done is not None:
            steps.append(snapshot.steps_done)
        page = log.read_from(offset)
        lines += [line.text for line in page.lines]
        offset = page.next_offset
        if snapshot.status.is_over and not page.lines:
            break
        time.sleep(0.01)
    assert RunStatus.LOST not in statuses
    assert RunStatus.RUNNING in statuses
    assert statuses[-1] is RunStatus.FINISHED
    assert steps == sorted(steps)
    assert (snapshot.steps_done, snapshot.steps_total, snapshot.progress) == (30, 30, 1.0)
    assert [rank.status for rank in snapshot.ranks] == [RankStatus.ENDED, RankStatus.ENDED]
    assert "\n".join(lines) + "\n" == lab.log(root, 1).decode()
    for rank in (0, 1):
        data = reader.paths.attempt(1).rank(rank).metrics.read_bytes()
        assert list(reader.series(rank, "loss").steps) == [r.global_step for r in unpack(data)]
    fresh = client.open_run(root).poll()
    assert fresh.ranks == reader.poll().ranks
    assert fresh.state == reader.state
    lab.until(lambda: client.list_runs(lab.runs)[0].status is RunStatus.FINISHED)


def test_a_failure_has_its_rank_and_cause(lab):
    root = lab.start(step_s=0.05, steps=1000)
    reader = client.open_run(root)

    def trains(living):
        """Both ranks do, and have reported it."""
        ages = [rank.age_s(living.polled_s) for rank in living.ranks]
        is_running = all(rank.status is RankStatus.RUNNING for rank in living.ranks)
        return len(ages) == 2 and None not in ages and is_running and living.is_supervised

    lab.until(lambda: trains(reader.poll()) and (reader.poll().steps_done or 0) > 2)
    os.kill(lab.pid_of(root, 1), signal.SIGKILL)
    lab.until(lambda: reader.poll().status is RunStatus.FAILED)
    failed = reader.poll()
    assert failed.failure is not None
    assert (failed.failure.rank, failed.failure.signal) == (1, 9)
    assert failed.failure.followers == (0,)
    assert failed.ranks[1].is_first_failure
    assert failed.ranks[1].status is RankStatus.FAILED
    lab.nothing_left()


def test_a_run_whose_processes_are_all_gone_is_lost(lab):
    root = lab.start(step_s=0.05, steps=1000)
    reader = client.open_run(root)
    lab.until(lambda: (reader.poll().steps_done or 0) > 2)
    lab.end_all()
    later = time.time() + 60
    lab.until(lambda: client.open_run(root).poll(later).status is RunStatus.LOST)


def test_a_run_that_ends_while_its_processes_are_looked_at_is_not_lost(tmp_path, monkeypatch):
    run = MadeRun(tmp_path / "made")
    run.start()

    def ended(*_):
        """Its last event, and then nobody."""
        run.add(events.AttemptFinished(1, 900))
        return False, None

    monkeypatch.setattr(processes, "silence_of", ended)
    monkeypatch.setattr(processes, "has_ranks", lambda state: False)
    assert client.open_run(run.paths.root).poll(NOW).status is RunStatus.FINISHED


def copy_of_a_run(root, link, has_follower, event):
    """Whose supervisor is on another machine; `has_follower`: a process updates it."""
    follower = os.getpid() if has_follower else 0
    (root / "home.json").write_text(json.dumps({"node": link["node"], "root": "/x"}))
    (root / "link.json").write_text(json.dumps(link))
    (root / "supervisor.json").write_text(json.dumps({"pid": follower, "socket": ""}))
    (root / "events.jsonl").write_text(f"{event}\n")
    return client.open_run(root)


SILENT = {
    "node": "alpha",
    "time_s": 5.0,
    "trouble": "",
    "silence": {"pid": 7, "since_s": 6.0, "node": "alpha"},
}


@pytest.mark.parametrize(
    ("link", "has_follower", "pid"),
    [
        (SILENT, True, 7),
        (SILENT, False, None),  # nothing updates the copy, so this is old
        ({**SILENT, "silence": None}, True, None),
        ({**SILENT, "silence": {"pid": 1e400, "since_s": "x"}}, True, None),
        ({"node": "alpha", "time": 5.0, "trouble": ""}, True, None),  # as it was written before
    ],
)
def test_what_a_copy_knows_of_the_supervisor_on_the_first_node(tmp_path, link, has_follower, pid):
    copy = copy_of_a_run(tmp_path, link, has_follower, '{"kind": "run_created", "time": 1.0}')
    silence = copy.poll().supervisor_silent
    assert (silence and silence.pid) == pid


@pytest.mark.parametrize("has_follower", [True, False])
def test_a_copy_of_a_run_of_slurm_that_nothing_updates_is_abandoned(tmp_path, has_follower):
    link = {"node": "login", "time_s": 5.0, "trouble": "", "queue": {"status": "pending"}}
    event = '{"n": 1, "t": 1.0, "kind": "slurm_queued", "job": "12", "why": ""}'
    copy = copy_of_a_run(tmp_path, link, has_follower, event)
    assert copy.poll().status is RunStatus.PENDING
    assert copy.is_abandoned() is not has_follower
