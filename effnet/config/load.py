"""From defaults, a TOML file, ``--set`` and flags to one checked configuration."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from effnet.config import toml
from effnet.config.check import problems_of, remarks_on
from effnet.config.defaults import defaults_for, derived
from effnet.config.schema import TrainConfig, keys
from effnet.config.values import (
    ALIASES,
    MEANT,
    BadValue,
    ConfigError,
    Problem,
    checked,
    unknown_key,
)
from effnet.recipes import RECIPES
from effnet.recipes import path as recipe_path


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A valid configuration, where each key's value came from, and remarks for the user."""

    config: TrainConfig
    sources: dict[str, str]
    notes: tuple[str, ...] = ()

    def to_toml(self) -> str:
        """A file that resolves to the same configuration, with the sources as comments."""
        return toml.write(self.config, self.sources)


@dataclasses.dataclass(frozen=True)
class _Given:
    name: str
    raw: Any
    where: str


def resolve(
    target: str | None = None,
    toml_path: str | os.PathLike[str] | None = None,
    sets: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    *,
    base: Mapping[str, Any] | None = None,
    base_name: str = "base",
) -> Resolved:
    """Layers, each stronger than the one before: defaults, the recipe that any of the others
    names, ``base``, file, ``sets``, ``flags``, ``target``.

    ``sets`` are texts ``key=value``. ``flags`` and ``base`` map keys to values; a flag that is
    ``None`` is not given; ``base_name`` says where the base's are from. Without a ``target`` the
    strongest layer that has ``device_target`` decides, else it is the CPU. Raises
    :class:`ConfigError` with every error of every layer.
    """
    problems: list[Problem] = []
    given = [_Given(name, raw, base_name) for name, raw in (base or {}).items()]
    if toml_path is not None:
        try:
            given += _from_file(Path(toml_path))
        except ConfigError as error:
            problems += error.problems
    given += _from_sets(sets, problems)
    given += [
        _Given(name, raw, f"--{name}") for name, raw in (flags or {}).items() if raw is not None
    ]
    if target is not None:
        given.append(_Given("device_target", target, "--device_target"))

    given = [*_from_recipe(given), *given]

    chosen: dict[str, Any] = {}
    sources: dict[str, str] = {}
    notes: list[str] = []
    for item in given:
        name = ALIASES.get(item.name, item.name)
        if name not in keys():
            problems.append(Problem(item.where, unknown_key(item.name)))
            continue
        if name != item.name:
            notes.append(f"{item.where}: {item.name} is called {name} here")
        try:
            chosen[name] = checked(name, item.raw)
        except BadValue as error:
            problems.append(Problem(item.where, f"{name}: {error}"))
            continue
        if isinstance(item.raw, str) and (name, item.raw) in MEANT:
            notes.append(f"{item.where}: {name} {item.raw!r} is read as {chosen[name]!r}")
        sources[name] = item.where

    on = chosen.get("device_target", "CPU")
    values = {**defaults_for(on), **chosen}
    for name in values:
        sources.setdefault(name, f"default of {on}")
    for name, (value, reason) in derived(values, set(chosen)).items():
        values[name] = value
        sources[name] = f"from {reason}" if not reason.startswith("default") else reason
    config = TrainConfig(**values)
    problems += problems_of(config, sources)
    if problems:
        raise ConfigError(problems)
    return Resolved(config, sources, (*notes, *remarks_on(config, sources)))


def _from_recipe(given: list[_Given]) -> list[_Given]:
    """The values of the recipe that the strongest of ``given`` names."""
    names = [item.raw for item in given if item.name == "recipe"]
    if not names or names[-1] not in RECIPES:
        return []
    values, _ = toml.read(recipe_path(names[-1]))
    return [_Given(name, raw, f"recipe {names[-1]}") for name, raw in values.items()]


def _from_file(path: Path) -> list[_Given]:
    values, lines = toml.read(path)
    if {"nodes", "start_method"} & values.keys():
        what = "is a cluster profile, not a training configuration: use `effnet-launch start`"
        raise ConfigError([Problem(str(path), what)])
    given = []
    for name, raw in values.items():
        where = f"{path}, line {lines[name]}" if name in lines else str(path)
        given.append(_Given(name, raw, where))
    return given


def _from_sets(sets: Iterable[str], problems: list[Problem]) -> list[_Given]:
    given = []
    for text in sets:
        name, equals, raw = text.partition("=")
        where = f"--set {text}"
        if not equals or not name.strip():
            problems.append(Problem(where, "expected key=value"))
            continue
        given.append(_Given(name.strip().replace("-", "_"), raw.strip(), where))
    return given
