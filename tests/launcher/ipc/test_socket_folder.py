"""The folder of the sockets is private."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from launcher.errors import LaunchError
from launcher.ipc import socket_folder


@pytest.fixture
def short_folder():
    """pytest's own temporary folders can be too deep for a socket."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_the_runtime_folder_must_be_private(short_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_folder))
    folder = socket_folder.runtime_folder()
    assert folder.parent == short_folder
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(LaunchError, match="0700"):
        socket_folder.runtime_folder()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("d" * 120)))
    assert len(socket_folder.socket_path(tmp_path / ("run" * 40), "supervisor")) < 108
