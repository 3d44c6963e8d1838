"""What any training script prints: the one parser of its lines (docs/reference/script-lines.md).

Our own lines and the reference's are those of :mod:`launcher.core.run.report`, which also knows
MindSpore's LossMonitor and TimeMonitor. Here are the lines of mindformers' callbacks (MFLossMonitor
of ``mindformers/core``, and its successor that prints no epoch), and a pattern that the user gives.
:class:`StepFiller` adds what single lines leave out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from launcher.core.run import report
from launcher.core.run.report_types import EpochReport, Report, StepReport
from launcher.core.text.numbers import whole_number
from launcher.core.text.suggest import did_you_mean

MAX_LINE_CHARS = 4096
"""Longer lines are only searched for our own reports: a pattern may need long for them."""


@dataclass(frozen=True)
class Throughput:
    """What a rank processes a second, of a line that names no step."""

    samples_per_s: float


_WHOLE = ("epoch", "epochs", "step", "steps_per_epoch")
_FROM_0 = {"epoch_from_0": "epoch", "step_from_0": "step"}
_VALUES: Mapping[str, tuple[str, float]] = {
    "loss": ("loss", 1.0),
    "mean_loss": ("mean_loss", 1.0),
    "step_time_ms": ("step_time_ms", 1.0),
    "step_time_s": ("step_time_ms", 1000.0),
    "images_per_s": ("images_per_s", 1.0),
    "learning_rate": ("learning_rate", 1.0),
}
GROUPS = (*_WHOLE, *_FROM_0, *_VALUES)
"""Groups that a pattern may name. ``epoch`` and ``step`` count from 1."""

_PREFIX = re.compile(r"\[(?:[A-Za-z_.-]*\d+|\d+,\d+)\](?:<std(?:out|err)>)?: ?")
"""What torchrun (``[default0]:``), PyTorch and mpirun (``[1,0]<stdout>:``) put before a line."""

_MINDFORMERS = re.compile(
    r"\{ (?:Epoch:\[ *(\d+)/ *(\d+)\], )?step:\[ *(\d+)/ *(\d+)\], "
    r"loss: *(?:\[ *([^\s/\]]+)/ *([^\s\]]+)\]|([^\s,]+))"
)
_STEP_TIME = re.compile(r"\bper_step_time: *([\d.]+)ms")
_RATE = re.compile(r"\blr: *([^\s,}]+)")
_SAMPLES = re.compile(r"\| +([\d.]+) samples/s/p ")


def log_pattern(text: str) -> re.Pattern[str]:
    """The user's pattern, compiled. Raises ``ValueError`` that says what to change."""
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}; correct it") from error
    for name in pattern.groupindex:
        if name not in GROUPS:
            known = did_you_mean(name, GROUPS) or f"; groups: {', '.join(GROUPS)}"
            raise ValueError(f"unknown group {name!r}{known}")
    named = {_FROM_0.get(name, name) for name in pattern.groupindex}
    if "step" not in named:
        raise ValueError(r"has no group for the step; add (?P<step>\d+)")
    return pattern


def parse(line: str | bytes, pattern: re.Pattern[str] | None = None) -> Report | Throughput | None:
    """What one line of a training script reports; ``None`` for a plain log line.

    ``pattern`` is the user's, from :func:`log_pattern`: then only lines that it matches are steps.
    """
    if isinstance(line, bytes):
        if len(line) > report.MAX_LINE_BYTES:
            return None
        line = line.decode("utf-8", "replace")
    # A progress bar is drawn over by the text behind its last carriage return.
    line = line.rstrip().rpartition("\r")[2]
    line = without_prefix(line)
    found = report.parse(line)
    if len(line) > MAX_LINE_CHARS:
        return found
    if pattern is not None:
        match = pattern.search(line)
        own = None if match is None else _from_groups(match.groupdict())
        return found if own is None and not isinstance(found, StepReport) else own
    if found is None and "step:[" in line and (match := _MINDFORMERS.search(line)):
        return _mindformers(line, match)
    if found is None and "samples/s/p" in line and (match := _SAMPLES.search(line)):
        rate = _number(match[1])
        return None if rate is None else Throughput(rate)
    return found


def without_prefix(line: str) -> str:
    """The line as its program printed it, without what torchrun or mpirun put before it."""
    prefix = _PREFIX.match(line) if line.startswith("[") else None
    return line if prefix is None else line[prefix.end() :]


def _number(text: str | None) -> float | None:
    if text is None or "_" in text or len(text) > 64 or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _found(pattern: re.Pattern[str], line: str) -> float | None:
    match = pattern.search(line)
    return None if match is None else _number(match[1])


