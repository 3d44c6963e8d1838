"""What a run says of itself, for the message of a test that failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LINES = 15


def story(root: Path) -> str:
    """The failure, the last events, and the last lines of every log of the newest attempt."""
    parts = [f"== {root}"]
    parts += ["-- events", *_lines(root / "events.jsonl")[-LINES:]]
    for event in events(root):
        if event["kind"] == "attempt_failed":
            parts += ["-- failure", json.dumps(event["failure"], indent=1)]
    attempts = sorted((root / "attempts").glob("*"))
    newest = attempts[-1] if attempts else root
    logs = [*sorted(newest.glob("ranks/*/log.txt")), *sorted(newest.glob("*.log"))]
    logs += [*sorted(newest.glob("agents/*.log")), root / "supervisor.log"]
    for path in logs:
        parts += [f"-- {path.relative_to(root)}", *_lines(path)[-LINES:]]
    return "\n".join(parts)


def events(root: Path) -> list[dict[str, Any]]:
    """The events of a run, without one that is being written: a reader can see half of it."""
    try:
        content = (root / "events.jsonl").read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        return [f"({error.strerror})"]
