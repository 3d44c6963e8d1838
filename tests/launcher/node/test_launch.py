"""The same launch twice: a supervisor died, and the next one cannot know how far it came."""

from __future__ import annotations

import pytest

from launcher.ipc import operations as op
from launcher.node import relay


class _Channel:
    def close(self):
        pass


def _launch(tmp_path, monkeypatch):
    """-> how often the agent was started."""
    starts = []
    monkeypatch.setattr(
        relay.LocalTransport, "launch", lambda self: starts.append(self) or _Channel()
    )
    monkeypatch.setattr(relay, "_relay", lambda attempt: None)
    there = op.AttemptFolder(str(tmp_path), "node-a", 1, "token")
    relay.launch(op.Launch(there, op.CopyRequest({}, "w")))
    return len(starts)


def test_a_node_without_an_agent_starts_one(tmp_path, monkeypatch):
    assert _launch(tmp_path, monkeypatch) == 1


@pytest.mark.parametrize("is_alive", [True, False], ids=["lives", "has ended"])
def test_an_attempt_has_one_agent(tmp_path, monkeypatch, is_alive):
    (tmp_path / "stop").touch()
    journal = tmp_path / "attempts/001/agents/node-a.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("" if is_alive else '{"kind":"node_ended","n":1}\n')
    monkeypatch.setattr(relay.LocalTransport, "is_agent_alive", lambda self: is_alive)
    assert _launch(tmp_path, monkeypatch) == 0
    assert (tmp_path / "stop").exists()
