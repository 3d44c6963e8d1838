"""RankLog: reports among garbage, and what a plain line costs."""

from __future__ import annotations

from cProfile import Profile

from launcher.agent.rank_log import RankLog
from launcher.core.run.metrics import METRIC_BYTES
from launcher.core.run.paths import RankPaths

STEP = "epoch: [  0/  3], step:[%5d/   10], loss:[2.3/2.3], time:[1.0], lr:[0.01]\n"


def test_reports_after_garbage_have_their_offsets(tmp_path):
    paths = RankPaths(tmp_path)
    paths.log.write_bytes(bytes(range(256)) + b"\n" + (STEP % 0).encode() + b"\xff\r\x00\n")
    log = RankLog(1, 0, paths)
    assert [event.kind for event in log.drain(1.0)] == ["training_started"]
    assert log.global_step == 1
    log.close()
    # Bytes 10 and 256 end the first two lines.
    assert log.recent()[0].log_offset == 257
    assert paths.metrics.stat().st_size == METRIC_BYTES
    with paths.log.open("ab") as file:
        file.write((STEP % 1).encode())
    again = RankLog(1, 0, paths)
    again.drain(2.0)
    again.close()
    assert paths.metrics.stat().st_size == 2 * METRIC_BYTES


def test_plain_lines_cost_few_calls(tmp_path):
    """Of Python's and C's functions: counted, since a time depends on the machine."""
    paths = RankPaths(tmp_path)
    count = 20_000
    with paths.log.open("wb") as file:
        file.writelines(
            b"[WARNING] DEVICE(1,7f,python): line %d of many\n" % i for i in range(count)
        )
    log = RankLog(1, 0, paths)
    profile = Profile()
    profile.runcall(log.drain, 1.0)
    log.close()
    assert (log.read_to, log.global_step) == (paths.log.stat().st_size, None)
    assert sum(entry.callcount for entry in profile.getstats()) < 8 * count
