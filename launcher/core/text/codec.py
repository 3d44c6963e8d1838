"""Frozen dataclasses to JSON values and back, each field checked against its annotation."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")
_SCALARS = frozenset({str, int, float, bool, type(None)})


class Mismatch(ValueError):
    """A JSON value of the wrong type; the text has the field and what was expected."""


def to_plain(value: Any) -> Any:
    """A value for ``json.dumps``: dataclasses as objects, tuples as lists, enums as values."""
    if type(value) in _SCALARS:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if _is_model(type(value)):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    return value


def from_plain(cls: type[T], data: Any, where: str = "") -> T:
    """The dataclass that ``data`` describes. Unknown keys are ignored. Raises :class:`Mismatch`."""
    if not isinstance(data, dict):
        raise Mismatch(f"{where or cls.__name__}: expected an object")
    values: dict[str, Any] = {}
    for name, hint, optional in _fields(cls):  # type: ignore[arg-type]
        place = f"{where}.{name}" if where else name
        if name in data:
            values[name] = convert(hint, data[name], place)
        elif not optional:
            raise Mismatch(f"{place}: missing")
    return cls(**values)


@functools.cache
def _fields(cls: type[Any]) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(cls)
    return tuple(
        (
            field.name,
            hints[field.name],
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING,
        )
        for field in dataclasses.fields(cls)
    )


def convert(hint: Any, value: Any, place: str) -> Any:
    """The value of type ``hint`` that JSON describes. Raises :class:`Mismatch`."""
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(get_args(hint), value, place)
    if origin is tuple:
        return _convert_tuple(get_args(hint), value, place)
    if origin is not None and issubclass(origin, Mapping):
        return _convert_mapping(get_args(hint), value, place)
    if dataclasses.is_dataclass(hint):
        return from_plain(hint, value, place)  # type: ignore[arg-type]
    if _is_model(hint):
        return _convert_model(hint, value, place)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            known = ", ".join(str(member.value) for member in hint)
            raise Mismatch(f"{place}: expected one of {known}") from None
    return _convert_scalar(hint, value, place)


def _is_model(kind: Any) -> bool:
    """Without importing pydantic, which is half of the start of `launcher.node`: a process that has
    a class of it has imported it.
    """
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def _convert_model(hint: type[BaseModel], value: Any, place: str) -> BaseModel:
    from pydantic import ValidationError

    if not isinstance(value, dict):
        raise Mismatch(f"{place}: expected an object")
    known = {key: item for key, item in value.items() if key in hint.model_fields}
    try:
        return hint.model_validate(known, strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        raise Mismatch(
            f"{'.'.join(map(str, (place, *problem['loc'])))}: {problem['msg']}"
        ) from None


def _convert_scalar(hint: Any, value: Any, place: str) -> Any:
    if hint is float and type(value) is int and abs(value) < 2**63:
        return float(value)
    # A bool is an int to isinstance.
    if type(value) is not hint:
        expected = "null" if hint is type(None) else hint.__name__
        raise Mismatch(f"{place}: expected {expected}")
    if hint is int and abs(value) >= 2**63:
        raise Mismatch(f"{place}: too large")
    return value


def _convert_union(choices: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in choices:
        return None
    problem: Mismatch | None = None
    for choice in choices:
        if choice is not type(None):
            try:
                return convert(choice, value, place)
            except Mismatch as error:
                problem = error
    raise problem or Mismatch(f"{place}: expected null")


def _convert_tuple(items: tuple[Any, ...], value: Any, place: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise Mismatch(f"{place}: expected a list")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(convert(items[0], item, f"{place}[{i}]") for i, item in enumerate(value))
    if len(items) != len(value):
        raise Mismatch(f"{place}: expected {len(items)} values")
    pairs = zip(items, value, strict=True)
    return tuple(convert(hint, item, f"{place}[{i}]") for i, (hint, item) in enumerate(pairs))


def _convert_mapping(items: tuple[Any, ...], value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise Mismatch(f"{place}: expected an object")
    return {str(key): convert(items[1], item, f"{place}.{key}") for key, item in value.items()}
