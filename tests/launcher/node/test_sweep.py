"""The end of a node's processes without their agent: what that had still written arrives."""

from __future__ import annotations

from launcher.ipc import operations as op
from launcher.node import relay


def test_what_an_agent_reported_up_to_its_end_is_sent(tmp_path, monkeypatch):
    journal = tmp_path / "attempts/001/agents/node-a.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b'{"n":1}\n')
    sent = []

    def sweep(transport):
        # An agent that was frozen goes on, and reports, before it is ended.
        journal.write_bytes(journal.read_bytes() + b'{"n":2}\n')
        return (7,)

    monkeypatch.setattr(relay.LocalTransport, "sweep", sweep)
    monkeypatch.setattr(relay, "send", lambda *messages: sent.extend(messages))
    there = op.AttemptFolder(str(tmp_path), "node-a", 1, "token")
    names = {"agents/node-a.jsonl": (8, 0)}
    found = relay.HANDLERS[op.Sweep](op.Sweep(there, op.CopyRequest(names, "w")))
    assert found == (7,)
    assert b"".join(m["data"] for m in sent) == b'{"n":2}\n', sent
