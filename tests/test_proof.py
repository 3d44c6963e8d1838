"""The checks of fault tests can fail: each is given something damaged and must say so."""

from __future__ import annotations

import hashlib
import json

import pytest

from launcher.core.run import metrics
from launcher.core.run.report import parse
from tests import proof

STEP = "epoch: [  0/  3], step:[%5d/   10], loss:[2.3/2.3], time:[1.0], lr:[0.01]\n"
LINES = [b"start\n", b"plain 1\n", b"plain 2\n", b"plain 2\n", b"plain 3\n", b"the end\n"]
WHOLE = b"".join(LINES)


def test_a_process_that_is_left_is_told():
    before = {"alpha": {1, 2}, "beta": {3}}
    proof.none_left(before, {"alpha": {2}, "beta": {3}})
    with pytest.raises(AssertionError, match="beta"):
        proof.none_left(before, {"alpha": {1, 2}, "beta": {3, 4}})


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (LINES[:1] + LINES[2:], "line 1 is lost: b'plain 1"),
        (LINES[:2] + LINES[1:], "line 2 is there twice: b'plain 1"),
        ([*LINES[:1], LINES[2], LINES[1], *LINES[3:]], "from line 1 on"),
        (LINES[:-1], "its last 1 lines are lost"),
        ([*LINES, b"more\n"], "from line 6 on"),
        ([*LINES[:-1], b"the\n"], "from line 5 on"),
        ([*LINES, LINES[-1]], "line 6 is there twice"),
    ],
)
def test_a_log_that_is_not_what_was_written_is_told(damaged, words):
    proof.log_is_whole("rank 1", WHOLE, WHOLE)
    with pytest.raises(AssertionError, match=f"rank 1: .*{words}"):
        proof.log_is_whole("rank 1", b"".join(damaged), WHOLE)


def test_a_killed_rank_may_lack_one_line_and_no_more():
    proof.log_is_whole("rank 1", b"".join(LINES[:-1]), WHOLE, was_killed=True)
    proof.log_is_whole("rank 1", WHOLE[:-3], WHOLE, was_killed=True)
    for damaged in (LINES[:-2], LINES[:1] + LINES[2:], LINES[:2] + LINES[1:]):
        with pytest.raises(AssertionError, match="rank 1"):
            proof.log_is_whole("rank 1", b"".join(damaged), WHOLE, was_killed=True)


def test_reports_without_or_with_two_records_are_told():
    lines = [(STEP % number).encode() for number in range(3)]
    log = b"".join(lines)
    records = [
        metrics.pack(parse(line), 1.0, sum(map(len, lines[:number])))
        for number, line in enumerate(lines)
    ]
    assert proof.reports_are_recorded("rank 0", log, b"".join(records)) == [0, 1, 2]
    for damaged in (records[:-1], [*records, records[-1]], records[::-1]):
        with pytest.raises(AssertionError, match="rank 0: records"):
            proof.reports_are_recorded("rank 0", log, b"".join(damaged))


def test_steps_that_are_missing_or_doubled_are_told():
    proof.steps_are_all("rank 0", [10, 11, 12], 10)
    proof.steps_are_all("rank 0", [10, 11, 12], 10, 13)
    for damaged in ([10, 12], [10, 10, 11], [0, 1]):
        with pytest.raises(AssertionError, match="rank 0: steps"):
            proof.steps_are_all("rank 0", damaged, 10)
    with pytest.raises(AssertionError, match="rank 0: steps"):
        proof.steps_are_all("rank 0", [10, 11], 10, 13)


def test_events_that_are_lost_or_doubled_are_told():
    events = [{"n": n, "attempt": 1, "source": ["alpha", n]} for n in (1, 2, 3)]
    proof.events_are_whole(events)
    for damaged in (events[:1] + events[2:], [*events, events[-1]], events[1:]):
        with pytest.raises(AssertionError, match="event numbers"):
            proof.events_are_whole(damaged)
    with pytest.raises(AssertionError, match="from one message"):
        proof.events_are_whole([*events, {**events[-1], "n": 4}])


def test_a_report_that_is_no_event_or_two_is_told():
    log = b"epoch 1: epoch time: 3.0\ncheckpoint: epoch:[1], step:[10], path:[/x]\n"
    log += b"epoch 2: epoch time: 3.0\n"
    events = [
        {"kind": "epoch_finished", "attempt": 1, "epoch": 1},
        {"kind": "checkpoint_saved", "attempt": 1, "step": 10},
        {"kind": "epoch_finished", "attempt": 1, "epoch": 2},
        {"kind": "epoch_finished", "attempt": 2, "epoch": 3},
    ]
    proof.reports_became_events(events, 1, log)
    for damaged in (events[1:], events[:1] + events[2:], [*events, events[2]]):
        with pytest.raises(AssertionError, match="events"):
            proof.reports_became_events(damaged, 1, log)


def test_a_wrong_cause_is_told():
    failure = {"rank": 3, "node": "beta", "kind": "signal", "signal": 9, "followers": [2, 0, 1]}
    proof.blames(failure, rank=3, node="beta", followers=[0, 1, 2])
    for wrong in ({"rank": 0}, {"node": "alpha"}, {"kind": "oom"}, {"followers": [0, 1]}):
        with pytest.raises(AssertionError, match="is blamed"):
            proof.blames(failure, **wrong)


def test_the_newest_whole_checkpoint_is_found_by_its_content(tmp_path):
    assert proof.newest_whole(tmp_path) == 0
    for step in (10, 20, 30):
        path = tmp_path / f"step-{step:08d}.ckpt"
        path.write_bytes(b"%d" % step)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        manifest = {"step": step, "sha256": digest}
        path.with_name(f"{path.name}.manifest.json").write_text(json.dumps(manifest))
    assert proof.newest_whole(tmp_path) == 30
    (tmp_path / "step-00000030.ckpt").write_bytes(b"31")
    assert proof.newest_whole(tmp_path) == 20


def test_a_stale_checkpoint_is_told():
    events = [{"kind": "attempt_started", "attempt": 2, "resume": {"step": 20}}]
    proof.resumed_from(20, 20, events, 2)
    with pytest.raises(AssertionError, match="step 10 was taken"):
        proof.resumed_from(20, 10, events, 2)
    with pytest.raises(AssertionError, match="began at step 20"):
        proof.resumed_from(30, 30, events, 2)
    with pytest.raises(AssertionError, match="began 0 times"):
        proof.resumed_from(20, 20, [], 2)
