"""The cause of a late rank, wherever a run is shown."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launcher import client
from launcher.cli.app import app as cli
from launcher.core.diagnosis.lateness import Cause, LateRank
from launcher.core.run.metrics import LoadRecord, pack_load
from launcher.report.page import report
from tests.tui.made_run import MadeRun
from tui.charts.late import LateMaker
from tui.model.run import FrameRequest, SkewData
from tui.sources.live import LiveRun


@pytest.fixture
def made(own_folders: Path) -> MadeRun:
    """Rank 2 of 4 waits for images while the disk of its node is busy."""
    now_s = time.time() - 130
    run = MadeRun(own_folders / "runs", "made", 4, 2, late=2, time_s=now_s, late_ms=500.0)
    run.start()
    for _ in range(60):
        run.steps(1, 2.0)
        for rank in range(4):
            late = rank == 2
            load = LoadRecord(
                run.time_s,
                cpu_percent=60.0,
                input_ms=620.0 if late else 120.0,
                blocked_percent=50.0 if late else 1.0,
                disk_busy_percent=92.0 if rank > 1 else 4.0,
            )
            with run.paths.attempt(1).rank(rank).load.open("ab") as file:
                file.write(pack_load(load))
    return run


WORDS = (
    "slow disk: waits for images 5.2× the median; blocked in I/O 50 % of the time; disk of node-b"
)


def test_status_the_report_and_the_header_name_the_cause(made: MadeRun) -> None:
    reader = client.open_run(str(made.paths.root))
    snapshot = reader.poll()
    (late,) = client.late_ranks_of(reader)
    assert (late.rank, late.node, late.cause) == (2, "node-b", Cause.DISK)
    assert client.late_ranks_of(reader, snapshot.attempt) == (late,)
    shown = CliRunner().invoke(cli, ["status", "made"]).output
    assert f"rank 2: {WORDS} 92 % busy" in " ".join(shown.split())
    printed = CliRunner().invoke(cli, ["status", "made", "--json"]).stdout
    (found,) = json.loads(printed)["late_ranks"]
    assert (found["rank"], found["node"], found["cause"]) == (2, "node-b", "slow disk")
    page = report(reader, None)
    assert "Late ranks" in page
    assert "<td>slow disk</td>" in page
    frame = LiveRun(reader).frame(FrameRequest(skew_bins=40))
    assert frame.skew.worst_rank == 2
    assert frame.skew.words.startswith("rank 2 on node-b ")
    assert WORDS in frame.skew.words


def test_a_run_without_load_samples_is_shown_as_before(made: MadeRun) -> None:
    for rank in range(4):
        made.paths.attempt(1).rank(rank).load.unlink()
    reader = client.open_run(str(made.paths.root))
    reader.poll()
    assert client.late_ranks_of(reader) == ()
    assert "slow disk" not in CliRunner().invoke(cli, ["status", "made"]).output


def test_the_cause_is_looked_for_every_four_seconds_where_reports_came() -> None:
    calls: list[int | None] = []
    link = LateRank(3, "node-b", 80.0, Cause.LINK, "gets results 80 ms after the others")

    def late_ranks(attempt: int | None) -> tuple[LateRank, ...]:
        calls.append(attempt)
        return (link,)

    maker = LateMaker(late_ranks)
    # A rank behind a slow link is not late by its own work: only the cause names it.
    for at_s in (10.0, 11.0, 13.9, 14.0):
        shown = maker.explained(SkewData(), 1, at_s, at_s)
        assert (shown.worst_rank, shown.words) == (3, link.words)
    assert calls == [1, 1]
    maker.explained(SkewData(), 1, 14.0, 99.0)
    assert calls == [1, 1]
    # A replay goes back.
    maker.explained(SkewData(), 1, 3.0, 3.0)
    assert calls == [1, 1, 1]
    known = SkewData(words="rank 3 on node-b is 20 % late", worst_rank=3)
    assert maker.explained(known, 2, 3.0, 3.1).words == f"{known.words}: slow link: {link.evidence}"
    assert calls == [1, 1, 1, 2]
