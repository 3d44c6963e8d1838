"""CUDA 11.8 inside a Python environment: pip's libraries, an nvcc that answers, and an env.sh.

MindSpore's loader asks `$CUDA_HOME/bin/nvcc` for nothing but its release, and PyPI's nvcc package
has no nvcc. So a shim that prints that line is enough; nothing compiles with it.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from launcher.core.checks.toolkit_facts import CUDA_LIBRARIES
from launcher.errors import LaunchError

PIP_LIMIT_S = 3600.0
RELEASE = "11.8"
NVCC = f"""\
#!/bin/sh
# Made by effnet-launch doctor --fix. MindSpore asks for the release and compiles nothing with it.
echo "nvcc: NVIDIA (R) Cuda compiler driver"
echo "Cuda compilation tools, release {RELEASE}, V{RELEASE}.89"
"""


def folder() -> Path:
    """What becomes CUDA_HOME; it goes away with the environment."""
    return Path(sys.prefix) / "effnet-cuda"


def prepared_env() -> str:
    """The env.sh of an earlier preparation; empty when there is none."""
    path = folder() / "env.sh"
    return str(path) if path.exists() else ""


def prepare() -> str:
    """Installs and links. -> the env.sh to source. Raises `LaunchError` with pip's own words."""
    why = refusal()
    if why:
        raise LaunchError(
            f"{sys.executable} {why}; 3 GB of libraries belong into an environment of one's own",
            "Make one: python3 -m venv, or conda create; then name its python in the profile.",
        )
    _install()
    home = folder()
    try:
        (home / "bin").mkdir(parents=True, exist_ok=True)
        (home / "lib64").mkdir(exist_ok=True)
        for library in _libraries():
            link = home / "lib64" / library.name
            link.unlink(missing_ok=True)
            link.symlink_to(library)
        nvcc = home / "bin" / "nvcc"
        nvcc.write_text(NVCC)
        nvcc.chmod(0o755)
        script = home / "env.sh"
        script.write_text(_env_sh(home))
    except OSError as error:
        raise LaunchError(f"{home} cannot be written: {error}") from error
    return str(script)


def refusal() -> str:
    """Why nothing may be installed for this interpreter; empty when it may."""
    if not os.access(sys.prefix, os.W_OK):
        return "is not ours to write"
    is_alone = sys.prefix != sys.base_prefix
    # PEP 668: the system's package manager owns it.
    if not is_alone and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists():
        return "belongs to the system"
    return ""


def _env_sh(home: Path) -> str:
    quoted = shlex.quote(str(home))
    return (
        "# Made by effnet-launch doctor --fix, for MindSpore's CUDA 11.6 back end.\n"
        f"export CUDA_HOME={quoted}\n"
        f'export LD_LIBRARY_PATH={quoted}/lib64"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\n'
        "# Kernels for newer GPUs are compiled when they are first used, and not all at once.\n"
        "export CUDA_MODULE_LOADING=LAZY\n"
    )


def _install() -> None:
    # Without their dependencies, which are each other: nothing else in here shall change.
    argv = [sys.executable, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*argv, *CUDA_LIBRARIES.values()],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PIP_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LaunchError(f"pip: {error}") from error
    if done.returncode:
        lines = done.stdout.strip().splitlines() or ["it said nothing"]
        why = next((line for line in lines if line.lower().startswith("error")), lines[-1])
        raise LaunchError(
            f"pip of {sys.executable} ends with {done.returncode}: {why}",
            "A node without internet takes wheels from PIP_FIND_LINKS or an index of your own"
            " (PIP_INDEX_URL).",
        )


def _libraries() -> list[Path]:
    """Every shared library of the packages: cuDNN and nvrtc load more of theirs by name."""
    importlib.invalidate_caches()
    found = []
    for requirement in CUDA_LIBRARIES.values():
        files = importlib.metadata.files(requirement.partition("==")[0]) or ()
        found += [Path(str(f.locate())) for f in files if ".so" in f.name]
    return found
