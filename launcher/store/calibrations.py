"""The last calibration of each profile, beside the runs."""

from __future__ import annotations

import json
from pathlib import Path

from launcher.core.history.duration import Calibration
from launcher.core.run import report
from launcher.core.run.report_types import Calibrated
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.process import private
from launcher.reading.folders import runs_directory
from launcher.store import atomic


def path_of(profile: str) -> Path:
    """The file; its folder is no run, since its name begins with a dot."""
    return runs_directory() / ".calibrations" / f"{profile}.json"


def read(profile: str) -> Calibration | None:
    """None where there is none that can be read."""
    try:
        return from_plain(Calibration, json.loads(path_of(profile).read_text(encoding="utf-8")))
    except (OSError, ValueError, Mismatch):
        return None


def write(known: Calibration) -> Path:
    """-> the file."""
    path = path_of(known.profile)
    private.make_folder(path.parent)
    atomic.write_file(path, json.dumps(to_plain(known), indent=1) + "\n")
    return path


def measured(log: Path) -> Calibrated | None:
    """What a rank's log says; None where it has no such line."""
    try:
        with log.open("rb") as file:
            lines = [found for line in file if isinstance(found := report.parse(line), Calibrated)]
    except OSError:
        return None
    return lines[-1] if lines else None
