"""What is reported of copies that cannot be made."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future
from pathlib import Path

from launcher.copies.copier import CheckpointCopier
from launcher.copies.next_copy import Copied
from launcher.core.run.events import CheckpointNotCopied
from launcher.store.event_log import EventLog
from tests import story


def test_a_fault_that_meets_several_files_is_reported_once(tmp_path: Path) -> None:
    """A disk becomes read-only between a checkpoint and its manifest, say."""
    with contextlib.closing(EventLog(tmp_path / "events.jsonl")) as log:
        copier = CheckpointCopier(log)
        for why in (
            "Read-only file system: '/r/.step-00000050.ckpt.manifest.json.193.part'",
            "Read-only file system: '/r/.step-00000060.ckpt.194.part'",
            "No space left on device: '/r/.step-00000070.ckpt.195.part'",
        ):
            work = Future[Copied]()
            work.set_result(Copied(CheckpointNotCopied(1, "beta", why, 50)))
            copier._finish(work, 0.0)
    found = [event["why"].partition(":")[0] for event in story.events(tmp_path)]
    assert found == ["Read-only file system", "No space left on device"]
