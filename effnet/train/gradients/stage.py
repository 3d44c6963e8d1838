"""MindSpore's own compile cache, switched on for one compilation and pointed at a folder of ours.

MindSpore binds the weights of a cached graph by name to those of the cell whose method was
compiled, so what is compiled here has to be such a method. Its check for changed sources reads the
start script and what that imports at its top, and fails without a script: it is given a file that
imports nothing. `key` decides what may be read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import mindspore as ms
from mindspore.graph import api

from effnet.train.gradients.entry import Kept

_SCRIPT = Path(__file__).with_name("__init__.py")
_BY_USER = ("MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH")
_OF_A_RANK = re.compile(r"^rank_\d+/")
_used = False


def is_free() -> bool:
    """MindSpore keeps the first folder and counts its graphs: it is of use once a process."""
    return not _used and not any(name in os.environ for name in _BY_USER)


class Stage:
    """The folder in which MindSpore looks for the graph, and writes it if it is not there."""

    def __init__(self, folder: Path, rank: int, files: Mapping[str, bytes]) -> None:
        self._folder = folder
        for name, content in files.items():
            path = folder / f"rank_{rank}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._given = self._present()

    @property
    def was_read(self) -> bool:
        """Whether MindSpore took what it was given: it replaces what it does not take."""
        return bool(self._given) and self._present() == self._given

    def kept(self, probe: str) -> Kept:
        """What MindSpore wrote. The graph is the same on all ranks, only its folder is not."""
        files = {
            _OF_A_RANK.sub("", str(path.relative_to(self._folder))): path.read_bytes()
            for path in self._present()
        }
        return Kept(files, probe)

    def _present(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for path in sorted(self._folder.rglob("*")):
            status = path.stat()
            if path.is_file():
                found[path] = status.st_ino, status.st_mtime_ns
        return found


@contextmanager
def stage(folder: Path, rank: int, files: Mapping[str, bytes] | None = None) -> Iterator[Stage]:
    """What is compiled within this block is read from `files`, or can be kept afterwards."""
    global _used
    _used = True
    made = Stage(folder, rank, files or {})
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
