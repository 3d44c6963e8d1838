"""Whether the trainer would take a training configuration: it is asked, and no rank is started.

The trainer that came with this launcher is asked in a process of its own, since the launcher never
imports it. It loads no MindSpore for that, so it takes a fifth of a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from launcher import programs
from launcher.core.profile.check import SET_BY_THE_LAUNCHER
from launcher.core.profile.model import Profile
from launcher.core.text.toml import to_toml
from launcher.errors import SettingsError
from launcher.process.spawn import base_environment

ANSWER_LIMIT_S = 30.0


def check(profile: Profile, settings: tuple[tuple[str, str], ...] = (), name: str = "") -> None:
    """Raises `SettingsError` with all that is wrong in the profile's ``[trainer]`` and `settings`.

    Messages call the profile by `name`, its own name unless given. Where the trainer does not
    answer, nothing was found.
    """
    problems = problems_of(profile, settings, name)
    if problems:
        count = f"{len(problems)} error{'s' if len(problems) != 1 else ''}"
        raise SettingsError(
            f"the training configuration has {count}",
            problems,
            "Every key: docs/configuration.md, or python -m effnet train --help",
        )


def problems_of(
    profile: Profile, settings: tuple[tuple[str, str], ...] = (), name: str = ""
) -> tuple[str, ...]:
    """A line each: where, what was expected, the nearest known name."""
    ours = tuple(
        f"--set {key}={value}: {key} is set by the launcher: {SET_BY_THE_LAUNCHER[key]}"
        for key, value in settings
        if key in SET_BY_THE_LAUNCHER
    )
    theirs = tuple(pair for pair in settings if pair[0] not in SET_BY_THE_LAUNCHER)
    return (*ours, *_asked(profile, theirs, name or f"profile {profile.name}"))


def _asked(profile: Profile, settings: tuple[tuple[str, str], ...], name: str) -> tuple[str, ...]:
    argv = [sys.executable, "-m", programs.TRAINER, "config", "check", "--json"]
    argv += ["--config", "-", "--config_name", f"{name}, [trainer]"]
    argv += ["--device_target", profile.device_target.value]
    for key, value in settings:
        argv += ["--set", f"{key}={value}"]
    try:
        done = subprocess.run(
            argv,
            input=to_toml(profile.trainer),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=ANSWER_LIMIT_S,
            check=False,
            env=base_environment(),
            # Not where somebody's own folder `effnet` may lie.
            cwd=Path(os.path.abspath(__file__)).parents[2],
        )
        found = json.loads(done.stdout)["problems"]
        return tuple(f"{problem['where']}: {problem['what']}" for problem in found)
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        # The ranks will say it, and why.
        return ()
