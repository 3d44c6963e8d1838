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
from launcher.errors import LaunchError
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
        reply = self._client.raise_for_reply(self._client.call("digest", path=path))
        size, sha256 = reply.get("bytes"), reply.get("sha256")
        return Content(size, sha256) if isinstance(size, int) and isinstance(sha256, str) else None

    def names(self, folder: str) -> list[str]:
        """The plain files of a folder."""
        reply = self._client.raise_for_reply(self._client.call("list_files", path=folder))
        return [str(name) for name in reply.get("names", ()) if os.sep not in str(name)]

    def read(self, path: str) -> Iterator[bytes]:
        stream, frames = self._client.open_stream("read_file", SILENT_S, path=path)
        try:
            while (frame := frames.read()) is not None:
                if isinstance(data := frame.message.get("data"), bytes):
                    yield data
                else:
                    self._client.raise_for_reply(frame.message)
                    return
            raise self._client.failed(stream, f"{path}: the connection broke")
        finally:
            stream.close()

    def write(self, path: str, content: Content, blocks: Iterable[bytes]) -> None:
        request = {"path": path, "bytes": content.size_bytes, "sha256": content.sha256}
        stream, frames = self._client.open_stream("write_file", SILENT_S, **request)
        try:
            try:
                for block in blocks:
                    stream.write(block)
            except OSError as error:
                # What is wrong there (a full disk, say) is in its reply, when it could say it.
                stream.end_input()
                self._client.raise_for_reply(self._client.reply(stream, frames))
                raise self._client.failed(stream, str(error)) from error
            self._client.raise_for_reply(self._client.reply(stream, frames))
        finally:
            stream.close()


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
