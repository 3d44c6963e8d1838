"""Files from one machine to another, through the connections that all else goes through.

From node to node they pass through this machine, which both let in. Nothing is believed: the sha256
is compared where the file arrives, and only then it gets its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from launcher.core.run.paths import MANIFEST_SUFFIX
from launcher.errors import LaunchError, NodeError
from launcher.ipc import operations as op
from launcher.remote.node_client import NodeClient
from launcher.store import atomic
from launcher.store.atomic import Content

SILENT_S = 60.0

Progress = Callable[[str, int, int], None]
"""Told what is copied, bytes so far and bytes in all."""


class FileHost(Protocol):
    """Where files are. `label`: a node's name, empty for this machine. All raise `LaunchError`."""

    label: str

    def content(self, path: str) -> Content | None: ...

    def read(self, path: str) -> Iterator[bytes]: ...

    def write(self, path: str, content: Content, blocks: Iterable[bytes]) -> None: ...


class LocalFiles:
    """This machine."""

    label = ""

    def content(self, path: str) -> Content | None:
        return atomic.content_of(Path(path))

    def read(self, path: str) -> Iterator[bytes]:
        try:
            yield from atomic.blocks_of(Path(path))
        except OSError as error:
            raise LaunchError(f"{path} cannot be read: {error.strerror or error}") from error

    def write(self, path: str, content: Content, blocks: Iterable[bytes]) -> None:
        try:
            atomic.write_whole(Path(path), content, blocks)
        except OSError as error:
            raise LaunchError(f"{path} cannot be written: {error.strerror or error}") from error


class NodeFiles:
    """A node that SSH reaches."""

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self.label = client.label

    def content(self, path: str) -> Content | None:
        return self._client.call(op.DigestFile(path))

    def names(self, folder: str) -> list[str]:
        """The plain files of a folder."""
        return [name for name in self._client.call(op.ListFiles(folder)) if os.sep not in name]

    def read(self, path: str) -> Iterator[bytes]:
        with self._client.open(op.ReadFile(path), SILENT_S) as call:
            for message in call.messages():
                if not isinstance(data := message.get("data"), bytes):
                    raise NodeError(self.label, f"{path}: it sent a damaged file message")
                yield data

    def write(self, path: str, content: Content, blocks: Iterable[bytes]) -> None:
        with self._client.open(op.WriteFile(path, content), SILENT_S) as call:
            try:
                for block in blocks:
                    call.stream.write(block)
            except OSError as error:
                # What is wrong there (a full disk, for example) is in its reply.
                call.stream.end_input()
                call.reply()
                raise call.failed(str(error)) from error
            call.reply()


def bring(
    source: FileHost,
    path: str,
    target: FileHost,
    to: str,
    progress: Progress | None = None,
) -> int | None:
    """Copies one file, and `to` is there only when all of it is right.

    -> bytes that were copied; None when `to` holds the same already. Raises `LaunchError`.
    """
    content = source.content(path)
    if content is None:
        raise LaunchError(f"{source.label or 'here'}: {path} is not there, or cannot be read")
    if target.content(to) == content:
        return None
    name = os.path.basename(to)

    def told() -> Iterator[bytes]:
        done = 0
        for block in source.read(path):
            done += len(block)
            if progress is not None:
                progress(name, done, content.size_bytes)
            yield block

    target.write(to, content, told())
    return content.size_bytes


def bring_checkpoint(
    source: FileHost,
    path: str,
    target: FileHost,
    folder: str,
    progress: Progress | None = None,
) -> tuple[str, int]:
    """A checkpoint, then its manifest: without that it does not exist. -> (its path there, bytes).

    Raises `LaunchError`.
    """
    to = f"{folder}/{os.path.basename(path)}"
    copied = bring(source, path, target, to, progress) or 0
    bring(source, path + MANIFEST_SUFFIX, target, to + MANIFEST_SUFFIX)
    return to, copied
