"""Programs never import from the working directory; a user without a passwd entry can use them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import programs
from launcher.checks.install import INSTALL

OURS = sorted({*programs.ALL, "tui", "launcher.cli.app"})


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    """A folder whose random.py, queue.py, … end the program that imports them."""
    for name in ("random", "queue", "tempfile", "json", "socket", "effnet", "launcher"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'shadowed: {__name__}')\n")
    return tmp_path


def run(folder: Path, *words: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("program", OURS)
def test_programs_import_nothing_from_the_working_directory(shadows: Path, program: str) -> None:
    for own in ("effnet", "launcher"):
        (shadows / f"{own}.py").unlink()  # `-m` itself looks for the package there
    assert "shadowed" not in run(shadows, "-m", program, "--help")


def test_the_installer_imports_nothing_from_the_working_directory(shadows: Path) -> None:
    assert "shadowed" not in run(shadows, "-c", INSTALL, "x.whl")


def test_other_programs_keep_their_working_directory(shadows: Path) -> None:
    (shadows / "theirs.py").write_text("import launcher.errors, sys; print(sys.path[0])\n")
    for own in ("effnet", "launcher"):
        (shadows / f"{own}.py").unlink()
    assert run(shadows, "-m", "theirs").strip() == str(shadows)


def test_a_user_without_a_passwd_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    from launcher.runs import base

    def no_user() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", no_user)
    assert base.caller().startswith(f"uid-{os.getuid()}@")
