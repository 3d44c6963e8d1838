"""An event of a run as a line for people; `--json` has all of it."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping
from typing import Any

from launcher.core.diagnosis.words import signal_name
from launcher.core.text.figures import accuracy, number, size_bytes, time_of_day
from launcher.core.text.terminal import clean

Event = Mapping[str, Any]

MAX_VALUE = 200
"""Characters of a value of an event that this version does not know."""

_SHOWN_ELSEWHERE = {"n", "t", "kind", "source"}


def parsed(line: bytes) -> Event | None:
    """One line of events.jsonl; ``None`` when it is damaged."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def event_text(event: Event) -> str:
    """`event` is one line of events.jsonl, parsed. Whatever it holds, this does not raise."""
    kind = event.get("kind")
    words = _WORDS.get(kind, _plain) if isinstance(kind, str) else _plain
    try:
        text = _FORMAT.format(words, **event) if isinstance(words, str) else words(event)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
        text = _plain(event)
    return f"{value_text(kind).replace('_', ' ')}: {text}"


def _plain(event: Event) -> str:
    """Everything, for what this version does not know."""
    items = ((key, value) for key, value in event.items() if key not in _SHOWN_ELSEWHERE)
    known = (f"{key}={value_text(value)}" for key, value in items if value not in (None, ""))
    return " ".join(known) or "no more is known"


def value_text(value: object, depth: int = 3) -> str:
    """A value of an event or a result, without Python's brackets and names."""
    if value is None:
        text = "unknown"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, float):
        text = number(value, 5)
    elif depth and isinstance(value, Mapping) and value:
        items = (f"{key}={value_text(one, depth - 1)}" for key, one in value.items())
        text = f"({' '.join(items)})"
    elif depth and isinstance(value, (list, tuple, Mapping)):
        text = ", ".join(value_text(one, depth - 1) for one in value) or "none"
    else:
        text = clean(str(value)) if isinstance(value, (str, int)) else "…"
    return text[:MAX_VALUE].strip() or "unknown"


class _Formatter(string.Formatter):
    """`{step}` as a value, `{bytes:size}` with its unit, `{top_1_acc:share}` in percent,
    `{loss:4}` with about 4 digits."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is not None and format_spec == "size":
            return size_bytes(value)
        if value is not None and format_spec == "share":
            return accuracy(value)
        return number(value, int(format_spec)) if value and format_spec else value_text(value)


_FORMAT = _Formatter()


def _attempt(event: Event) -> str:
    resume = event["resume"]
    start = "from the beginning"
    if resume is not None:
        place, known = ("step ", "step") if resume["step"] is not None else ("", "path")
        start = f"from {place}{value_text(resume[known])}"
    ranks = "{world_size} ranks"
    if event.get("logical_size"):
        ranks += " that carry {logical_size}"
    return _FORMAT.format(f"attempt {{attempt}}, {ranks}, ", **event) + start


def _queued(event: Event) -> str:
    return f"job {value_text(event['job'])}" + (
        f", {value_text(event['why'])}" if event.get("why") else ""
    )


def _exit(event: Event) -> str:
    number = event.get("signal")
    end = "exit code " + value_text(event["exit_code"])
    if number:
        end = signal_name(number) if isinstance(number, int) else value_text(number)
    return _FORMAT.format("rank {rank} on {node}, ", **event) + end


def _kept(event: Event) -> str:
    processes, until_s = event["processes"], event["until_s"]
    if not processes or until_s is None:
        return "nothing waits for the next attempt"
    where = ", ".join(f"{value_text(one['pid'])} on {value_text(one['node'])}" for one in processes)
    return f"{where}, until {time_of_day(until_s)}"


def _failure(event: Event) -> str:
    failure = event["failure"]
    rank = "" if failure["rank"] is None else f"rank {value_text(failure['rank'])}"
    node = value_text(failure["node"]) if failure["node"] else ""
    where, meaning = " on ".join(filter(None, (rank, node))), value_text(failure["meaning"])
    return f"{where}: {meaning}" if where else meaning


_WORDS: dict[str, str | Callable[[Event], str]] = {
    "attempt_started": _attempt,
    "slurm_queued": _queued,
    "slurm_dequeued": "job {job}: {why}",
    "job_queued": "{job}: {why}",
    "rank_started": "rank {rank} on {node}, process {pid}",
    "training_started": "{epochs} epochs of {steps_per_epoch} steps",
    "epoch_finished": "{epoch}, loss {avg_loss:4}",
    "checkpoint_saved": "step {step}, {bytes:size}",
    "checkpoint_copied": "step {step} to {node}, {bytes:size}",
    "checkpoint_not_copied": "to {node}: {why}",
    "eval_finished": "top-1 {top_1_acc:share}, top-5 {top_5_acc:share}, loss {loss:4},"
    " {images} images",
    "disk_low": "{free_bytes:size} free on {node} under {path}, {needed_bytes:size} may be needed",
    "disk_recovered": "enough space again on {node}: {path}",
    "stacks_taken": "{words}",
    "rank_silent": "rank {rank} on {node}, in phase {phase}",
    "report_skipped": "report {number} of the agent on {node} was damaged: {why}",
    "rank_exited": _exit,
    "attempt_failed": _failure,
    "node_replaced": "{spare} takes the place of {node} after attempt {attempt}: {why}",
    "node_left_out": "no node has the place of {node} after attempt {attempt}: {why}",
    "node_taken_back": "{node} is used again, as requested",
    "processes_kept": _kept,
    "gave_up": "no automatic attempt: {why}",
    "attempt_finished": "step {step}",
    "attempt_stopped": "step {step}; still there: {leftover}",
}
