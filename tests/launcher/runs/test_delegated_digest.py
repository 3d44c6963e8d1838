"""A run whose supervisor is on its first node: its checkpoint is digested once for a resume."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.core.run.requests import ResumeRequest
from launcher.core.text.codec import convert, to_plain
from launcher.core.text.records import decode, encode
from launcher.errors import LaunchError
from launcher.ipc.operations import Operation
from launcher.node import runs as node_runs
from launcher.remote.node_client import NodePool
from launcher.runs import delegated
from launcher.runs.delegated import DelegatedRun, Home
from launcher.runs.local import LocalRun
from launcher.store import atomic, owner
from tests.tui.made_run import MadeRun


class FirstNode:
    """Each operation is a process of its own, which reads files for the first time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: list[str] = []
        self._read = atomic._read
        monkeypatch.setattr(atomic, "_read", self.reads)
        monkeypatch.setattr(delegated, "call", self.call)

    def reads(self, path: Path) -> atomic.Content:
        self.read.append(path.name)
        return self._read(path)

    def call(self, _: object, operation: Operation[Any], __: object = None) -> Any:
        atomic._digests.clear()
        request = decode(Operation, json.loads(json.dumps(encode(operation))))
        reply = node_runs.HANDLERS[type(request)](request)
        atomic._digests.clear()
        return convert(operation.reply_type(), json.loads(json.dumps(to_plain(reply))), "reply")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DelegatedRun:
    made = MadeRun(tmp_path / "there", "made-1", ranks=2, time_s=time.time() - 100, pid=0)
    made.start()
    made.steps(50)
    made.fail(1)
    monkeypatch.setattr(owner, "must_be_mine", lambda *_, **__: None)
    monkeypatch.setattr(LocalRun, "spawn", lambda *_, **__: None)
    monkeypatch.setattr(DelegatedRun, "connect", lambda *_, **__: None)
    monkeypatch.setattr(DelegatedRun, "_digests", {})
    return DelegatedRun(made.paths.root, Home("alpha", str(made.paths.root)))


def test_what_is_new_of_a_run_that_trains_comes_with_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that follows it does not end: it is not waited for."""
    made = MadeRun(tmp_path / "here", "made-1", ranks=2, time_s=time.time() - 100, pid=0)
    made.start()
    run = DelegatedRun(made.paths.root, Home("alpha", "/there"))
    followed, spawned = [True] * 9, []
    monkeypatch.setattr(DelegatedRun, "is_supervised", property(lambda _: followed.pop()))
    monkeypatch.setattr(DelegatedRun, "spawn", lambda *_, **__: spawned.append(1))
    run.connect(is_new=True)
    assert (len(followed) > 3, spawned) == (True, [])
    # Of one that is over, it may end before it has seen what is new.
    made.fail(1)
    followed[:] = [False, True, True, True, True]
    run.connect(is_new=True)
    assert (followed, spawned) == ([], [1])


def test_the_card_and_the_resume_read_the_checkpoint_once(
    run: DelegatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, request = FirstNode(monkeypatch), ResumeRequest(preflight=False)
    card = run.resume_choice(run.next_attempt(request, None))
    assert (card.step, card.verified) == (45, True)
    with NodePool() as nodes:
        assert run.resume(run.next_attempt(request, None), nodes) == card
    assert run.resume_choice(run.next_attempt(request, None)) == card
    assert node.read == ["step-00000045.ckpt"]


def test_a_checkpoint_that_changed_after_the_card_is_read_again(
    run: DelegatedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, request = FirstNode(monkeypatch), ResumeRequest(preflight=False)
    run.resume_choice(run.next_attempt(request, None))
    path = run.paths.checkpoint / "step-00000045.ckpt"
    content = path.read_bytes()
    path.write_bytes(content[:10] + b"?" + content[11:])
    with NodePool() as nodes, pytest.raises(LaunchError, match="no checkpoint is whole"):
        run.resume(run.next_attempt(request, None), nodes)
    assert node.read == ["step-00000045.ckpt"] * 2
