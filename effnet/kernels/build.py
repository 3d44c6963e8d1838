"""Compiles the kernels on first use and keeps the library in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from effnet import user_cache
from effnet.errors import EffnetError
from effnet.user_cache import NotKept

FOLDER = Path(__file__).parent
COMPILER = "g++"
# -O3: it unrolls the loops over taps, without which the sums are not in registers. Without
# -Wno-psabi there are notes about long vectors before any error.
FLAGS = ("-std=c++17", "-O3", "-march=native", "-Wno-psabi", "-shared", "-fPIC", "-pthread")
_TIMEOUT_S = 300
LIMIT_FILES = 32
LIMIT_BYTES = 64 << 20
UNUSED_S = 30 * 86400.0
"""Libraries of other versions and machines on this home are removed over the limits, and only when
nobody has loaded them for as long."""


@dataclass(frozen=True)
class Part:
    """What is compiled into one library: the sources of a folder below `FOLDER`."""

    name: str
    below: str
    flags: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return FOLDER / self.below

    def sources(self) -> list[Path]:
        return sorted(self.folder.glob("*.cpp"))

    def digest(self) -> str:
        """Of everything that the library depends on."""
        try:
            mindspore = version("mindspore")
        except PackageNotFoundError:
            mindspore = ""
        files = (*self.sources(), *self.folder.glob("*.h"))
        texts = sorted(path.name + "\n" + path.read_text() for path in files)
        parts = (
            *texts, *FLAGS, *self.flags, mindspore, platform.machine(), user_cache.cpu(),
            user_cache.c_library(),
        )  # fmt: skip
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


NETWORK = Part("kernels", "")
# Fused multiply-add would round differently from Pillow and NumPy.
INPUT = Part("input", "input_cpp", ("-ffp-contract=off",))


class NotBuilt(EffnetError):
    """The kernels are not compiled and cannot be: the message is the reason."""

    kind = "config"


def library(part: Part = NETWORK) -> Path:
    """A part compiled for this machine; compiles it where the cache has none.

    Several processes may ask at once: one compiles, the others wait. Raises `NotBuilt`.
    """
    try:
        folder = user_cache.folder("kernels")
        path = folder / f"{part.name}-{part.digest()}.so"
        if ":" in str(path):
            # MindSpore separates the file from the function by a colon.
            raise NotBuilt(
                f"the cache folder {folder} has a colon in its name",
                hint="set XDG_CACHE_HOME to another folder",
            )
        if not path.exists():
            with user_cache.locked(folder / "lock"):
                if not path.exists():
                    _compile(part, path)
                    libraries = folder.glob("*.so")
                    user_cache.remove_least_used(libraries, LIMIT_FILES, LIMIT_BYTES, UNUSED_S)
        user_cache.require_own(path)
        user_cache.note_use(path)
    except NotKept as error:
        raise NotBuilt(error.message, hint=error.hint) from error
    except OSError as error:
        hint = "free disk space or fix permissions, or set XDG_CACHE_HOME to another folder"
        raise NotBuilt(f"the C++ kernels cannot be kept: {error}", hint=hint) from error
    return path


def _compile(part: Part, path: Path) -> None:
    compiler = shutil.which(COMPILER)
    if compiler is None:
        raise NotBuilt(f"no C++ compiler ({COMPILER})", hint=f"install {COMPILER}")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as aside:
        made = Path(aside, path.name)
        sources = [str(source) for source in part.sources()]
        words = [compiler, *FLAGS, *part.flags, "-o", str(made), *sources]
        try:
            done = subprocess.run(
                words, check=False, capture_output=True, text=True, timeout=_TIMEOUT_S,
                stdin=subprocess.DEVNULL, errors="replace",
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise NotBuilt(f"{COMPILER} did not end within {_TIMEOUT_S} s") from error
        if done.returncode or not made.exists():
            raise NotBuilt(
                f"{COMPILER} failed: {_reason(done)}",
                hint=f"run {' '.join(words[: -2 - len(sources)])} {part.folder}/*.cpp",
            )
        made.chmod(0o500)
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The compiler's first error: before it may be lines about which file includes which."""
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    # collect2 only says that the linker failed, whose lines have no such word.
    errors = (line for line in lines if "error: " in line.lower() and "collect2" not in line)
    return next(errors, lines[0])
