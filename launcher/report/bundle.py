"""A run's directory as one archive to send: without weights and secrets, with its report."""

from __future__ import annotations

import io
import os
import platform
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.core.profile.model import Profile
from launcher.process.tools import output
from launcher.reading.run import RunReader
from launcher.report.mask import Mask
from launcher.report.page import report

LEFT_OUT = frozenset({"checkpoint", "copies", "export", ".reserve", "supervisor.lock"})
MAX_FILE_BYTES = 64 << 20
"""Of a larger file the end is packed."""

TOOLS = (("npu-smi", "info"), ("nvidia-smi",), ("nvidia-smi", "topo", "-m"), ("uname", "-a"))
TOOL_LIMIT_S = 20.0
_TEXT = {".json", ".jsonl", ".log", ".txt", ".toml", ".html", ""}


def write_bundle(
    reader: RunReader,
    profile: Profile | None,
    path: Path,
    *,
    is_anonymous: bool = False,
    on_file: Callable[[str], None] = lambda name: None,
) -> int:
    """Writes a .tar.gz of the run to ``path``, whole or not at all. -> how many files it has.

    Raises `OSError`.
    """
    mask = Mask(profile) if is_anonymous else None
    root, name, count = reader.paths.root, reader.run, 0
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz") as archive:
            made = {
                "report.html": report(reader, profile, is_anonymous=is_anonymous),
                "machine.txt": _machine(),
            }
            for part, text in made.items():
                _add(archive, f"{name}/{part}", text.encode(), mask)
                count += 1
            for file in _files(root):
                relative = str(file.relative_to(root))
                on_file(relative)
                _add(archive, f"{name}/{relative}", _end_of(file), mask)
                count += 1
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return count


def _files(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        here = Path(folder)
        if here == root:
            names[:] = [name for name in names if name not in LEFT_OUT]
        names.sort()
        for name in sorted(files):
            file = here / name
            if name not in LEFT_OUT and file.is_file() and not file.is_symlink():
                yield file


def _end_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - MAX_FILE_BYTES))
        return opened.read(MAX_FILE_BYTES)


def _add(archive: tarfile.TarFile, name: str, data: bytes, mask: Mask | None) -> None:
    if mask is not None and Path(name).suffix in _TEXT:
        text = data.decode("utf-8", "surrogateescape")
        data = mask(text).encode("utf-8", "surrogateescape")
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), 0o600, int(time.time())
    archive.addfile(info, io.BytesIO(data))


def _machine() -> str:
    """What this machine is, and what its devices' tools print."""
    parts = [f"Python {platform.python_version()}, {platform.platform()}"]
    for tool in TOOLS:
        text, problem = output(list(tool), os.environ, TOOL_LIMIT_S)
        parts.append(f"$ {' '.join(tool)}\n{text or problem}")
    return "\n\n".join(parts) + "\n"
