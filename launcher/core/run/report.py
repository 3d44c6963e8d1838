"""Report lines: the one parser of what ranks print (docs/report-format.md).

Every line of every rank passes through :func:`parse`, so a line that is no report is turned away
by its first bytes, whatever its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from launcher.core.run.report_types import (
    CheckpointSaved,
    Done,
    EpochReport,
    EvalReport,
    EvalResult,
    Fault,
    Progress,
    Report,
    Resumed,
    Started,
    StepReport,
    Stopped,
)

__all__ = [
    "MAX_LINE_BYTES",
    "CheckpointSaved",
    "Done",
    "EpochReport",
    "EvalReport",
    "EvalResult",
    "Fault",
    "Progress",
    "Report",
    "Resumed",
    "Started",
    "StepReport",
    "Stopped",
    "parse",
]

MAX_LINE_BYTES = 65_536
"""No report is longer: a path has 4,096 bytes at most, a fault names a few images."""

_INT64_MAX = 2**63 - 1


class _NotAReport(Exception):
    """A line that begins like a report and is none."""


_KEY = re.compile(r"([^\s\[\],:][^\[\],:]{0,31}):\s?\[([^\[\]]*)\]")
_LAST_KEY = re.compile(r"(?:^|[\s,])(path|text|reason):\[(.*)\]$")
_STEP = re.compile(r"epoch: \[ *(\d+) */ *(\d+) *\], step: ?\[ *(\d+) */ *(\d+) *\]")
_EPOCH_IN_BRACKETS = re.compile(r"epoch: \[ *(\d+) */ *(\d+) *\], epoch time: ")
_EPOCH_NAMED = re.compile(r"epoch (\d+) ?[:：] ?epoch time: ")
_TIMES = re.compile(r"(epoch time|per step time|avg loss|steps): ?([^\s,]+)")
_LOSS_MONITOR = re.compile(r"epoch: (\d+) step: (\d+), loss is (\S+)$")
_PROGRESS = re.compile(r"progress: ([\w-]{1,32}):\[(\d+)/(\d+)\]$")
_RESULT = re.compile(r"result: ?\{([^{}]*)\} ?ckpt ?= ?(.*)$")
_RESULT_VALUE = re.compile(r"'([A-Za-z0-9_]+)': (?:np\.float\d+\()?([-+.\w]+)\)?")


def _int(text: str) -> int:
    digits = text.strip()
    # int() takes "1_0" and "١"; a number beyond 64 bits fits no record.
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
        raise _NotAReport
    number = int(digits)
    if number > _INT64_MAX:
        raise _NotAReport
    return number


def _float(text: str) -> float:
    if "_" in text or not text.isascii() or len(text) > 64:
        raise _NotAReport
    try:
        return float(text)
    except ValueError:
        raise _NotAReport from None


def _keys(line: str) -> dict[str, str]:
    """``key:[value]`` pairs; ``path``, ``text`` and ``reason`` run to the line's last ``]``."""
    last = _LAST_KEY.search(line)
    pairs = _KEY.findall(line if last is None else line[: last.start()])
    found = {key.strip(): value for key, value in pairs}
    if last is not None:
        found[last.group(1)] = last.group(2)
    return found


class _Values:
    """Typed access to the keys of one line; a key that is there must be right."""

    def __init__(self, line: str, start: int = 0) -> None:
        self._found = _keys(line[start:])

    def has(self, key: str) -> bool:
        return key in self._found

    def int(self, key: str) -> int | None:
        return _int(self._found[key]) if key in self._found else None

    def float(self, key: str) -> float | None:
        return _float(self._found[key]) if key in self._found else None

    def text(self, key: str) -> str | None:
        return self._found.get(key)

    def needed(self, key: str) -> str:
        if key not in self._found:
            raise _NotAReport
        return self._found[key]


def _step(line: str, match: re.Match[str]) -> StepReport:
    values = _Values(line, match.end())
    loss, _, mean = values.needed("loss").partition("/")
    steps = values.int("steps")
    return StepReport(
        epoch=_int(match[1]),
        epochs=_int(match[2]),
        step=_int(match[3]),
        steps_per_epoch=_int(match[4]),
        loss=_float(loss),
        mean_loss=_float(mean) if mean else None,
        step_time_ms=values.float("time"),
        wait_ms=values.float("wait"),
        images_per_s=values.float("images/s"),
        learning_rate=values.float("lr"),
        memory_bytes=values.int("memory"),
        steps=1 if steps is None else max(1, steps),
    )


def _epoch(line: str, epoch: str | None, epochs: str | None, start: int) -> EpochReport:
    times = dict(_TIMES.findall(line, start))
    values = _Values(line, start)
    if "epoch time" not in times:
        raise _NotAReport
    return EpochReport(
        epoch=None if epoch is None else _int(epoch),
        epochs=None if epochs is None else _int(epochs),
        epoch_time_ms=_float(times["epoch time"]),
        step_time_ms=_float(times["per step time"]) if "per step time" in times else None,
        mean_loss=_float(times["avg loss"]) if "avg loss" in times else None,
        images_per_s=values.float("images/s"),
        learning_rate=values.float("lr"),
        steps=_int(times["steps"]) if "steps" in times else None,
    )


