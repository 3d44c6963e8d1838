"""Checks a training configuration with the trainer's own rules; no rank is started.

The launcher never imports the trainer, so `effnet config check` runs as a process of 0.2 s: it
loads no MindSpore.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import programs
from launcher.core.history.duration import Estimate
from launcher.core.profile.check import SET_BY_THE_LAUNCHER
from launcher.core.profile.model import Profile
from launcher.core.profile.program import Program
from launcher.core.run.script_lines import log_pattern
from launcher.core.text.codec import Mismatch, from_plain
from launcher.core.text.toml import to_toml
from launcher.errors import SettingsError
from launcher.process import tools
from launcher.process.spawn import base_environment


def check(profile: Profile, settings: tuple[tuple[str, str], ...] = ()) -> None:
    """Raises `SettingsError` with every error in the profile's ``[trainer]`` and `settings`."""
    problems = problems_of(profile, settings)
    if problems:
        count = f"{len(problems)} error{'s' if len(problems) != 1 else ''}"
        if profile.program is not None:
            hint = "Every key of [program]: docs/reference/profiles.md"
            raise SettingsError(f"the start of a [program] has {count}", problems, hint)
        raise SettingsError(
            f"the training configuration has {count}",
            problems,
            "Every key: docs/configuration.md, or python -m effnet train --help",
        )


@dataclass(frozen=True)
class Value:
    """One key: ``source`` says where its value is from, ``is_default``: it is the target's."""

    key: str
    value: bool | int | float | str
    source: str
    is_default: bool

    @property
    def line(self) -> str:
        """As in a configuration file."""
        return f"{to_toml({self.key: self.value}).strip()}  # {self.source}"


@dataclass(frozen=True)
class Configuration:
    """The whole training configuration, and remarks of the trainer on it."""

    values: tuple[Value, ...] = ()
    notes: tuple[str, ...] = ()
    estimate: Estimate | None = None
    """How long the run takes; None without a calibration of its profile."""


def configuration_of(profile: Profile, settings: tuple[tuple[str, str], ...] = ()) -> Configuration:
    """What the trainer makes of the profile and `settings`; empty where it does not answer."""
    if profile.program is not None:
        return Configuration()
    answer = _answer(profile, settings, f"profile {profile.name}")
    try:
        return Configuration(
            tuple(from_plain(Value, value) for value in answer["values"]),
            tuple(map(str, answer["notes"])),
        )
    except (KeyError, TypeError, Mismatch):
        return Configuration()


def problems_of(
    profile: Profile, settings: tuple[tuple[str, str], ...] = (), name: str = ""
) -> tuple[str, ...]:
    """A line for each error: where, what was expected, the nearest known name.

    Messages call the profile by `name`, by default its own. Where the trainer does not answer,
    there are no errors: the ranks will report them.
    """
    if profile.program is not None:
        return tuple(_program_problems(profile.program, settings, name or profile.name))
    ours = [
        f"--set {key}={value}: {key} is set by the launcher: {SET_BY_THE_LAUNCHER[key]}"
        for key, value in settings
        if key in SET_BY_THE_LAUNCHER
    ]
    answer = _answer(profile, settings, f"{name or f'profile {profile.name}'}, [trainer]")
    try:
        found = answer["problems"]
        return (*ours, *(f"{problem['where']}: {problem['what']}" for problem in found))
    except (KeyError, TypeError):
        return tuple(ours)


def _program_problems(
    program: Program, settings: tuple[tuple[str, str], ...], name: str
) -> Iterator[str]:
    for key, value in settings:
        yield f"--set {key}={value}: it is for the bundled trainer; write it into the command"
    try:
        if program.log_pattern:
            log_pattern(program.log_pattern)
    except ValueError as error:
        yield f"{name}: program.log_pattern: {error}"


def _answer(profile: Profile, settings: tuple[tuple[str, str], ...], name: str) -> dict[str, Any]:
    """Of `config check --json`; empty where there is none."""
    argv = [*programs.command(programs.TRAINER), "config", "check", "--json"]
    argv += ["--config", "-", "--config_name", name]
    argv += ["--device_target", profile.device_target.value]
    argv += [
        "--world_size",
        str(profile.logical_size),
        *(["--shipped"] if profile.is_shipped else []),
    ]
    for key, value in settings:
        if key not in SET_BY_THE_LAUNCHER:
            argv += ["--set", f"{key}={value}"]
    try:
        done = tools.run(
            argv,
            base_environment(),
            stdin=to_toml(profile.trainer).encode(),
            # Not a folder where another package `effnet` may be.
            folder=str(Path(os.path.abspath(__file__)).parents[2]),
        )
        answer = json.loads(done.stdout)
    except (OSError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}
