from __future__ import annotations

import pytest

from effnet.contract import progress
from launcher.core.run.report import parse
from launcher.core.run.report_types import Progress


def test_a_job_of_the_launcher_prints_its_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.setenv("EFFNET_HEARTBEAT", "/tmp/heartbeat")
    with progress.bar("eval", 360) as say:
        say(128)
    printed = capsys.readouterr()
    assert printed.out == ""  # which may be one JSON object
    assert parse(printed.err) == Progress("eval", 128, 360)


def test_a_pipe_gets_no_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    monkeypatch.delenv("EFFNET_HEARTBEAT", raising=False)
    with progress.bar("eval", 360) as say:
        say(128)
    assert capsys.readouterr() == ("", "")
