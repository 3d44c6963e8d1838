"""The settings of a host in ssh's own configuration: from `ssh -G` where ssh is installed."""

from __future__ import annotations

import getpass
import glob
import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

ASK_S = 10.0
MAX_INCLUDES = 16

Settings = Mapping[str, tuple[str, ...]]
"""Values in their order, by keyword in lower case."""


class ConfigError(ValueError):
    """An error in an ssh configuration or in a host, with its place."""


def user_file() -> str:
    return os.path.expanduser("~/.ssh/config")


def ask_ssh(host: str) -> Settings | None:
    """What `ssh -G HOST` prints; `None` where there is no ssh program that answers.

    Raises `ConfigError` when ssh refuses its configuration.
    """
    program = shutil.which("ssh")
    if program is None or host.startswith("-"):
        return None
    argv = [program, "-G", *options_of_home()]
    home = _home_of_account()
    try:
        done = subprocess.run(
            [*argv, "--", host], stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        text = done.stderr.decode("utf-8", "replace").strip()
        if "No user exists" in text or not text:
            return None
        raise ConfigError(text.replace("\n", "; "))
    found: dict[str, list[str]] = {}
    for line in done.stdout.decode("utf-8", "surrogateescape").splitlines():
        key, _, value = line.partition(" ")
        if key.endswith(("file", "agent")):
            value = re.sub(
                f"(^| ){re.escape(home)}/",
                lambda found: f"{found[1]}{os.path.expanduser('~')}/",
                value,
            )
        found.setdefault(key.lower(), []).append(value)
    return {key: tuple(values) for key, values in found.items()}


def options_of_home() -> list[str]:
    """For ssh, which uses the account's home folder and ignores HOME: our user's configuration."""
    if _home_of_account() == os.path.expanduser("~"):
        return []
    return ["-F", user_file() if os.path.exists(user_file()) else "none"]


def _home_of_account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return os.path.expanduser("~")


def account() -> str:
    """The user's name, or the uid where the account has no passwd entry."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def with_includes(path: str, depth: int = 0) -> str:
    """The text of a configuration file, with the files that it includes in their places."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    lines, block = [], "Host *"
    for line in text.splitlines():
        words = line.replace("=", " ", 1).split()
        key = words[0].lower() if words else ""
        if key in ("host", "match"):
            block = line
        if key != "include" or depth >= MAX_INCLUDES:
            lines.append(line)
            continue
        for pattern in _words(line.strip()[len(key) :].lstrip(" \t=")):
            whole = os.path.join(os.path.dirname(user_file()), os.path.expanduser(pattern))
            lines += [with_includes(name, depth + 1) for name in sorted(glob.glob(whole))]
        # The lines below do not belong to the last host of an included file.
        lines.append(block)
    return "\n".join(lines) + "\n"


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def port_number(text: str) -> int:
    """A port's number; names of services as in /etc/services. Raises `ConfigError`.

    `ssh` is known without that file, which minimal systems and containers do not have.
    """
    if text.isascii() and text.isdigit() and 0 < int(text[:6]) <= 65535:
        return int(text)
    if text == "ssh":
        return 22
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, ValueError, UnicodeError):
        raise ConfigError(
            f"{text[:40]!r} is not a port: use a number up to 65535, or ssh"
        ) from None


def split_host(text: str) -> tuple[str, str, int]:
    """(user, host, port) of `[ssh://][user@]host[:port]`; an IPv6 address may be in brackets.

    Port 0: none is given. Raises `ConfigError`.
    """
    user, _, rest = text.strip().removeprefix("ssh://").rstrip("/").rpartition("@")
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ConfigError(f"{text[:80]!r}: an address in brackets, then :PORT")
        port = port.removeprefix(":")
    elif rest.count(":") > 1:
        host, port = rest, ""
    else:
        host, _, port = rest.partition(":")
    if not host or host.startswith("-"):
        raise ConfigError(f"{text[:80]!r} names no host")
    return user, host, port_number(port) if port else 0


def expanded(text: str, host: str, user: str) -> str:
    """A file name with `~` and the tokens %d, %h, %r, %u and %% replaced."""
    tokens = {"%%": "%", "%d": os.path.expanduser("~"), "%h": host, "%r": user}
    tokens["%u"] = account()
    parts, at = [], 0
    while at < len(text):
        piece = text[at : at + 2]
        parts.append(tokens.get(piece, text[at]))
        at += 2 if piece in tokens else 1
    return os.path.expanduser("".join(parts))
