"""What the kernel shows of this process: its command and its environment, in its own memory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence

from launcher.fork import ROOM


def show(program: Sequence[str], environment: Mapping[str, str]) -> None:
    """Overwrites the command, and the room for variables, as far as there is room."""
    start, end, _, _ = _places()
    _overwrite(start, end, program)
    for name, first, last in _entries():
        if name == ROOM:
            # Nothing uses it: `os.environ` of the rank does not have it.
            _overwrite(first, last, [f"{key}={value}" for key, value in environment.items()])


def change(environment: Mapping[str, str]) -> None:
    """Shows these values in the place of others. One that has no room there is not shown at all.

    `os.environ` must have them already: then nothing uses the place any more.
    """
    for name, first, last in _entries():
        if name in environment:
            text = f"{name}={environment[name]}"
            if len(os.fsencode(text)) + 1 != last - first:
                text = "_" * (last - first - 1)  # some readers stop at an empty variable
            _overwrite(first, last, [text])


def _places() -> tuple[int, int, int, int]:
    """Begin and end of the command, begin and end of the environment."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end, variables, variables_end = map(int, fields[45:49])
    return start, end, variables, variables_end


def _entries() -> Iterator[tuple[str, int, int]]:
    """Name, begin and end of each variable."""
    _, _, start, end = _places()
    for entry in ctypes.string_at(start, end - start).split(b"\0"):
        last = start + len(entry) + 1
        yield os.fsdecode(entry.partition(b"=")[0]), start, last
        start = last


def _overwrite(start: int, end: int, words: Sequence[str]) -> None:
    content = b"".join(os.fsencode(word) + b"\0" for word in words)
    room = end - start
    ctypes.memmove(start, content[: room - 1].ljust(room, b"\0"), room)
