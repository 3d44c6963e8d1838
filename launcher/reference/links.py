"""`log.txt`, `eval_log.txt`, `./checkpoint` where the reference's README has them: links."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from launcher.errors import BusyError


def refuse_files_of_others(paths: Iterable[Path]) -> None:
    """A link of an earlier run may be replaced, and nothing else. Raises BusyError."""
    for path in paths:
        if path.exists() and not path.is_symlink():
            kind = "folder" if path.is_dir() else "file"
            raise BusyError(
                f"{path} is a {kind} that these scripts did not make, and it stays as it is",
                "Move it elsewhere, or call the script from another folder.",
            )


def set_aside(path: Path) -> Path | None:
    """Renames a file that is no link, so that a new log can have its name. -> its new path."""
    if path.is_symlink() or not path.exists():
        path.unlink(missing_ok=True)
        return None
    number = 1
    while (aside := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    path.rename(aside)
    return aside


def link(path: Path, target: Path) -> None:
    """Makes `path` a link to `target`, in the place of an older link, in one step."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(path)
