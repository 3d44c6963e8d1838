"""What is read of an attempt as a whole: its time limits, and the stacks that were taken."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from launcher.core.diagnosis.stacks import StackDump, Verdict
from launcher.core.profile.model import Limits
from launcher.core.run.paths import RunPaths
from launcher.core.run.state import RunState
from launcher.core.text.codec import from_plain
from launcher.reading.growing import read_range

LIMIT_BYTES = 1024 * 1024
MAX_STACKS_BYTES = 1 << 26


def limits_of(paths: RunPaths, attempt: int) -> Limits:
    """The defaults where the profile is not known, damaged, or of another version."""
    return _limits_in(paths.attempt(attempt).profile) or _limits_in(paths.profile) or Limits()


def _limits_in(profile: Path) -> Limits | None:
    try:
        given = dict(json.loads(read_range(profile, 0, LIMIT_BYTES))["limits"])
        return Limits(**{key: given[key] for key in given if key in Limits.model_fields})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def newest_stacks(paths: RunPaths, state: RunState) -> StackDump | None:
    """Those of the newest attempt that has some."""
    for attempt in reversed(state.attempts):
        if (taken := attempt.stacks) is not None:
            path = paths.attempt(attempt.attempt).stacks(taken.number)
            with contextlib.suppress(ValueError, RecursionError):
                data = json.loads(read_range(path, 0, MAX_STACKS_BYTES))
                return from_plain(StackDump, data)
            found = Verdict(taken.words, taken.outliers, ())
            return StackDump(attempt.attempt, taken.number, taken.time_s, taken.why, found)
    return None