def _from_groups(groups: Mapping[str, str | None]) -> StepReport | None:
    """``None`` when the text of a group is no number."""
    whole: dict[str, int] = {}
    values: dict[str, float] = {}
    for name, text in groups.items():
        if text is None:
            continue
        if name in _VALUES:
            field, factor = _VALUES[name]
            if (value := _number(text)) is None:
                return None
            values[field] = value * factor
        else:
            if (count := whole_number(text.strip())) is None:
                return None
            is_index = name in _FROM_0 or name in ("epochs", "steps_per_epoch")
            whole[_FROM_0.get(name, name)] = count if is_index else max(0, count - 1)
    if "step" not in whole:
        return None
    found = StepReport(
        epoch=whole.get("epoch", 0),
        step=whole["step"],
        epochs=whole.get("epochs"),
        steps_per_epoch=whole.get("steps_per_epoch") or None,
    )
    return replace(found, **values)  # type: ignore[arg-type]


def _mindformers(line: str, match: re.Match[str]) -> StepReport | None:
    numbers = [whole_number(text or "1") for text in match.groups()[:4]]
    epoch, epochs, step, steps = (1 if number is None else number for number in numbers)
    if None in numbers:
        return None
    return StepReport(
        epoch=max(0, epoch - 1),
        epochs=epochs,
        step=max(0, step - 1),
        steps_per_epoch=steps or None,
        loss=_number(match[5] or match[7]),
        mean_loss=_number(match[6]),
        step_time_ms=_found(_STEP_TIME, line),
        learning_rate=_found(_RATE, line),
    )


class StepFiller:
    """Adds what a script's step lines leave out, from the lines before them.

    Steps of an epoch: from TimeMonitor, else the highest step seen. ``steps``: how many steps lie
    between two lines. Time of a step: from the times of the lines, else TimeMonitor's. Throughput:
    from mindformers' line below the step before. Values that a line has are kept.
    """

    def __init__(self, world_size: int = 1) -> None:
        self._world_size = world_size
        self._epoch: int | None = None
        self._length: int | None = None
        self._highest = 0
        self._last: int | None = None
        self._timed: tuple[float, int] | None = None
        self._step_time_ms: float | None = None
        self._images_per_s: float | None = None

    def fill(self, found: Report | Throughput | None, time_s: float | None = None) -> Report | None:
        """``time_s``: when the line was written; ``None``: not known, it was there before."""
        if isinstance(found, Throughput):
            self._images_per_s = found.samples_per_s * self._world_size
            return None
        if isinstance(found, EpochReport):
            self._learn(found)
        if not isinstance(found, StepReport):
            return found
        return self._filled(found, time_s)

    def _learn(self, epoch: EpochReport) -> None:
        if epoch.step_time_ms and epoch.epoch_time_ms:
            steps = round(epoch.epoch_time_ms / epoch.step_time_ms)
            if steps >= self._highest:
                self._length = steps
            if self._timed is None:
                self._step_time_ms = epoch.step_time_ms

    def _filled(self, found: StepReport, time_s: float | None) -> StepReport:
        if found.steps_per_epoch is None:
            found = replace(found, steps_per_epoch=self._length_at(found))
        at = found.step if found.global_step is None else found.global_step
        between = 1 if self._last is None else at - self._last
        self._last = at
        if between < 1:  # it started again, from an earlier step
            self._timed = None
        elif found.steps == 1:
            found = replace(found, steps=between)
        self._time(at, time_s)
        return replace(
            found,
            step_time_ms=_first(found.step_time_ms, self._step_time_ms),
            images_per_s=_first(found.images_per_s, self._images_per_s),
        )

    def _length_at(self, found: StepReport) -> int | None:
        if self._epoch is not None and found.epoch > self._epoch:
            self._length = max(self._length or 0, self._highest)
        if found.epoch != self._epoch:
            self._epoch, self._highest = found.epoch, 0
        self._highest = max(self._highest, found.step + 1)
        if self._length is not None:
            self._length = max(self._length, self._highest)
        return self._length

    def _time(self, at: int, time_s: float | None) -> None:
        """Lines that were read together have one time: the first of them counts."""
        if time_s is None:
            return
        if self._timed is None:
            self._timed = time_s, at
        elif time_s > self._timed[0] and at > self._timed[1]:
            self._step_time_ms = (time_s - self._timed[0]) / (at - self._timed[1]) * 1000
            self._timed = time_s, at


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
