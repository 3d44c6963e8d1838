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
    """One key: its text, unit, allowed values (ends included) and where it comes from."""

    doc: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    origin: str = "ours"
    resume: Resume = Resume.CURVE
    pattern: str = ""
    """Texts that are allowed beside ``choices``."""


def key(default: Any, doc: str, **known: Any) -> Any:
    """A dataclass field with its :class:`Key`."""
    return dataclasses.field(default=default, metadata={"key": Key(doc=doc, **known)})
