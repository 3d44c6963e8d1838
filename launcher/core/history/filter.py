"""Finding runs in a list: filters such as ``state:failed lr_max>=0.1 "warm-up"``, and sorting.

A filter is words that must all be true of a run. ``FIELD`` is one of `FIELDS` or a key of the
training configuration; ``:`` means *contains* for text and *equals* for all else. A bare word is in
the id or the note. ``-`` before a word turns it around. Quotes keep spaces together. What is not
known of a run is never equal, more or less.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from launcher.core.history.config import shown
from launcher.core.history.summary import RunSummary
from launcher.core.run.state import RunStatus
from launcher.core.text.suggest import did_you_mean
from launcher.errors import UsageError


class Kind(Enum):
    """How the values of a field are written and compared."""

    TEXT = "text"
    STATE = "a state"
    NUMBER = "a number"
    SHARE = "a share (0.8 or 80%)"
    TIME = "a time (90s, 20min, 1h, 2d or 1h30min)"


@dataclass(frozen=True)
class Field:
    """What a list of runs can be filtered and sorted by; ``get`` also gets the time now.

    ``falls``: sorted by it, the largest value comes first.
    """

    kind: Kind
    get: Callable[[RunSummary, float], Any]
    falls: bool = False


def age_s(run: RunSummary, now_s: float) -> float | None:
    """Since its newest step; without steps since its newest event."""
    for time_s in (run.step_s, run.changed_s, run.created_s):
        if time_s is not None:
            return max(0.0, now_s - time_s)
    return None


FIELDS: Final = {
    "id": Field(Kind.TEXT, lambda run, now_s: run.run),
    "state": Field(Kind.STATE, lambda run, now_s: run.status.value),
    "profile": Field(Kind.TEXT, lambda run, now_s: run.profile),
    "note": Field(Kind.TEXT, lambda run, now_s: run.note),
    "cause": Field(Kind.TEXT, lambda run, now_s: run.cause),
    "ranks": Field(Kind.NUMBER, lambda run, now_s: run.world_size, falls=True),
    "attempt": Field(Kind.NUMBER, lambda run, now_s: run.attempt, falls=True),
    "epoch": Field(Kind.NUMBER, lambda run, now_s: run.epoch, falls=True),
    "steps": Field(Kind.NUMBER, lambda run, now_s: run.steps_done, falls=True),
    "done": Field(Kind.SHARE, lambda run, now_s: run.progress, falls=True),
    "loss": Field(Kind.NUMBER, lambda run, now_s: run.loss),
    "top1": Field(Kind.SHARE, lambda run, now_s: run.best_top_1, falls=True),
    "duration": Field(Kind.TIME, lambda run, now_s: run.duration_s, falls=True),
    "goodput": Field(Kind.SHARE, lambda run, now_s: run.goodput),
    "eta": Field(Kind.TIME, lambda run, now_s: run.eta_s),
    "age": Field(Kind.TIME, age_s),
}
LIVE: Final = "live"
STATES: Final = (*(status.value for status in RunStatus), LIVE)

_COMPARE: Final = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    ":": operator.eq,
    "!=": operator.ne,
}
_TERM: Final = re.compile(r"([A-Za-z_][\w.-]*)(<=|>=|!=|[:=<>])(.*)", re.DOTALL)
_WORD: Final = re.compile(r'(?:[^\s"]|"[^"]*")+')
_UNITS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIME: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:s|min|m|h|d))+")
_PART: Final = re.compile(r"([\d.]+)(s|min|m|h|d)")

Test = Callable[[RunSummary, float], bool]


@dataclass(frozen=True)
class Filter:
    """Tests of which all must hold; without any, every run is chosen."""

    tests: tuple[Test, ...] = ()

    def matches(self, run: RunSummary, now_s: float) -> bool:
        return all(test(run, now_s) for test in self.tests)


def parse(text: str, keys: Collection[str] = ()) -> Filter:
    """The filter that a person typed. ``keys``: those of the runs' training configurations.

    Raises UsageError, which says what is wrong and which names there are.
    """
    if text.count('"') % 2:
        raise _error(text, "a quote is not closed")
    return Filter(tuple(_test(word, keys) for word in _WORD.findall(text)))


def config_keys(runs: Iterable[RunSummary]) -> frozenset[str]:
    """The keys of the training configuration that are known of any run."""
    return frozenset().union(*{id(run.config): run.config for run in runs}.values())


def ordered(
    runs: Iterable[RunSummary], name: str, *, reverse: bool = False, now_s: float
) -> list[RunSummary]:
    """Sorted by a field or a configuration key; runs of which it is not known come last.

    The largest or newest come first, but for text, loss, times left and keys the smallest;
    ``reverse`` turns that around. Equal runs keep their order.
    """
    runs = list(runs)
    field = field_of(name, config_keys(runs), name)
    known = [(field.get(run, now_s), run) for run in runs]

    def rank(item: tuple[Any, RunSummary]) -> tuple[bool, float, str]:
        value = item[0]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return (False, value, "")
        return (True, 0.0, shown(value).lower())

    found = [item for item in known if not _is_unknown(item[0])]
    found.sort(key=rank, reverse=field.falls is not reverse)
    return [run for _, run in found] + [run for value, run in known if _is_unknown(value)]


def field_of(name: str, keys: Collection[str], where: str) -> Field:
    """A field by its name, or that of a configuration key. Raises UsageError for another one."""
    if name in FIELDS:
        return FIELDS[name]
    if name in keys:
        return Field(Kind.TEXT, lambda run, now_s: run.config.get(name))
    raise UsageError(
        f"{where}: there is no field {name!r}{did_you_mean(name, (*FIELDS, *keys))}",
        f"Fields: {', '.join(FIELDS)}, and the keys of the training configuration.",
    )


def _test(word: str, keys: Collection[str]) -> Test:
    if word.startswith("-") and len(word) > 1:
        inner = _test(word[1:], keys)
        return lambda run, now_s: not inner(run, now_s)
    term = None if word.startswith('"') else _TERM.fullmatch(word)
    if term is None:
        text = word.replace('"', "").lower()
        return lambda run, now_s: text in run.run.lower() or text in run.note.lower()
    name, sign, value = term[1], term[2], term[3].replace('"', "")
    field = field_of(name, keys, word)
    if not value:
        raise _error(word, f"a value is missing after {sign!r}")
    if name in FIELDS and field.kind is not Kind.TEXT:
        return _state(word, sign, value) if field.kind is Kind.STATE else _number(field, word, term)
    return _text(field, sign, value)


def _state(word: str, sign: str, value: str) -> Test:
    wanted = [part for part in value.lower().split(",") if part]
    for part in wanted:
        if part not in STATES:
            raise _error(
                word,
                f"there is no state {part!r}{did_you_mean(part, STATES)}",
                f"States: {', '.join(STATES)}.",
            )
    if sign not in (":", "=", "!="):
        raise _error(word, f"a state cannot be compared with {sign!r}", "Use state:failed.")

    def test(run: RunSummary, now_s: float) -> bool:
        found = run.status.value in wanted or (LIVE in wanted and run.is_living)
        return found is not (sign == "!=")

    return test


def _number(field: Field, word: str, term: re.Match[str]) -> Test:
    name, sign, text = term[1], term[2], term[3].replace('"', "")
    wanted = _value(field.kind, text)
    if wanted is None:
        raise _error(
            word, f"{text!r} is not {field.kind.value}", f"For example: {name}>{_EG[name]}"
        )
    compare = _COMPARE[sign]

    def test(run: RunSummary, now_s: float) -> bool:
        value = field.get(run, now_s)
        return not _is_unknown(value) and bool(compare(value, wanted))

    return test


_EG: Final = {
    **{name: "2" for name, field in FIELDS.items() if field.kind is Kind.NUMBER},
    **{name: "80%" for name, field in FIELDS.items() if field.kind is Kind.SHARE},
    **{name: "1h" for name, field in FIELDS.items() if field.kind is Kind.TIME},
}


def _value(kind: Kind, text: str) -> float | None:
    """The number in a text; ``None`` when it is not of this kind."""
    if kind is Kind.TIME and _TIME.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    is_percent = kind is Kind.SHARE and text.endswith("%")
    try:
        number = float(text[:-1] if is_percent else text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    return number / 100 if is_percent or (kind is Kind.SHARE and number > 1) else number


def _text(field: Field, sign: str, text: str) -> Test:
    """Numbers are compared as numbers where both are."""
    wanted, number = text.lower(), _value(Kind.NUMBER, text)
    compare = _COMPARE[sign]

    def test(run: RunSummary, now_s: float) -> bool:
        value = field.get(run, now_s)
        if _is_unknown(value):
            return False
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if is_number and number is not None:
            return bool(compare(value, number))
        own = shown(value).lower()
        return wanted in own if sign == ":" and not is_number else bool(compare(own, wanted))

    return test


def _is_unknown(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _error(where: str, what: str, hint: str = "") -> UsageError:
    return UsageError(f"{where}: {what}", hint)


def chosen(
    runs: Sequence[RunSummary],
    text: str = "",
    sort: str = "",
    *,
    reverse: bool = False,
    now_s: float,
) -> list[RunSummary]:
    """The runs that match a filter, sorted by a field, else in their order. Raises UsageError."""
    wanted = parse(text, config_keys(runs))
    found = [run for run in runs if wanted.matches(run, now_s)]
    if sort:
        field_of(sort, config_keys(runs), sort)
        return ordered(found, sort, reverse=reverse, now_s=now_s)
    return found[::-1] if reverse else found
