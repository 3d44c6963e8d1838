"""Report lines: the one parser of what ranks print (docs/report-format.md).

Every line of every rank passes through :func:`parse`, so a line that is not a report is rejected by
its first bytes, whatever its length.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

from launcher.core.run.report_types import (
    Calibrated,
    CheckpointSaved,
    Done,
    EpochReport,
    EvalReport,
    EvalResult,
    Fault,
    Progress,
    Report,
    Resumed,
    StepReport,
    Stopped,
    TrainingHeader,
)

R = TypeVar("R")

MAX_LINE_BYTES = 65_536
"""No report is longer: a path has at most 4,096 bytes, a fault names a few images."""

_INT64_MAX = 2**63 - 1


class _NotAReport(Exception):
    """A line that begins like a report, but is not one."""


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


_CONVERTERS: Mapping[Any, Callable[[str], Any]] = {
    int: _int,
    int | None: _int,
    float | None: _float,
    str: str,
    str | None: str,
}


@functools.cache
def _columns(cls: type[Any]) -> tuple[tuple[str, str, Callable[[str], Any], bool], ...]:
    """Field, key, converter, and whether the key is required."""
    hints = get_type_hints(cls)
    return tuple(
        (
            field.name,
            field.metadata.get("key", field.name),
            _CONVERTERS[hints[field.name]],
            field.default is dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
    )


def _read(cls: type[R], found: Mapping[str, str], **known: Any) -> R:
    """The report with the values of the line's keys; a key that is there must be right."""
    for name, key, convert, is_required in _columns(cls):  # type: ignore[arg-type]
        if name in known:
            continue
        if key in found:
            known[name] = convert(found[key])
        elif is_required:
            raise _NotAReport
    report: R = cls(**known)
    return report


def _plain_line(cls: type[Report]) -> Callable[[str], Report]:
    """The parser of a line that holds nothing but the keys of its report."""
    return lambda line: _read(cls, _keys(line))


def _step(line: str, match: re.Match[str]) -> StepReport:
    found = _keys(line[match.end() :])
    loss, _, mean = found.get("loss", "").partition("/")
    return _read(
        StepReport,
        found,
        epoch=_int(match[1]),
        epochs=_int(match[2]),
        step=_int(match[3]),
        steps_per_epoch=_int(match[4]),
        loss=_float(loss),
        mean_loss=_float(mean) if mean else None,
        steps=max(1, _int(found.get("steps", "1"))),
    )


def _epoch(line: str, epoch: str | None, epochs: str | None, start: int) -> EpochReport:
    times = dict(_TIMES.findall(line, start))
    if "epoch time" not in times:
        raise _NotAReport
    return _read(
        EpochReport,
        _keys(line[start:]),
        epoch=None if epoch is None else _int(epoch),
        epochs=None if epochs is None else _int(epochs),
        epoch_time_ms=_float(times["epoch time"]),
        step_time_ms=_float(times["per step time"]) if "per step time" in times else None,
        mean_loss=_float(times["avg loss"]) if "avg loss" in times else None,
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


def _start_line(line: str) -> Report:
    found = _keys(line)
    rank, slash, world_size = found.get("rank", "").partition("/")
    if not slash:
        raise _NotAReport
    return _read(
        TrainingHeader,
        found,
        rank=_int(rank),
        world_size=_int(world_size),
        batch_size=_int(found["batch"].partition("x")[0]) if "batch" in found else None,
    )


def _eval_line(line: str) -> Report:
    report = _read(EvalReport, _keys(line))
    if report.images is None:
        raise _NotAReport
    return report


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


def _progress_line(line: str) -> Report:
    match = _PROGRESS.match(line)
    if match is None:
        raise _NotAReport
    return Progress(match[1], _int(match[2]), _int(match[3]))


_PARSERS: tuple[tuple[str, Callable[[str], Report]], ...] = (
    ("epoch", _epoch_line),
    ("Train epoch time: ", lambda line: _epoch(line, None, None, len("Train "))),
    ("start: ", _start_line),
    ("checkpoint: ", _plain_line(CheckpointSaved)),
    ("resume: ", _plain_line(Resumed)),
    ("eval: ", _eval_line),
    ("result: ", _result_line),
    ("result:{", _result_line),
    ("stop: ", _plain_line(Stopped)),
    ("fault: ", _plain_line(Fault)),
    ("done: ", _plain_line(Done)),
    ("progress: ", _progress_line),
    ("calibration: ", _plain_line(Calibrated)),
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
