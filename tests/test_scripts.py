"""scripts/: wrong arguments cost nothing, a half-made environment is made again, and the suite
counts what needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAKE = """\
#!/bin/sh
# A Python that only notes which environments and packages it was to make.
folder=$(dirname "$(dirname "$0")")
is() { [ -e "$NOTES.$1" ]; }
case "$*" in
    "-m venv "*)
        echo venv >> "$NOTES"
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        ! is no-venv
        ;;
    "-m pip --version") [ ! -e "$folder/no-pip" ] ;;
    "-m pip install "*)
        echo pip >> "$NOTES"
        ! is interrupted || kill -9 $PPID
        ! is no-network
        ;;
    "-m pytest "*)
        echo "pytest of $4"
        ! is "$(echo "$4" | tr ' ' -)-fails"
        ;;
esac
"""


class Checkout:
    """A copy of scripts/ that uses a fake Python; a file `notes.FAULT` makes that one fail."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes, self.python = folder / "it", folder / "notes", folder / "python"
        shutil.copytree(ROOT / "scripts", self.folder / "scripts")
        shutil.copytree(ROOT / "cpp_infer/src", self.folder / "cpp_infer/src")
        shutil.copy(ROOT / "pyproject.toml", self.folder)
        (self.folder / "tests").mkdir()
        self.python.write_text(FAKE)
        self.python.chmod(0o755)
        self.venv = self.folder / ".venv"

    def run(self, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        given = {"EFFNET_PYTHON": str(self.python), "NOTES": str(self.notes), **environ}
        return subprocess.run(
            ["bash", f"scripts/{script}", *arguments],
            cwd=self.folder,
            env={**os.environ, **given},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def made(self) -> list[str]:
        """What was made since the last call."""
        found = self.notes.read_text().split() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return found

    def fault(self, name: str) -> Path:
        path = self.notes.with_name(f"notes.{name}")
        path.touch()
        return path


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("check", ["--nope"]),
        ("check", ["--fix", "more"]),
        ("demo", ["--nope"]),
        ("demo", ["--profile"]),
        ("test", ["tests/nope.py::test_x"]),
    ],
)
def test_wrong_arguments_print_the_usage_and_make_no_environment(
    checkout: Checkout, script: str, arguments: list[str]
) -> None:
    done = checkout.run(script, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert f"  scripts/{script} " in done.stderr
    assert checkout.made() == []
    assert not checkout.venv.exists()


@pytest.mark.parametrize("script", ["check", "demo", "test"])
def test_help_needs_no_environment(checkout: Checkout, script: str) -> None:
    done = checkout.run(script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"  scripts/{script} " in done.stdout
    assert checkout.made() == []


def test_an_environment_is_made_once(checkout: Checkout) -> None:
    assert checkout.run("demo").returncode == 0
    assert checkout.made() == ["venv", "pip"]
    assert checkout.run("demo").returncode == 0
    assert checkout.made() == []


def test_a_python_that_does_not_exist_is_an_error(checkout: Checkout) -> None:
    done = checkout.run("demo", EFFNET_PYTHON="/nope/python3")
    assert done.returncode == 2
    assert "EFFNET_PYTHON is '/nope/python3'" in done.stderr
    assert checkout.made() == []


def test_a_python_without_venv_leaves_nothing_behind(checkout: Checkout) -> None:
    fault = checkout.fault("no-venv")
    done = checkout.run("demo")
    assert done.returncode == 2
    assert "apt-get install python3-venv" in done.stderr
    assert not checkout.venv.exists()
    fault.unlink()
    checkout.made()
    assert checkout.run("demo").returncode == 0
    assert checkout.made() == ["venv", "pip"]


def test_an_environment_without_pip_is_made_again(checkout: Checkout) -> None:
    (checkout.venv / "bin").mkdir(parents=True)
    shutil.copy(checkout.python, checkout.venv / "bin/python")
    (checkout.venv / "no-pip").touch()
    done = checkout.run("demo")
    assert done.returncode == 0
    assert "incomplete" in done.stdout
    assert checkout.made() == ["venv", "pip"]


def test_an_interrupted_install_is_made_again(checkout: Checkout) -> None:
    fault = checkout.fault("interrupted")
    assert checkout.run("demo").returncode != 0
    assert checkout.made() == ["venv", "pip"]
    fault.unlink()
    assert checkout.run("demo").returncode == 0
    assert checkout.made() == ["venv", "pip"]


def test_an_install_that_failed_keeps_the_environment(checkout: Checkout) -> None:
    fault = checkout.fault("no-network")
    done = checkout.run("demo")
    assert done.returncode == 1
    assert "pip could not install" in done.stderr
    fault.unlink()
    checkout.made()
    assert checkout.run("demo").returncode == 0
    assert checkout.made() == ["pip"]


@pytest.mark.parametrize("failing", ["", "not-waiting-fails", "waiting-fails"])
def test_both_halves_are_printed_and_each_can_fail_the_suite(
    checkout: Checkout, failing: str
) -> None:
    for name in ("ruff", "clang-format", "mypy", "lint-imports", "mkdocs"):
        (checkout.venv / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/true", checkout.venv / "bin" / name)
    shutil.copy(checkout.python, checkout.venv / "bin/python")
    waiting = "not mindspore" + " and not needs_root" * (os.geteuid() != 0)
    others = {"waiting-fails": waiting, "not-waiting-fails": f"not ({waiting})"}
    if failing:
        checkout.fault(f"{others[failing].replace(' ', '-')}-fails")
    done = checkout.run("test")
    assert f"others    | pytest of {waiting}\n" in done.stdout
    assert f"mindspore | pytest of not ({waiting})\n" in done.stdout
    assert done.returncode == (1 if failing else 0), done.stderr


SUITE = """\
import pytest

def test_passes():
    pass

@pytest.mark.skip(reason="no such device")
def test_is_skipped():
    pass

@pytest.mark.needs_root
def test_needs_root():
    pass

@pytest.fixture
def built_cluster():
    pass

@pytest.fixture
def hosts(built_cluster):
    pass

@pytest.mark.parametrize("number", range(2))
def test_has_hosts(hosts, number):
    pass
"""


@pytest.fixture
def suite() -> Iterator[Path]:
    """A small suite that every user can read."""
    with tempfile.TemporaryDirectory(prefix="suite-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "test_it.py").write_text(SUITE)
        yield Path(folder)


@pytest.mark.parametrize("options", [[], ["-n", "2"], ["-q"]], ids=" ".join)
def test_what_needs_root_is_counted_in_one_line(suite: Path, options: list[str]) -> None:
    # Nobody, who may only read what root can: Python may be in root's folder.
    can = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    nobody = ["setpriv", "--reuid=65534", "--clear-groups", *can] if os.geteuid() == 0 else []
    argv = [
        *nobody,
        sys.executable,
        "-m",
        "pytest",
        "-c",
        ROOT / "pyproject.toml",
        "--rootdir",
        suite,
    ]
    argv += ["-p", "tests.conftest", "-p", "no:cacheprovider", *options, suite]
    done = subprocess.run(
        argv,
        cwd=suite,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if "SKIPPED" in line] == [
        "SKIPPED [1] test_it.py:6: no such device"
    ]
    said = "3 tests need root and did not run: sudo scripts/test -m needs_root runs them"
    assert lines[-2] == said
    assert "1 passed, 1 skipped, 3 need root in " in lines[-1]


def test_python_is_checked_before_packages_are_installed(checkout: Checkout) -> None:
    (checkout.folder / "apt-get").write_text('#!/bin/sh\necho apt >> "$NOTES"\n')
    (checkout.folder / "apt-get").chmod(0o755)
    (checkout.folder / "scripts/packages").write_text(
        "source scripts/environment\nPATH=$PWD:$PATH\nid() { echo 0; }\nneed_packages this tmux\n"
    )
    assert checkout.run("packages", EFFNET_PYTHON="/nope/python3").returncode == 2
    assert checkout.made() == []
    assert checkout.run("packages").returncode == 0
    assert checkout.made() == ["apt", "apt"]
