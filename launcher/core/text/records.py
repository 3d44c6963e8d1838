"""Typed messages: frozen dataclasses that are sent or stored as JSON objects with a ``kind``.

A family is a direct subclass of :class:`Record`; its members register themselves::

    class Command(Record): ...

    @dataclass(frozen=True)
    class Stop(Command, kind="stop"):
        save: bool = True

    encode(Stop(save=False))                            # {"kind": "stop", "save": False}
    decode(Command, {"kind": "stop", "later": 1})       # Stop(save=True)
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, TypeVar

from launcher.core.text.codec import Mismatch, from_plain, to_plain

PROTOCOL_VERSION = 2
"""Of all messages between processes. A new field or kind needs no new version; both sides ignore
fields that they do not know, and an unknown kind gets an error with this number."""

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""The longest line that either side of a connection accepts."""

R = TypeVar("R", bound="Record")


class UnknownKindError(ValueError):
    """A well-formed message of a kind that this version does not know."""


class Record:
    """A frozen dataclass of one kind in its family."""

    kind: ClassVar[str] = ""
    kinds: ClassVar[dict[str, type[Any]]] = {}
    """Each kind of the family -> its class."""

    def __init_subclass__(cls, kind: str = "") -> None:
        super().__init_subclass__()
        if Record in cls.__bases__:
            cls.kinds = {}
        if kind:
            if kind in cls.kinds:
                raise TypeError(f"{cls.__name__}: {kind!r} is {cls.kinds[kind].__name__}")
            cls.kind = kind
            cls.kinds[kind] = cls


def encode(record: Record) -> dict[str, Any]:
    """The record as a JSON object."""
    return {"kind": record.kind, **to_plain(record)}


def decode(family: type[R], data: Any) -> R:
    """The record of ``family`` that ``data`` describes; unknown fields are ignored.

    Raises :class:`Mismatch` where a field is missing or has a wrong type, and
    :class:`UnknownKindError`.
    """
    kind = data.get("kind") if isinstance(data, dict) else None
    if not isinstance(kind, str):
        raise Mismatch("kind: missing, or not a string")
    cls = family.kinds.get(kind)
    if cls is None:
        raise UnknownKindError(f"unknown kind {kind[:80]!r} (protocol {PROTOCOL_VERSION})")
    try:
        found: R = from_plain(cls, data)
    except RecursionError:
        raise Mismatch(f"{kind}: nested too deeply") from None
    return found


def parse_object(line: str | bytes) -> dict[str, Any]:
    """The JSON object of one line. Raises :class:`Mismatch`, whatever the line holds."""
    if len(line) > MAX_FRAME_BYTES:
        raise Mismatch(f"longer than {MAX_FRAME_BYTES} bytes")
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        # Invalid UTF-8, no JSON, numbers of thousands of digits, nesting without end.
        raise Mismatch(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise Mismatch("not an object")
    return data
