"""The recorded run that ``--demo`` plays. It is part of the package: no trainer, no hardware."""

from __future__ import annotations

import os
import shutil
import tarfile
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Final

from launcher import client
from tui.sources.replay import ReplaySource
from tui.sources.source import SourceError

NAME: Final = "local-cpu-8p-demo"
SPEED: Final = 5.0  # its four minutes in less than one


def unpack(folder: Path) -> Path:
    """Writes the recording under ``folder``; -> its run directory. Raises :class:`SourceError`."""
    packed = resources.files("tui") / "demo" / "run.tar.gz"
    try:
        with packed.open("rb") as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                content = tar.extractfile(member) if member.isfile() else None
                if content is None or path.is_absolute() or ".." in path.parts:
                    continue
                there = folder / path
                there.parent.mkdir(parents=True, exist_ok=True)
                with there.open("wb") as write:
                    shutil.copyfileobj(content, write)
                os.utime(there, (member.mtime, member.mtime))
    except (OSError, tarfile.TarError) as problem:
        raise SourceError(f"the recording of --demo cannot be read: {problem}") from problem
    return folder / NAME


class DemoSource(ReplaySource):
    """A replay whose only run is the recorded one; it pauses at the failure."""

    pauses = True

    def __init__(self, speed: float) -> None:
        super().__init__(speed)
        self.run = unpack(self._copies.path / "recording")
        self._runs = client.RunList(self.run.parent, temporary=True)
