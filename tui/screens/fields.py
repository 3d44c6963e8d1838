"""Fields for the options of a request: the rows of a form, and the request that they fill in."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

from textual.containers import Horizontal
from textual.dom import DOMNode
from textual.widget import Widget
from textual.widgets import Input, Label, Select

from launcher.core.run.requests import Request, options_of

R = TypeVar("R", bound=Request)
Choices = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Field:
    """One option; ``choices`` are label and value, without any it is typed."""

    name: str
    label: str
    help: str
    choices: Choices = ()


def fields_of(
    request: type[Request],
    kind: str = "",
    choices: Mapping[str, Choices] | None = None,
    skip: Collection[str] = (),
) -> tuple[Field, ...]:
    """One field for each option of an action."""
    found = choices or {}
    return tuple(
        Field(name, option.flag[2:].replace("-", " "), option.help, found.get(name, ()))
        for name, option in options_of(request, kind)
        if name not in skip
    )


def rows(fields: Sequence[Field], request: Request) -> Iterator[Widget]:
    """A line for each field, with the request's value in it."""
    for field in fields:
        value, widget = getattr(request, field.name), cast("Widget", None)
        if field.choices:
            widget = Select(
                field.choices, value=value, allow_blank=False, id=field.name, compact=True
            )
        else:
            text = shlex.join(map(_word, value)) if isinstance(value, tuple) else str(value)
            widget = Input(text, placeholder=f"({field.help})", id=field.name, compact=True)
        yield Horizontal(Label(field.label), widget, classes="row")


def filled(form: DOMNode, fields: Sequence[Field], request: R) -> R:
    """The request with the values of the form. Raises ValueError for text that is no value."""
    values: dict[str, Any] = {}
    for field in fields:
        value: Any = cast("Input | Select[Any]", form.query_one(f"#{field.name}")).value
        if not field.choices:
            value = parsed(field.name, value, getattr(request, field.name))
        values[field.name] = value
    return replace(request, **values)


def parsed(name: str, text: str, before: Any) -> Any:
    """The text as a value of the same type as ``before``."""
    if not isinstance(before, tuple):
        return text.strip()
    words = tuple(shlex.split(text))
    return tuple(map(_pair, words)) if name == "settings" else words


def _pair(word: str) -> tuple[str, str]:
    key, sign, value = word.partition("=")
    if not sign or not key:
        raise ValueError(f"{word!r} is not key=value")
    return key, value


def _word(item: str | Sequence[str]) -> str:
    return item if isinstance(item, str) else "=".join(item)
