"""What `launcher.shell.node_side` says on its stdout: JSON lines, each written whole."""

from __future__ import annotations

import json
import os
from typing import Any

from launcher.shell.channel import Message


def reply(**fields: Any) -> None:
    """The one answer to a request."""
    say({"type": "reply", **fields})


def say(*messages: Message) -> None:
    for message in messages:
        write(json.dumps(message, separators=(",", ":")).encode() + b"\n")


def write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
