"""A profile with secrets, and a search for them in everything that a run writes and prints."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

PLAIN = "zqkeptsecretwj"
"""The part of `MARK` that every way of writing it has: in no digest or random bytes by chance."""
MARK = f"Mark-{PLAIN}-\"'é"
"""In each value: with quotes and a letter that JSON may write in two ways."""
NAMES = ("HF_TOKEN", "DB_PASSWORD", "PLAIN_NAME", "http_proxy")


def with_secrets(profile: Path, mark: str = MARK) -> Path:
    """Adds a secret of each kind: by name, of a node, listed, an URL with a password."""
    text = profile.read_text()
    url = f"http://me:{mark}@10.0.0.9:3128/"
    values = [f"HF_TOKEN = {json.dumps('a' + mark)}", f"PLAIN_NAME = {json.dumps('c' + mark)}"]
    values.append(f"http_proxy = {json.dumps(url.replace(chr(34), ''))}")
    text = text.replace("[environment]\n", "[environment]\n" + "\n".join(values) + "\n")
    own = f"environment = {{ DB_PASSWORD = {json.dumps('b' + mark)} }}"
    text = text.replace("[[nodes]]\n", f"[[nodes]]\n{own}\n")
    profile.write_text('secret_env = ["PLAIN_NAME"]\n' + text)
    return profile


def found_in(folders: Iterable[Path], mark: str = PLAIN) -> list[str]:
    """Files with the mark in their content or name."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                is_in = path.is_file() and mark.encode() in path.read_bytes()
                if is_in or mark in path.name:
                    found.append(str(path))
    return found


def in_command_lines(mark: str = PLAIN) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if mark.encode() in words:
                found.append(f"{pid}: {words!r}")
    return found


def environment_of(pid: int) -> dict[str, str]:
    data = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(entry.split("=", 1) for entry in data.split("\0") if "=" in entry)
