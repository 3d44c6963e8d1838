"""MindSpore's own compile cache, switched on for one compilation and pointed at a folder of ours.

MindSpore binds the weights of a cached graph by name to those of the cell whose method was
compiled, so what is compiled here has to be such a method. Its check for changed sources reads the
start script and what that imports at its top, and fails without a script: it is given a file that
imports nothing. `key` decides what may be read.

MindSpore keeps the first folder of a process, numbers the graphs that are compiled while its cache
is on, and writes what it compares with the sources beside the first one only. So each use gets the
same folder, its files get its number, and that file is given again. Once it has compiled a graph,
it reads no other one in that process.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import mindspore as ms
from mindspore.graph import api

_SCRIPT = Path(__file__).with_name("__init__.py")
_BY_USER = ("MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH")
_OF_A_RANK = re.compile(r"^rank_\d+/")
_NUMBERED = re.compile(r"(?<=compile_cache_)\d+(?=\.)")


@dataclass
class _Uses:
    """What MindSpore has kept in this process."""

    place: Path | None = None
    count: int = 0
    beside: dict[str, bytes] = field(default_factory=dict)
    """By name: what has no number."""
    has_compiled: bool = False
    is_lost: bool = False
    """Whether its number for the next graph is not known."""


_uses = _Uses()


def is_free() -> bool:
    """Whether the next graph of this process can be kept."""
    return not _uses.is_lost and not any(name in os.environ for name in _BY_USER)


def may_read() -> bool:
    """Whether it can also be read."""
    return not _uses.has_compiled


def place() -> Path | None:
    """The folder that each use but the first must have."""
    return _uses.place


class Stage:
    """The folder in which MindSpore looks for the graph, and writes it if it is not there."""

    def __init__(self, folder: Path, rank: int, files: Mapping[str, bytes]) -> None:
        self._folder = folder
        self._number = str(_uses.count)
        self.is_known = True
        """Whether MindSpore has counted this graph, as far as is known."""
        for name, content in {**_uses.beside, **files}.items():
            path = folder / f"rank_{rank}" / _NUMBERED.sub(self._number, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._given = self._present()

    def give_up(self) -> None:
        """It was not compiled, and not read: nothing is read or kept in this process any more."""
        self.is_known = False

    @property
    def was_read(self) -> bool:
        """Whether MindSpore took what it was given: it replaces what it does not take."""
        return any(map(self._is_graph, self._given)) and self._present() == self._given

    @property
    def has_graph(self) -> bool:
        """Whether the graph is here, under the number that it should have."""
        return any(map(self._is_graph, self._present()))

    def files(self) -> dict[str, bytes]:
        """What MindSpore wrote. The graph is the same on all ranks, only its folder is not."""
        found = {}
        for path in self._present():
            name = _OF_A_RANK.sub("", str(path.relative_to(self._folder)))
            found[_NUMBERED.sub("0", name)] = path.read_bytes()
        return found

    def _is_graph(self, path: Path) -> bool:
        number = _NUMBERED.search(path.name)
        return number is not None and number[0] == self._number

    def _present(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for path in sorted(self._folder.rglob("*")):
            status = path.stat()
            if path.is_file():
                found[path] = status.st_ino, status.st_mtime_ns
        return found


@contextmanager
def stage(folder: Path, rank: int, files: Mapping[str, bytes] | None = None) -> Iterator[Stage]:
    """What is compiled within this block is read from `files`, or can be kept afterwards.

    It is one graph. `folder` is empty, and at `place()` from the second use on.
    """
    _uses.is_lost = True  # until it is over
    made = Stage(folder, rank, files or {})
    _uses.place = folder
    script = api.entry_script_path
    ms.set_context(enable_compile_cache=True, compile_cache_path=str(folder))
    try:
        api.entry_script_path = str(_SCRIPT)
        yield made
    finally:
        api.entry_script_path = script
        ms.set_context(enable_compile_cache=False)
        for name in _BY_USER:
            os.environ.pop(name, None)
    if made.is_known and made.has_graph:
        beside = {k: v for k, v in made.files().items() if not _NUMBERED.search(k)}
        _uses.beside, _uses.count, _uses.is_lost = beside, _uses.count + 1, False
        _uses.has_compiled |= not made.was_read
