"""The event log on a full disk."""

from __future__ import annotations

import os

from launcher.core.run import events
from launcher.store.event_log import EventLog, read_state


def test_events_wait_for_space_in_their_order(tmp_path, monkeypatch):
    log = EventLog(tmp_path / "events.jsonl")
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    log.add(events.RunCreated(run="r", profile="p", world_size=2))
    log.add(events.AttemptStarted(attempt=1, world_size=2))
    assert log.trouble is not None
    assert read_state(tmp_path).last_n == 0
    monkeypatch.setattr(os, "pwrite", real)
    log.flush()
    assert log.trouble is None
    assert (log.state.run, log.state.last_n) == ("r", 2)
    log.close()
