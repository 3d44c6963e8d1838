"""The time limits of an attempt, from its profile in the run directory."""

from __future__ import annotations

import json
from pathlib import Path

from launcher.core.profile.model import Limits
from launcher.core.run.paths import RunPaths
from launcher.reading.growing import read_range

LIMIT_BYTES = 1024 * 1024


def limits_of(paths: RunPaths, attempt: int) -> Limits:
    """The defaults where the profile is not known, damaged, or of another version."""
    return _limits_in(paths.attempt(attempt).profile) or _limits_in(paths.profile) or Limits()


def _limits_in(profile: Path) -> Limits | None:
    try:
        given = dict(json.loads(read_range(profile, 0, LIMIT_BYTES))["limits"])
        return Limits(**{key: given[key] for key in given if key in Limits.model_fields})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
