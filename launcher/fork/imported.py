"""What a process has imported, and whether the ranks of a later attempt would import the same."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.fork import ROOM
from launcher.rank import CPUS_BOUND, TOKEN

OF_ONE_ATTEMPT = frozenset(
    (TOKEN, ROOM, CPUS_BOUND, "EFFNET_STOP_FILE", "MS_SCHED_HOST", "MS_SCHED_PORT")
)
"""Variables that nothing reads before ``init()``: ranks get them after the fork."""
OF_A_LOGIN = frozenset(
    (
        "SSH_CLIENT",
        "SSH_CONNECTION",
        "SSH_TTY",
        "SSH_AUTH_SOCK",
        "XDG_SESSION_ID",
        "TERM",
        "COLUMNS",
        "LINES",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "LC_CTYPE",
    )
)
"""Variables that differ from one connection to the next. Python itself sets the last one."""


class Imported:
    """Made before the import; `note_files` is called after it."""

    def __init__(self, cpus: Sequence[int]) -> None:
        with open("/proc/self/environ", "rb") as file:
            entries = [os.fsdecode(entry).partition("=") for entry in file.read().split(b"\0")]
        self._environment = {name: value for name, _, value in entries if name}
        self._cpus = len(cpus)
        self._files: dict[str, tuple[int, int]] = {}

    def note_files(self) -> None:
        self._files = _files()

    def changed(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The variables of an attempt that have other values than here."""
        return {
            name: environment[name]
            for name in OF_ONE_ATTEMPT - {ROOM, CPUS_BOUND}
            if name in environment and os.environ.get(name) != environment[name]
        }

    def why_not(self, request: Mapping[str, Any]) -> str:
        """Why ranks cannot be forked for this request; empty when they can."""
        command, wanted = request["command"], request["environment"]
        if sys.orig_argv[: len(command)] != command:
            return "another Python or another program is wanted"
        if len(request["jobs"][0]["cpus"]) != self._cpus:
            return "a rank gets another number of cores"
        differing = {
            name
            for name in {*wanted, *self._environment} - OF_ONE_ATTEMPT - OF_A_LOGIN
            if wanted.get(name) != self._environment.get(name)
        }
        if differing:
            return f"the environment differs: {', '.join(sorted(differing))}"
        # What the kernel shows keeps its length, and by its token a process is found.
        if len(wanted[TOKEN]) != len(os.environ[TOKEN]):
            return "the token has another length"
        changed = [path for path, was in self._files.items() if _version(path) != was]
        return f"{changed[0]} has changed" if changed else ""


def _files() -> dict[str, tuple[int, int]]:
    """Size and time of change of each file that is imported or mapped."""
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        paths |= {line.rstrip("\n")[line.index("/") :] for line in file if "/" in line}
    found = {path: _version(path) for path in paths if isinstance(path, str)}
    return {path: version for path, version in found.items() if version is not None}


def _version(path: str) -> tuple[int, int] | None:
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    return None
