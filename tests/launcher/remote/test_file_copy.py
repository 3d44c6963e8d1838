"""What a node is asked about its files, and how often."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.core.run.checkpoints import CheckpointFacts
from launcher.ipc import operations as op
from launcher.remote.file_copy import NodeFiles
from launcher.store.atomic import Content

FACTS = CheckpointFacts("/runs/r/checkpoint/step-00000010.ckpt", None, 9, modified_s=5.25)


class Client:
    """Of a node that digests; `asked`: the paths."""

    def __init__(self, port: int | None = None) -> None:
        self.label = "alpha"
        self.node = SimpleNamespace(user="u", address="10.0.0.1", port=port)
        self.asked: list[str] = []

    def call(self, operation: Any) -> Content:
        assert isinstance(operation, op.DigestFile)
        self.asked.append(operation.path)
        return Content(9, f"sha {len(self.asked)}")


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeFiles, "_digested", {})


def test_a_checkpoint_is_digested_once_for_the_card_and_the_resume_after_it() -> None:
    client = Client()
    card, resume = NodeFiles(client), NodeFiles(client)
    assert card.content_of(FACTS) == resume.content_of(FACTS) == Content(9, "sha 1")
    # What copies it to another node asks for the same content.
    assert resume.content(FACTS.path) == Content(9, "sha 1")
    assert client.asked == [FACTS.path]


@pytest.mark.parametrize("change", [{"file_bytes": 8}, {"modified_s": 5.5}, {"path": "/other"}])
def test_a_file_that_changed_is_digested_again(change: dict[str, Any]) -> None:
    client = Client()
    NodeFiles(client).content_of(FACTS)
    assert NodeFiles(client).content_of(replace(FACTS, **change)) == Content(9, "sha 2")


def test_two_nodes_behind_one_address_are_two() -> None:
    first, second = Client(2201), Client(2202)
    NodeFiles(first).content_of(FACTS)
    NodeFiles(second).content_of(FACTS)
    assert len(second.asked) == 1
