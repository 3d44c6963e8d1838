"""From defaults, a TOML file, ``--set`` and flags to one checked configuration."""

from __future__ import annotations

import dataclasses
import itertools
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


_Layer = list[_Given]


def resolve(
    target: str | None = None,
    toml_path: str | os.PathLike[str] | None = None,
    sets: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    *,
    base: Mapping[str, Any] | None = None,
    base_name: str = "base",
    weak_path: str | os.PathLike[str] | None = None,
    weak: Mapping[str, Any] | None = None,
) -> Resolved:
    """Layers, each stronger than the one before: defaults, ``weak`` or its file, the recipe that
    any layer names, ``base``, file, ``sets``, ``flags``, ``target``.

    ``sets`` are texts ``key=value``. ``flags`` and ``base`` map keys to values; a flag that is
    ``None`` is not given; ``base_name`` says where ``base`` and ``weak`` are from. Without a
    ``target`` the strongest layer that has ``device_target`` decides, else it is the CPU. Raises
    :class:`ConfigError` with every error of every layer.
    """
    problems: list[Problem] = []
    shipped = _from_file(weak_path, problems)
    shipped += [_Given(name, raw, base_name) for name, raw in (weak or {}).items()]
    layers = [
        [_Given(name, raw, base_name) for name, raw in (base or {}).items()],
        _from_file(toml_path, problems),
        _from_sets(sets, problems),
        [_Given(name, raw, f"--{name}") for name, raw in (flags or {}).items() if raw is not None],
    ]
    if target is not None:
        layers[-1].append(_Given("device_target", target, "--device_target"))
    layers = [shipped, _from_recipe([*shipped, *itertools.chain(*layers)]), *layers]

    chosen: dict[str, Any] = {}
    sources: dict[str, str] = {}
    strength: dict[str, int] = {}
    notes: list[str] = []
    for number, item in ((n, item) for n, layer in enumerate(layers) for item in layer):
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
        sources[name], strength[name] = item.where, number

    # Of lr_max and lr_per_256, the one in the stronger layer counts.
    if strength.get("lr_max", -1) > strength.get("lr_per_256", -1) and chosen.get("lr_per_256"):
        chosen["lr_per_256"], sources["lr_per_256"] = 0.0, f"lr_max of {sources['lr_max']}"
    on = chosen.get("device_target", "CPU")
    values = {**defaults_for(on), **chosen}
    for name in values:
        sources.setdefault(name, f"default of {on}")
    for name, (value, reason) in derived(values, set(chosen)).items():
        values[name] = value
        sources[name] = f"from {reason}" if not reason.startswith("default") else reason
    if values["lr_per_256"] > 0:
        sources["lr_max"] = "not used: lr_per_256 is set"
    config = TrainConfig(**values)
    problems += problems_of(config, sources)
    if problems:
        raise ConfigError(problems)
    return Resolved(config, sources, (*notes, *remarks_on(config, sources)))


def _from_recipe(given: _Layer) -> _Layer:
    """The values of the recipe that the strongest of ``given`` names."""
    names = [item.raw for item in given if item.name == "recipe"]
    if not names or names[-1] not in RECIPES:
        return []
    values, _ = toml.read(recipe_path(names[-1]))
    return [_Given(name, raw, f"recipe {names[-1]}") for name, raw in values.items()]


def _from_file(path: str | os.PathLike[str] | None, problems: list[Problem]) -> _Layer:
    if path is None:
        return []
    try:
        values, lines = toml.read(Path(path))
    except ConfigError as error:
        problems += error.problems
        return []
    if {"nodes", "start_method"} & values.keys():
        what = "is a cluster profile, not a training configuration: use `effnet-launch start`"
        problems.append(Problem(str(path), what))
        return []
    given = []
    for name, raw in values.items():
        where = f"{path}, line {lines[name]}" if name in lines else str(path)
        given.append(_Given(name, raw, where))
    return given


def _from_sets(sets: Iterable[str], problems: list[Problem]) -> _Layer:
    given = []
    for text in sets:
        name, equals, raw = text.partition("=")
        where = f"--set {text}"
        if not equals or not name.strip():
            problems.append(Problem(where, "expected key=value"))
            continue
        given.append(_Given(name.strip().replace("-", "_"), raw.strip(), where))
    return given
