"""Folders and files that only this user may open, whatever the umask of the shell."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shlex
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from launcher.errors import LaunchError, NotMineError

FOLDER_MODE, FILE_MODE = 0o700, 0o600
UMASK = 0o077


def apply_umask() -> None:
    """For a process of a run: what it and its children write is private."""
    os.umask(UMASK)


def unnamed_file(label: str) -> int:
    """A file descriptor of memory, or of a file that has no name. Raises `OSError`."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(label)
    # Builds of Python for old systems, as conda's, have no memfd.
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def make_folder(path: Path) -> None:
    """Makes it, and each missing folder above it, with mode 0700. Raises `OSError`."""
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            # Another process may have been faster.
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=FOLDER_MODE)
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder")


def own_folder(folder: Path, hint: str = "") -> Path:
    """Makes a folder that only this user can open. Raises `LaunchError` when it is not."""
    try:
        make_folder(folder)
        status = folder.lstat()
    except OSError as error:
        raise LaunchError(f"cannot make the folder {folder}: {error}", hint) from error
    is_mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not is_mine or status.st_mode & UMASK:
        raise LaunchError(
            f"{folder} must be a folder that only you can open (mode 0700)",
            f"Remove it. {hint}".strip(),
        )
    return folder


def require_own(folder: Path) -> str:
    """Before anything of a run directory is used: only this user may be able to change it.

    Closes what other users can only read. -> a line about it for the user, empty when there was
    nothing to do. Raises `NotMineError` when it is not mine or others can write it.
    """
    try:
        mode = _checked(folder, folder)
        if not mode & UMASK:
            return ""  # nobody else can have reached what is in it
        for path in _below(folder):
            # A run that lives replaces and removes files.
            with contextlib.suppress(FileNotFoundError):
                _checked(path, folder)
        os.chmod(folder, FOLDER_MODE)
        for path in _below(folder):
            with contextlib.suppress(FileNotFoundError):
                before = path.lstat().st_mode
                if not stat.S_ISLNK(before):
                    os.chmod(path, stat.S_IMODE(before) & ~UMASK)
    except OSError as error:
        raise LaunchError(f"{folder} cannot be made private: {error}") from error
    return f"{folder} could be read by other users (mode {mode:04o}): it is private now (0700)"


def _checked(path: Path, folder: Path) -> int:
    """The mode of `path`, which is in `folder` or is it."""
    status = path.lstat()
    if status.st_uid != os.geteuid():
        raise NotMineError(
            f"{path} belongs to {_user(status.st_uid)}, not to you ({_user(os.geteuid())})",
            "Only its owner can use a run directory. You can still read it: status, logs, events.",
        )
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return mode
    if mode & stat.S_IWOTH or (mode & stat.S_IWGRP and not _is_own_group(status.st_gid)):
        raise NotMineError(
            f"{path} can be changed by other users (mode {mode:04o})",
            "Make sure that nobody changed the files in it, then type:"
            f" chmod -R go-rwx {shlex.quote(str(folder))}",
        )
    return mode


def _is_own_group(group: int) -> bool:
    """Whether this user is the only member: with umask 0002 such groups can write everything."""
    me = os.geteuid()
    try:
        members = {pwd.getpwnam(name).pw_uid for name in grp.getgrgid(group).gr_mem}
    except KeyError:
        return False
    members |= {user.pw_uid for user in pwd.getpwall() if user.pw_gid == group}
    return members <= {me}


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, onerror=_raise):
        yield from (Path(root, name) for name in (*folders, *files))


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
