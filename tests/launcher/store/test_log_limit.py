"""Logs that outgrow their limit: space is free again, offsets stay, what is newer stays."""

from __future__ import annotations

import os

import pytest

from launcher.agent.disk_watch import DiskWatch
from launcher.agent.rank_log import RankLog
from launcher.core.run.metrics import unpack
from launcher.core.run.paths import RunPaths
from launcher.reading.log import LogReader
from launcher.remote.sync import FileCopy, FileSource
from launcher.store.log_limit import MARK, LogLimit

STEP = "epoch: [  0/  1], step:[{:5d}/99999], loss:[2.3/2.3], time:[1.0], wait:[0.1]\n"


@pytest.fixture
def paths(tmp_path):
    """A run directory; holes can be punched where pytest keeps its folders."""
    return RunPaths(tmp_path / "run")


def grow(path, first, count):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(
            "".join(STEP.format(n) + "x" * 50 + "\n" for n in range(first, first + count)).encode()
        )


def used(path):
    return os.stat(path).st_blocks * 512


def test_a_log_is_limited_while_it_is_written_and_read(paths, tmp_path):
    rank = paths.attempt(1).rank(0)
    log = RankLog(1, 0, rank)
    limit = LogLimit(paths.root, 1_000_000)
    early = LogReader(rank.log)
    copy = FileCopy("b", tmp_path / "copy", ("log.txt",))
    source = FileSource(rank.log.parent, copy.known(), ("log.txt",))
    for message in source.read():
        copy.write_chunk(message)
    offset, count = 0, 3000
    for turn in range(10):
        grow(rank.log, turn * count, count)
        early.refresh()
        # Not read yet: nothing of it may go.
        before = log.read_to
        limit.enforce({rank.log: before})
        log.drain(1.0)
        limit.enforce({rank.log: log.read_to})
        page = early.read_from(offset, count=10**6, max_bytes=10**9)
        offset = page.next_offset
    assert limit.trouble is None
    size = rank.log.stat().st_size
    assert size > 3_000_000
    assert used(rank.log) < 1_100_000
    # Every report has its record, which points at its line where that is still there.
    records = unpack(rank.metrics.read_bytes())
    assert [record.global_step for record in records] == list(range(10 * count))
    data = rank.log.read_bytes()
    assert data[records[-1].log_offset :].startswith(STEP.format(10 * count - 1).encode())
    assert data.startswith(STEP.format(0).encode())
    # Readers: the head, one line that says what is missing, whole lines from there on.
    lines = [line for line in data.split(b"\n") if line.strip(b"\0")]
    marks = [number for number, line in enumerate(lines) if line.startswith(MARK)]
    assert len(marks) == 1
    assert int(lines[marks[0]].rpartition(b":")[2]) > 1_000_000
    assert all(line.startswith((b"epoch: [", b"xxxxx", MARK)) for line in lines if line)
    reader = LogReader(rank.log)
    assert reader.tail(1).lines[0].text == "x" * 50
    found = reader.search(r"step:\[ *(29999|5)/", budget_bytes=10**9)
    assert [line.text.split("[")[2].split("/")[0].strip() for line in found.lines] == ["5", "29999"]
    reader.refresh()
    assert reader.is_indexed
    assert reader.lines(reader.line_count - 1, 1)[0].text == "x" * 50
    gap = next(line for line in reader.lines(0, 10**6) if line.cut_bytes)
    assert (gap.text, gap.cut_bytes > 1_000_000) == ("", True)
    # Who had the log open sees its newest lines under their old numbers.
    early.refresh()
    assert early.line_count == 2 * 10 * count
    assert early.lines(2 * 10 * count - 2, 1)[0].text == STEP.format(10 * count - 1).strip()
    # Whoever copies it later copies no zeros.
    while messages := list(source.read()):
        for message in messages:
            copy.write_chunk(message)
    there = tmp_path / "copy/log.txt"
    assert there.stat().st_size == size
    assert there.read_bytes()[-100_000:] == data[-100_000:]
    assert used(there) < 1_500_000


def test_older_attempts_are_cut_first_and_short_logs_are_kept(paths):
    old, new, short = (
        paths.attempt(1).rank(0).log,
        paths.attempt(2).rank(0).log,
        paths.attempt(2).rank(1).log,
    )
    grow(old, 0, 8000)
    grow(new, 0, 8000)
    grow(short, 0, 100)
    limit = LogLimit(paths.root, 1_400_000)
    assert limit.enforce() > 0
    assert used(old) < 500_000
    assert used(new) >= new.stat().st_size
    assert MARK not in short.read_bytes()
    LogLimit(paths.root, 400_000).enforce()
    assert MARK in new.read_bytes()
    assert MARK not in short.read_bytes()


def test_a_full_disk_is_reported_once_and_again_after_it_had_space(tmp_path):
    free, events = {tmp_path: 10**9, tmp_path / "c": 10**12}, []
    watch = DiskWatch(tmp_path, 1, "node-a", events.append, free.get)
    watch.saved(str(tmp_path / "c/step-1.ckpt"), 10**9)
    now = 100.0
    for amount, count in ((10**9, 0), (10**8, 1), (10**7, 1), (10**9, 2), (10**8, 3)):
        free[tmp_path] = amount
        watch.look(now)
        watch.look(now + 1)
        now += 20
        assert len(events) == count, amount
    assert [event.kind for event in events] == ["disk_low", "disk_recovered", "disk_low"]
    free[tmp_path / "c"] = 2 * 10**9
    watch.look(now)
    assert (events[-1].path, events[-1].needed_bytes) == (str(tmp_path / "c"), 3 * 10**9)
