"""Which run directories are this user's, and the tokens of their processes.

Both are kept outside of the run directory, in the user's state folder: whoever can write a run
directory can neither make it a run of somebody else nor name that one's processes. An entry is of
one folder (device, inode and path), so a copy or a moved folder has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from launcher.core.run.info import parse_run_info
from launcher.core.run.paths import RunPaths
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.errors import LaunchError, NotMineError, RunNotFoundError
from launcher.process import private
from launcher.reading.folders import APP, runs_directory
from launcher.store import atomic
from launcher.store.event_log import read_state

FILE = "owner.json"


@dataclass(frozen=True)
class Owner:
    """`token`: the first part of the tokens of all processes of the run (`token_of`)."""

    token: str
    path: str
    device: int
    inode: int

    def token_of(self, part: str) -> str:
        """The token of an attempt's or a job's processes."""
        return f"{self.token}/{part}"


def must_be_mine(root: Path, runs: Path | None = None) -> Owner:
    """Before anything is done with a run, other than reading it.

    It must be this user's, others must not be able to change it, and it must have been started or
    adopted here. One of an earlier version counts as started here when it is in the runs folder
    (`runs`, where that is not this machine's own).

    Raises `NotMineError`, `RunNotFoundError`.
    """
    root = root.resolve()
    _check(root)
    found = owner_of(root)
    if (
        found is None
        and root.parent == (runs or runs_directory()).resolve()
        and not _is_registered(root)
    ):
        # Processes of such a run have its id as their token.
        found = register(root, "" if read_state(root).status.is_over else root.name)
    if found is None:
        raise NotMineError(
            f"{root} was not started here: it was copied, moved, or made by somebody else",
            "What is in it would be executed as you. To allow that:"
            f" effnet-launch adopt {shlex.quote(str(root))}",
        )
    return found


def adopt(root: Path) -> Owner:
    """Makes a folder a run of this user. Raises `NotMineError`, `RunNotFoundError`."""
    root = root.resolve()
    _check(root)
    return owner_of(root) or register(root)


def register(root: Path, token: str = "") -> Owner:
    """A new entry for a folder; what was kept for an earlier one at its place is removed.

    Raises `LaunchError`.
    """
    root = root.resolve()
    forget(root)
    token = token or f"{secrets.token_hex(16)}/{root.name}"
    status = root.stat()
    made = Owner(token, str(root), status.st_dev, status.st_ino)
    folder = private_folder(root)
    try:
        private.own_folder(_state_folder(), "Set XDG_STATE_HOME to a folder of yours.")
        private.own_folder(folder)
        text = json.dumps(to_plain(made), indent=2) + "\n"
        atomic.write_file(folder / FILE, text)
    except OSError as error:
        raise LaunchError(f"{folder} cannot be written: {error}") from error
    return made


def owner_of(root: Path) -> Owner | None:
    """The entry of this very folder."""
    root = root.resolve()
    found = _read(private_folder(root) / FILE)
    if found is None:
        return None
    try:
        status = root.stat()
    except OSError:
        return None
    # The number of a network's or a container's file system changes with each mount.
    is_device_fixed = os.major(status.st_dev) != 0
    is_same = found.path == str(root) and found.inode == status.st_ino
    is_same &= not is_device_fixed or found.device == status.st_dev
    return found if is_same else None


def all_owners() -> list[Owner]:
    """The entries of all runs, also of removed ones."""
    files = sorted((_state_folder() / "runs").glob(f"*/{FILE}"))
    return [found for found in map(_read, files) if found is not None]


def forget(root: Path) -> None:
    """Removes everything that is kept for a run outside of its directory."""
    shutil.rmtree(private_folder(root), ignore_errors=True)


def private_folder(root: Path) -> Path:
    """Where files of a run are that must not be in its directory; it may be missing."""
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    return _state_folder() / "runs" / name


def _state_folder() -> Path:
    """`$XDG_STATE_HOME/effnet-tui`, else `~/.local/state/effnet-tui`."""
    return platformdirs.user_state_path(APP, appauthor=False)


def _read(file: Path) -> Owner | None:
    try:
        return from_plain(Owner, json.loads(file.read_text()))
    except (OSError, ValueError, Mismatch):
        return None


def _is_registered(root: Path) -> bool:
    """Whether its version registered each run that it made."""
    with contextlib.suppress(OSError):
        info = parse_run_info(RunPaths(root).run.read_bytes())
        return info is not None and info.is_registered
    return False


def _check(root: Path) -> None:
    if not root.is_dir():
        raise RunNotFoundError(f"{root} is not a run directory")
    if note := private.require_own(root):
        print(note, file=sys.stderr)
