"""A run of a thousand ranks must not cost a core: what is read for each, and how often."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from made_run import MadeRun

from launcher.client import Series, open_run
from launcher.core.run.state import RunState
from tui.charts.curves import MAX_CHARTED, SAMPLED, ChartMaker
from tui.model.run import ChartRequest
from tui.sources import feed as feeds
from tui.sources.feed import Feed


@pytest.mark.parametrize(
    ("ranks", "read", "label"),
    [(MAX_CHARTED, MAX_CHARTED, "mean"), (1024, SAMPLED, f"mean of {SAMPLED}")],
)
def test_charts_of_very_many_ranks_read_some_of_them_and_say_so(ranks, read, label):
    asked = []

    def series(rank, field):
        asked.append(rank)
        return Series(rank, field, [0, 1, 2], [1.0, 2.0, float(rank)], [0.0, 1.0, 2.0])

    run = SimpleNamespace(ranks=range(ranks), state=RunState(), steps_per_epoch=10, created_s=0.0)
    chart = ChartMaker(series).chart(ChartRequest("loss", 20, 0.5), run, ())
    assert (len(set(asked)), asked[0], max(asked) >= ranks - ranks // SAMPLED) == (read, 0, True)
    assert chart.curves[0].label == label


def test_a_rank_in_front_has_a_curve_and_does_not_move_the_mean():
    def series(rank, field):
        return Series(rank, field, [0, 1], [1.0, 1e9 if rank == 37 else 2.0], [0.0, 1.0])

    run = SimpleNamespace(ranks=range(1024), state=RunState(), steps_per_epoch=10, created_s=0.0)
    chart = ChartMaker(series).chart(ChartRequest("loss", 20, ranks=(37,)), run, ())
    assert 37 in [curve.rank for curve in chart.curves]
    assert (chart.curves[0].label, chart.curves[0].last) == (f"mean of {SAMPLED}", 2.0)


def test_only_rank_0_keeps_the_reports_that_rates_are_made_of(tmp_path):
    made = MadeRun(tmp_path, "run", 3)
    made.start()
    made.steps(60)
    reader = open_run(tmp_path / "run")
    snapshot = reader.poll()
    kept = [len(files.recent) for files in reader._files.values()]
    assert kept == [60, 20, 20]
    assert all(rank.busy_ms is not None for rank in snapshot.ranks)


@pytest.mark.parametrize(("cpu_s", "rest_s"), [(0.002, 0.25), (0.1, 1.2), (2.0, 3.0)])
def test_a_feed_rests_longer_after_polls_that_take_longer(monkeypatch, cpu_s, rest_s):
    """The first poll imports and opens what the others use: the second follows at once."""
    waits = []
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(feeds.time, "thread_time", lambda: clock.now)

    class Wake(threading.Event):
        def wait(self, timeout=None):
            waits.append(timeout)
            if len(waits) == 2:
                feed.end()

    def poll():
        clock.now += cpu_s

    feed = Feed(SimpleNamespace(), lambda: 0.25, "test", poll)
    feed._wake = Wake()
    feed.run()
    assert waits == pytest.approx([0.25, rest_s])
