"""Messages of a node on an SSH channel: JSON lines, some followed by raw bytes.

`body_bytes` is their number. In a message they are its `data`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from launcher.core.text.records import MAX_FRAME_BYTES
from launcher.errors import NodeError
from launcher.ipc.operations import Message

MAX_BODY_BYTES = 1 << 20
MAX_NOISE_BYTES = 1 << 20
"""Limit for the output of a login shell before the first message."""


class Readable(Protocol):
    """A stream; empty bytes at its end."""

    def read(self) -> bytes: ...


class Frame(NamedTuple):
    """A message and its line."""

    message: Message
    line: bytes


def encode(message: Message) -> bytes:
    data = message.get("data")
    if isinstance(data, bytes):
        header = {**message, "body_bytes": len(data)}
        del header["data"]
        return json.dumps(header, separators=(",", ":")).encode() + b"\n" + data
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class FrameReader:
    """Reads a node's messages. Everything before the line `mark` is output of its login shell."""

    def __init__(self, node: str, stream: Readable, mark: str) -> None:
        self._node = node
        self._stream = stream
        self._mark = mark.encode()
        self._is_marked = False
        self._buffer = bytearray()
        self._searched = 0
        self._header: Frame | None = None

    def read(self) -> Frame | None:
        """The next message; None at the end of the stream. Blocks.

        Raises `NodeError` for anything but a message. The connection cannot be used any more.
        """
        while (frame := self._next()) is None:
            data = self._stream.read()
            if not data:
                return None
            self._buffer += data
        return frame

    def read_from(self, data: bytes) -> Iterator[Frame]:
        """The messages that are whole with this data, for a stream that is read elsewhere."""
        self._buffer += data
        while (frame := self._next()) is not None:
            yield frame

    def read_mark(self) -> bool:
        """Waits for the mark: the node has read the request. False when the stream ends before."""
        while not self._is_marked:
            while not self._is_marked and (line := self._line()) is not None:
                self._is_marked = line == self._mark
            if not self._is_marked:
                if not (data := self._stream.read()):
                    return False
                self._buffer += data
        return True

    def _next(self) -> Frame | None:
        while True:
            if self._header is not None:
                return self._with_body(self._header)
            line = self._line()
            if line is None:
                return None
            if not self._is_marked:
                self._is_marked = line == self._mark
                continue
            self._header = Frame(self._parsed(line), line)

    def _with_body(self, header: Frame) -> Frame | None:
        size = header.message.get("body_bytes")
        if size is not None:
            if type(size) is not int or not 0 <= size <= MAX_BODY_BYTES:
                raise self._damaged(f"body_bytes is {size!r:.40}")
            if len(self._buffer) < size:
                return None
            header.message["data"] = bytes(self._buffer[:size])
            del self._buffer[:size]
        self._header = None
        return header

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\n", self._searched)
        if end < 0:
            limit = MAX_FRAME_BYTES if self._is_marked else MAX_NOISE_BYTES
            if len(self._buffer) > limit:
                raise self._damaged(f"a line has more than {limit >> 20} MiB")
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line

    def _parsed(self, line: bytes) -> Message:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._damaged(f"{type(error).__name__}: {line[:40]!r}") from error
        if not isinstance(message, dict):
            raise self._damaged(f"not an object: {line[:40]!r}")
        return message

    def _damaged(self, why: str) -> NodeError:
        return NodeError(self._node, f"it sent a damaged message ({why})")
