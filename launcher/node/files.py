"""Whole files of a node: what `launcher.node` does for `launcher.remote.file_copy`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from launcher.ipc.channel import Message
from launcher.node import stdio
from launcher.store import atomic
from launcher.store.atomic import Content


def digest(request: Message) -> int:
    """Length and sha256 of a file; nulls when there is none."""
    content = atomic.content_of(Path(str(request["path"])))
    stdio.reply(
        ok=True,
        bytes=None if content is None else content.size_bytes,
        sha256=None if content is None else content.sha256,
    )
    return 0


def read_file(request: Message) -> int:
    """All of a file, as messages in the order of its bytes."""
    for block in atomic.blocks_of(Path(str(request["path"]))):
        stdio.say({"type": "file", "data": block})
    stdio.reply(ok=True)
    return 0


def write_file(request: Message) -> int:
    """A file whose bytes follow the request on stdin; it is there when the reply says so."""
    content = Content(int(request["bytes"]), str(request["sha256"]))
    atomic.write_whole(Path(str(request["path"])), content, _stdin(content.size_bytes))
    stdio.reply(ok=True)
    return 0


def list_files(request: Message) -> int:
    """Names of the plain files of a folder."""
    folder = Path(str(request["path"]))
    names = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    stdio.reply(ok=True, names=sorted(names))
    return 0


def _stdin(size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left > 0 and (block := os.read(0, min(left, atomic.BLOCK_BYTES))):
        left -= len(block)
        yield block
