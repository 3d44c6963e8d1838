"""Whole files and checkpoints of a node."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

from launcher.ipc import operations as op
from launcher.node import stdio
from launcher.reading import checkpoints
from launcher.store import atomic, copies

QUIET_LIMIT_S = 90.0
"""More than a client waits for a block of the file that it sends."""


def read(request: op.ReadFile) -> None:
    """All of a file, as messages in the order of its bytes."""
    for block in atomic.blocks_of(_path(request.path)):
        stdio.send({"type": "file", "data": block})


def write(request: op.WriteFile) -> None:
    """The file is there when the reply says so."""
    content = request.content
    atomic.write_whole(_path(request.path), content, _stdin(content.size_bytes))


def names(request: op.ListFiles) -> tuple[str, ...]:
    """Names of the plain files of a folder."""
    folder = _path(request.path)
    found = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return tuple(sorted(found))


def _path(text: str) -> Path:
    """A checkpoint's folder may begin with the home of this machine."""
    return Path(text).expanduser()


def _stdin(size_bytes: int) -> Iterator[bytes]:
    """Ends early for a client that is gone: a network that is cut shows no end."""
    left = size_bytes
    while left > 0 and select.select([0], [], [], QUIET_LIMIT_S)[0]:
        if not (block := os.read(0, min(left, atomic.BLOCK_BYTES))):
            return
        left -= len(block)
        yield block


HANDLERS: op.Handlers = {
    op.FindCheckpoints: lambda request: checkpoints.find(_path(request.path)),
    op.MatchFiles: lambda request: checkpoints.matching(request.path),
    op.ReadCheckpoint: lambda request: checkpoints.facts_of(_path(request.path)),
    op.DigestFile: lambda request: atomic.content_of(_path(request.path)),
    op.ReadFile: read,
    op.WriteFile: write,
    op.ListFiles: names,
    op.KeepCopies: lambda request: copies.keep_only(_path(request.path), request.names),
}
