"""Where sockets live: the user's runtime folder, because a socket's path is 107 bytes at most."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from launcher.errors import LaunchError

MAX_SOCKET_PATH_BYTES = 107


def runtime_folder() -> Path:
    """`$XDG_RUNTIME_DIR/effnet-tui`, else `/tmp/effnet-tui-<uid>`; made, 0700, and ours.

    Raises `LaunchError` when somebody else owns it.
    """
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(base) / "effnet-tui"
    # It may be set and gone, or be so deep that no socket's path fits.
    if not os.path.isdir(base) or len(os.fsencode(folder)) > MAX_SOCKET_PATH_BYTES - 30:
        folder = Path(f"/tmp/effnet-tui-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise LaunchError(
            f"cannot make the folder for sockets: {error}", "Set XDG_RUNTIME_DIR to one of yours."
        ) from error
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    if not private or status.st_mode & 0o077:
        raise LaunchError(
            f"{folder} must be a folder that only you can open (mode 0700)",
            "Remove it, or set XDG_RUNTIME_DIR to a folder of yours.",
        )
    return folder


def socket_path(run: Path, part: str) -> str:
    """The socket of one part of a run (`supervisor`, or an agent's `<attempt>-<node>`)."""
    digest = hashlib.sha256(f"{run.resolve()}\0{part}".encode()).hexdigest()[:20]
    return str(runtime_folder() / f"{digest}.sock")
