"""Where the programs are started: the working directory, the user, the terminal."""

from __future__ import annotations

import functools
import os
import pty
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from launcher import programs
from launcher.errors import NotMineError
from launcher.process import private
from launcher.runs.base import caller

ROOT = Path(__file__).parents[2]
INPUTS = Path(__file__).parent / "inputs"
NO_PASSWD_ENTRY = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]


# The working directory


@functools.cache
def pythons() -> list[str]:
    """This Python, and those of the other supported versions that this machine has."""
    found = [sys.executable]
    for version in ("3.10", "3.11", "3.12"):
        path = shutil.which(f"python{version}") or ""
        if path and subprocess.run([path, "-V"], capture_output=True, check=False).returncode == 0:
            found.append(path)
    return found


def shadow(folder: Path, names: list[str]) -> Path:
    for name in names:
        (folder / f"{name}.py").write_text("raise SystemExit(f'shadowed: {__name__}')\n")
    return folder


def said(words: list[str], folder: Path, **environ: str) -> str:
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, **environ}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.parametrize("program", programs.ALL)
def test_005_stdlib_name_in_cwd(tmp_path: Path, program: str) -> None:
    """All names of modules and packages that exist here, where our programs are started."""
    shadow(tmp_path, [name for name in sys.stdlib_module_names if not name.startswith("_")])
    shadow(tmp_path, ["launcher", "effnet", "tui", "sitecustomize", "usercustomize"])
    shadow(tmp_path, [name for name in packages_distributions() if name.isidentifier()])
    for python in pythons():
        words = [*programs.command(program, python), "--help"]
        shown = said(words, tmp_path, PYTHONPATH=str(ROOT))
        assert "shadowed" not in shown, f"{python}: {shown}"
        assert shown


def test_005_the_files_of_the_case(tmp_path: Path) -> None:
    for name in ("random.py", "queue.py"):
        shutil.copy(INPUTS / "005-stdlib-name-in-cwd" / name, tmp_path)
    shown = said([*programs.command("launcher.cli.app"), "plan", "local-cpu"], tmp_path)
    assert "rank 0" in shown
    assert "my random" not in shown


def test_005_a_program_gets_its_own_arguments(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text("import sys; print(__name__, sys.argv[1:])\n")
    words = [*programs.command("shown"), "-m", "a b"]
    assert said(words, tmp_path, PYTHONPATH=str(tmp_path)).strip() == "__main__ ['-m', 'a b']"


# The user


@pytest.mark.skipif(
    subprocess.run([*NO_PASSWD_ENTRY, "true"], capture_output=True, check=False).returncode != 0,
    reason="needs user namespaces",
)
@pytest.mark.parametrize(
    "words",
    [
        "runs", "status latest", "logs latest", "events latest", "plan local-cpu",
        "profiles list", "profiles check", "profiles new mine", "stop latest", "note latest x",
        "preflight local-cpu", "doctor --target CPU", "clean --here", "prune --here",
        "eval nosuch", "resume latest --dry-run", "plan two",
    ],
)  # fmt: skip
def test_006_uid_without_passwd(tmp_path: Path, words: str) -> None:
    with tarfile.open(ROOT / "tui/demo/run.tar.gz") as packed:
        options = {"filter": "data"} if sys.version_info >= (3, 12) else {}
        packed.extractall(tmp_path / "runs", **options)  # type: ignore[arg-type]
    words = words.replace("two", str(INPUTS / "006-uid-without-passwd/two.toml"))
    home = {"HOME": str(tmp_path), "EFFNET_RUNS_DIR": str(tmp_path / "runs")}
    names = [f"--unset={name}" for name in ("USER", "LOGNAME", "LNAME", "USERNAME")]
    command = [*NO_PASSWD_ENTRY, "env", *names, *programs.command("launcher.cli.app")]
    shown = said([*command, *words.split()], tmp_path, **home)
    assert "Traceback" not in shown
    assert "getpwuid" not in shown
    assert shown or words.startswith("note")


def test_006_users_without_a_name_are_named_by_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(NotMineError, match=r"not to you \(uid 54321\)"):
        private.require_own(tmp_path)
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert caller().startswith("uid-54321@")


# The terminal


@pytest.mark.parametrize("term", ["dumb", "", None])
@pytest.mark.parametrize("arguments", [(), ("--demo",), ("latest",)])
def test_026_term_dumb(tmp_path: Path, term: str | None, arguments: tuple[str, ...]) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "TERM"}
    if term is not None:
        environ["TERM"] = term
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*programs.command("tui"), *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
        env=environ, timeout=300, check=False, cwd=tmp_path,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert done.returncode == 2
    assert "--once" in shown
    assert "TERM" in shown
    assert "\x1b" not in shown
