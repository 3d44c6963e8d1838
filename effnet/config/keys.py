"""What is known about one configuration key, kept in the metadata of its dataclass field."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any


class Resume(Enum):
    """What a changed key means for a run that is resumed from a checkpoint."""

    FIXED = "fixed"  # the saved state does not fit the new value
    ORDER = "order"  # the position in the data would refer to other images
    CURVE = "curve"  # may change; the curve is no longer that of an uninterrupted run
    FREE = "free"  # changes nothing that is computed


@dataclasses.dataclass(frozen=True)
class Key:
    """One key: its type and text, allowed values (ends included), unit and where it comes from."""

    kind: type
    """``int``, ``float``, ``bool`` or ``str``."""
    doc: str
    resume: Resume = Resume.CURVE
    unit: str = ""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    pattern: str = ""
    """Texts that are allowed beside ``choices``."""
    origin: str = "ours"


def key(default: Any, doc: str, *known: Any, **named: Any) -> Any:
    """A dataclass field with its :class:`Key`."""
    made = Key(type(default), doc, *known, **named)
    return dataclasses.field(default=default, metadata={"key": made})


def ref(default: Any, doc: str, *known: Any, **named: Any) -> Any:
    """The same for a key of the reference."""
    return key(default, doc, *known, origin="reference", **named)
