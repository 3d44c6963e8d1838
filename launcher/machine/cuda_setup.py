"""CUDA 11.8 in a Python environment: libraries from PyPI, a substitute for nvcc, and an env.sh.

MindSpore's loader only reads the release from `$CUDA_HOME/bin/nvcc --version`, and PyPI's package
has no nvcc. The substitute prints that line.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shlex
import sys
import sysconfig
from pathlib import Path

from launcher.core.checks.toolkit_facts import CUDA_LIBRARIES
from launcher.errors import LaunchError
from launcher.process import tools

PIP_LIMIT_S = 3600.0
RELEASE = "11.8"
NVCC = f"""\
#!/bin/sh
# Made by effnet-launch doctor --fix. MindSpore asks for the release and compiles nothing with it.
echo "nvcc: NVIDIA (R) Cuda compiler driver"
echo "Cuda compilation tools, release {RELEASE}, V{RELEASE}.89"
"""
ENV_SH = """\
# Made by effnet-launch doctor --fix, for MindSpore's CUDA 11.6 back end.
export CUDA_HOME={home}
export LD_LIBRARY_PATH={home}/lib64"${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
# Kernels for newer GPUs are compiled when they are first used, and not all at once.
export CUDA_MODULE_LOADING=LAZY
"""


def folder() -> Path:
    """CUDA_HOME, deleted with the environment."""
    return Path(sys.prefix) / "effnet-cuda"


def prepared_env() -> str:
    """The env.sh of an earlier preparation; empty when there is none."""
    path = folder() / "env.sh"
    return str(path) if path.exists() else ""


def prepare() -> str:
    """Installs and links. -> the env.sh to source. Raises `LaunchError` with pip's error."""
    why = refusal()
    if why:
        raise LaunchError(
            f"{sys.executable} {why}; 3 GB of libraries need an environment of one's own",
            "Create one with python3 -m venv or conda create. Set its `python` in the profile.",
        )
    # Without dependencies, which are each other: no other package here may change.
    argv = [sys.executable, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check"]
    home = folder()
    script = home / "env.sh"
    try:
        done = tools.run([*argv, *CUDA_LIBRARIES.values()], None, PIP_LIMIT_S, folder="/")
        if done.exit_code:
            raise LaunchError(
                pip_problem(sys.executable, done.exit_code, done.stderr + done.stdout),
                "For a node without internet set PIP_FIND_LINKS (a folder of wheels) or"
                " PIP_INDEX_URL (an index of your own).",
            )
        (home / "bin").mkdir(parents=True, exist_ok=True)
        (home / "lib64").mkdir(exist_ok=True)
        for library in _libraries():
            link = home / "lib64" / library.name
            link.unlink(missing_ok=True)
            link.symlink_to(library)
        (home / "bin/nvcc").write_text(NVCC)
        (home / "bin/nvcc").chmod(0o755)
        script.write_text(ENV_SH.format(home=shlex.quote(str(home))))
    except OSError as error:
        raise LaunchError(f"{home} cannot be prepared: {error}") from error
    return str(script)


def refusal() -> str:
    """Why nothing may be installed for this interpreter; empty when it may."""
    if not os.access(sys.prefix, os.W_OK):
        return "is not writable"
    is_alone = sys.prefix != sys.base_prefix
    # PEP 668: the system's package manager owns it.
    if not is_alone and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists():
        return "belongs to the system"
    return ""


def pip_problem(python: str, exit_code: int, output: str) -> str:
    """Why pip failed: its first line with an error, else its last line."""
    lines = output.strip().splitlines() or ["no output"]
    why = next((line for line in lines if line.lower().startswith("error")), lines[-1])
    return f"pip of {python} ends with {exit_code}: {why}"


def _libraries() -> list[Path]:
    """All shared libraries of the packages: cuDNN and nvrtc load others by name."""
    importlib.invalidate_caches()
    found = []
    for requirement in CUDA_LIBRARIES.values():
        files = importlib.metadata.files(requirement.partition("==")[0]) or ()
        found += [Path(str(f.locate())) for f in files if ".so" in f.name]
    return found
