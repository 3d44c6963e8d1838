"""An event of a run as a line for people; `--json` has all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from launcher.cli.output.console import number, size

Event = Mapping[str, Any]

MAX_VALUE = 200
"""Characters of a value of an event that this version does not know."""

_SHOWN_ELSEWHERE = {"n", "t", "kind", "source"}


def event_text(event: Event) -> str:
    """`event` is one line of events.jsonl, parsed. Whatever it holds, this does not raise."""
    kind = event.get("kind", "?")
    try:
        words = _WORDS[kind](event) if kind in _WORDS else None
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        words = None
    return f"{str(kind).replace('_', ' ')}: {_plain(event) if words is None else words}"


def _plain(event: Event) -> str:
    """Everything, for what this version does not know."""
    items = ((key, value) for key, value in event.items() if key not in _SHOWN_ELSEWHERE)
    return " ".join(f"{key}={value_text(value)}" for key, value in items if value is not None)


def value_text(value: object, depth: int = 3) -> str:
    """A value of an event or a result, without Python's brackets."""
    if value is None:
        text = "unknown"
    elif isinstance(value, float):
        text = f"{value:.6g}"
    elif depth and isinstance(value, Mapping):
        items = (f"{key}={value_text(one, depth - 1)}" for key, one in value.items())
        text = f"({' '.join(items)})"
    elif depth and isinstance(value, (list, tuple)):
        text = ", ".join(value_text(one, depth - 1) for one in value) or "none"
    else:
        text = str(value) if isinstance(value, (str, int)) else "…"
    return text[:MAX_VALUE]


def _attempt(event: Event) -> str:
    resume = event["resume"]
    start = "from the beginning" if resume is None else f"from step {resume['step']}"
    return f"attempt {event['attempt']}, {event['world_size']} ranks, {start}"


def _rank(event: Event) -> str:
    return f"rank {event['rank']} on {event['node']}"


def _exit(event: Event) -> str:
    end = f"exit code {value_text(event['exit_code'])}"
    end = f"signal {event['signal']}" if event.get("signal") else end
    return f"{_rank(event)}, {end}"


def _evaluation(event: Event) -> str:
    return (
        f"top-1 {event['top_1_acc']:.4f}, top-5 {event['top_5_acc']:.4f},"
        f" loss {number(event['loss'])}, {event['images']} images"
    )


def _failure(event: Event) -> str:
    failure = event["failure"]
    rank = "" if failure["rank"] is None else f"rank {failure['rank']}"
    where = " on ".join(filter(None, (rank, failure["node"])))
    return f"{where}: {failure['meaning']}" if where else str(failure["meaning"])


_WORDS: dict[str, Callable[[Event], str]] = {
    "attempt_started": _attempt,
    "rank_started": lambda event: f"{_rank(event)}, process {event['pid']}",
    "training_started": lambda event: (
        f"{event['epochs']} epochs of {event['steps_per_epoch']} steps"
    ),
    "epoch_finished": lambda event: f"{event['epoch']}, loss {number(event['avg_loss'])}",
    "checkpoint_saved": lambda event: f"step {event['step']}, {size(event['bytes'])}",
    "eval_finished": _evaluation,
    "disk_low": lambda event: (
        f"{size(event['free_bytes'])} free on {event['node']} under {event['path']},"
        f" {size(event['needed_bytes'])} may be needed"
    ),
    "disk_recovered": lambda event: f"enough space again on {event['node']}: {event['path']}",
    "rank_silent": lambda event: f"{_rank(event)}, in {event['phase']}",
    "report_skipped": lambda event: (
        f"report {event['number']} of the agent on {event['node']} was damaged: {event['why']}"
    ),
    "rank_exited": _exit,
    "attempt_failed": _failure,
    "attempt_finished": lambda event: f"step {event['step']}",
    "attempt_stopped": lambda event: (
        f"step {event['step']}; still there: {value_text(event['leftover'])}"
    ),
}
