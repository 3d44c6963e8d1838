"""Where sockets live: the user's runtime folder, because a socket's path is 107 bytes at most."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from launcher.process import private

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
    return private.own_folder(folder, "Set XDG_RUNTIME_DIR to a folder of yours.")


def socket_path(run: Path, part: str) -> str:
    """The socket of one part of a run (`supervisor`, or an agent's `<attempt>-<node>`)."""
    digest = hashlib.sha256(f"{run.resolve()}\0{part}".encode()).hexdigest()[:20]
    return str(runtime_folder() / f"{digest}.sock")