def _epoch_line(line: str) -> Report:
    if line.startswith("epoch: ["):
        if match := _STEP.match(line):
            return _step(line, match)
        if match := _EPOCH_IN_BRACKETS.match(line):
            return _epoch(line, match[1], match[2], match.end() - len("epoch time: "))
    elif line.startswith("epoch time: "):
        return _epoch(line, None, None, 0)
    elif match := _EPOCH_NAMED.match(line):
        return _epoch(line, match[1], None, match.end() - len("epoch time: "))
    elif match := _LOSS_MONITOR.match(line):
        epoch, step = _int(match[1]), _int(match[2])
        # LossMonitor counts from 1.
        return StepReport(epoch=max(0, epoch - 1), step=max(0, step - 1), loss=_float(match[3]))
    raise _NotAReport


def _train_line(line: str) -> Report:
    return _epoch(line, None, None, len("Train "))


def _start_line(line: str) -> Report:
    values = _Values(line)
    rank, slash, world_size = values.needed("rank").partition("/")
    batch = values.text("batch")
    if not slash:
        raise _NotAReport
    return Started(
        rank=_int(rank),
        world_size=_int(world_size),
        target=values.text("target"),
        variant=values.text("variant"),
        parameters=values.int("parameters"),
        epochs=values.int("epochs"),
        steps_per_epoch=values.int("steps per epoch"),
        batch_size=None if batch is None else _int(batch.partition("x")[0]),
        images=values.int("images"),
        seed=values.int("seed"),
    )


def _checkpoint_line(line: str) -> Report:
    values = _Values(line)
    return CheckpointSaved(
        epoch=_int(values.needed("epoch")),
        step=_int(values.needed("step")),
        path=values.needed("path"),
        size_bytes=values.int("bytes"),
        time_ms=values.float("time"),
        sha256=values.text("sha256"),
    )


def _resume_line(line: str) -> Report:
    values = _Values(line)
    return Resumed(
        epoch=_int(values.needed("epoch")),
        step=_int(values.needed("step")),
        path=values.needed("path"),
    )


def _eval_line(line: str) -> Report:
    values = _Values(line)
    if not values.has("images"):
        raise _NotAReport
    return EvalReport(
        epoch=values.int("epoch"),
        step=values.int("step"),
        images=values.int("images"),
        time_ms=values.float("time"),
        images_per_s=values.float("images/s"),
        weights=values.text("weights"),
    )


def _result_line(line: str) -> Report:
    match = _RESULT.match(line)
    if match is None:
        raise _NotAReport
    found = {key.lower(): _float(value) for key, value in _RESULT_VALUE.findall(match[1])}
    if not found:
        raise _NotAReport
    return EvalResult(
        loss=found.get("loss"),
        top_1_acc=found.get("top_1_acc"),
        top_5_acc=found.get("top_5_acc"),
        checkpoint=match[2],
    )


def _stop_line(line: str) -> Report:
    values = _Values(line)
    return Stopped(
        epoch=_int(values.needed("epoch")),
        step=_int(values.needed("step")),
        reason=values.needed("reason"),
        state=values.text("state"),
    )


def _fault_line(line: str) -> Report:
    values = _Values(line)
    return Fault(
        kind=values.needed("kind"),
        text=values.needed("text"),
        epoch=values.int("epoch"),
        step=values.int("step"),
    )


def _done_line(line: str) -> Report:
    values = _Values(line)
    return Done(
        epochs=_int(values.needed("epochs")),
        steps=_int(values.needed("steps")),
        time_ms=values.float("time"),
        state=values.text("state"),
    )


def _progress_line(line: str) -> Report:
    match = _PROGRESS.match(line)
    if match is None:
        raise _NotAReport
    return Progress(match[1], _int(match[2]), _int(match[3]))


_PARSERS: tuple[tuple[str, Callable[[str], Report]], ...] = (
    ("epoch", _epoch_line),
    ("Train epoch time: ", _train_line),
    ("start: ", _start_line),
    ("checkpoint: ", _checkpoint_line),
    ("resume: ", _resume_line),
    ("eval: ", _eval_line),
    ("result: ", _result_line),
    ("result:{", _result_line),
    ("stop: ", _stop_line),
    ("fault: ", _fault_line),
    ("done: ", _done_line),
    ("progress: ", _progress_line),
)
_PREFIXES = tuple(prefix for prefix, _ in _PARSERS)
_PREFIXES_BYTES = tuple(prefix.encode() for prefix in _PREFIXES)


def parse(line: str | bytes) -> Report | None:
    """The report in one line, with or without its line end; ``None`` for a plain log line."""
    if isinstance(line, bytes):
        if not line.startswith(_PREFIXES_BYTES) or len(line) > MAX_LINE_BYTES:
            return None
        line = line.decode("utf-8", "replace")
    elif not line.startswith(_PREFIXES) or len(line) > MAX_LINE_BYTES:
        return None
    line = line.rstrip()
    if "\n" in line or "\r" in line:
        return None
    for prefix, parser in _PARSERS:
        if line.startswith(prefix):
            try:
                return parser(line)
            except _NotAReport:
                return None
    return None
