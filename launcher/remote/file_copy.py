"""Files copied between machines, over the connections of the action.

From one node to another they pass through this machine. A file gets its name only after its sha256
was verified where it arrived.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar

from launcher.core.run.checkpoints import CheckpointFacts
from launcher.core.run.paths import MANIFEST_SUFFIX
from launcher.errors import LaunchError, NodeError
from launcher.ipc import operations as op
from launcher.reading import checkpoints
from launcher.remote.node_client import NodeClient
from launcher.store import atomic, copies
from launcher.store.atomic import Content

SILENT_S = 60.0

Progress = Callable[[str, int, int], None]
"""Gets the file's name, the bytes copied so far, and all of its bytes."""


class LocalFiles:
    """This machine."""

    label = ""

    def checkpoints(self, folder: str) -> tuple[CheckpointFacts, ...]:
        return checkpoints.find(Path(folder))

    def checkpoint(self, path: str) -> CheckpointFacts:
        return checkpoints.facts_of(Path(path))

    def matching(self, pattern: str) -> tuple[CheckpointFacts, ...]:
        """Files that match a glob, the newest first."""
        return checkpoints.matching(pattern)

    def content(self, path: str) -> Content | None:
        return atomic.content_of(Path(path))

    def content_of(self, facts: CheckpointFacts) -> Content | None:
        return self.content(facts.path)

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

    def keep_copies(self, folder: str, names: tuple[str, ...]) -> None:
        """Deletes other copies, see `launcher.store.copies`."""
        copies.keep_only(Path(folder), names)


class NodeFiles:
    """A node over SSH, which digests its files itself: each once per action.

    A checkpoint's file is digested once by this process as long as its size and time stay the same:
    the dashboard's card and the resume that follows it ask for the same one.
    """

    _digested: ClassVar[dict[tuple[str, str], tuple[CheckpointFacts, Content]]] = {}

    def __init__(self, client: NodeClient) -> None:
        self._client = client
        self._contents: dict[str, Content] = {}
        self.label = client.label

    def checkpoints(self, folder: str) -> tuple[CheckpointFacts, ...]:
        return self._client.call(op.FindCheckpoints(folder))

    def checkpoint(self, path: str) -> CheckpointFacts:
        return self._client.call(op.ReadCheckpoint(path))

    def matching(self, pattern: str) -> tuple[CheckpointFacts, ...]:
        return self._client.call(op.MatchFiles(pattern))

    def content(self, path: str) -> Content | None:
        content = self._contents.get(path) or self._client.call(op.DigestFile(path))
        if content is not None:
            self._contents[path] = content
        return content

    def content_of(self, facts: CheckpointFacts) -> Content | None:
        """The content of a checkpoint's file that `checkpoints` or `checkpoint` has just found."""
        node = self._client.node
        key = f"{node.user}@{node.address}:{node.port}", facts.path
        before, known = self._digested.get(key, (None, None))
        content = known if before == facts else self.content(facts.path)
        if content is not None:
            self._contents[facts.path] = content
            self._digested[key] = facts, content
        return content

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
        left = content.size_bytes
        with self._client.open(op.WriteFile(path, content), SILENT_S) as call:
            try:
                for block in blocks:
                    # More than was said would be read as the next request.
                    call.stream.write(block[:left])
                    left -= len(block[:left])
            except OSError as error:
                # The reply has the node's own error, such as a full disk.
                call.stream.end_input()
                call.reply()
                raise call.failed(str(error)) from error
            if left:
                call.stream.end_input()  # the node waits for what does not come
            call.reply()
        self._contents[path] = content

    def keep_copies(self, folder: str, names: tuple[str, ...]) -> None:
        self._client.call(op.KeepCopies(folder, names))


FileHost = LocalFiles | NodeFiles
"""Files of a machine. `label`: a node's name, empty for this one. Raises `LaunchError`."""


def bring(
    source: FileHost,
    path: str,
    target: FileHost,
    to: str,
    progress: Progress | None = None,
) -> int | None:
    """Copies one file. -> copied bytes; None when `to` had that content. Raises `LaunchError`."""
    content = source.content(path)
    if content is None:
        raise LaunchError(f"{source.label or 'here'}: {path} is missing or cannot be read")
    if target.content(to) == content:
        return None
    name = os.path.basename(to)

    def blocks() -> Iterator[bytes]:
        done = 0
        for block in source.read(path):
            done += len(block)
            if progress is not None:
                progress(name, done, content.size_bytes)
            yield block

    target.write(to, content, blocks())
    return content.size_bytes


def bring_checkpoint(
    source: FileHost,
    path: str,
    target: FileHost,
    folder: str,
    progress: Progress | None = None,
) -> tuple[str, int]:
    """Copies a checkpoint, then its manifest, which makes it valid.

    -> (its path there, copied bytes). Raises `LaunchError`.
    """
    to = f"{folder}/{os.path.basename(path)}"
    copied = bring(source, path, target, to, progress) or 0
    bring(source, path + MANIFEST_SUFFIX, target, to + MANIFEST_SUFFIX)
    return to, copied
