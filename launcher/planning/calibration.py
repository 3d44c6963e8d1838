"""Calibrations: kept after a run of a few steps, and used to estimate the duration of others."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from launcher.core.history import duration
from launcher.core.profile.model import Profile
from launcher.core.run.requests import StartRequest
from launcher.errors import LaunchError
from launcher.planning.attempt import data_path_of
from launcher.planning.settings import Configuration, configuration_of
from launcher.reading.run import RunReader
from launcher.store import calibrations


def configuration(profile: Profile, request: StartRequest) -> Configuration:
    """The training configuration of a start, with its duration where it is known."""
    found = configuration_of(profile, request.settings)
    known = calibrations.read(profile.name)
    if known is None or not found.values:
        return found
    data_path = data_path_of(profile, request.data_path)
    settings = {value.key: value.value for value in found.values}
    whole = duration.estimate(known, labels(profile), profile.world_size, data_path, settings)
    return replace(found, estimate=whole)


def keep(reader: RunReader, profile: Profile, request: StartRequest) -> Path:
    """Writes what a run with `calibrate_steps` measured for a start with `request`. -> the file.

    Raises `LaunchError` when it measured nothing.
    """
    attempt = reader.poll_state().attempt
    number = 1 if attempt is None else attempt.attempt
    measured = calibrations.measured(reader.paths.attempt(number).rank(0).log)
    if measured is None or attempt is None:
        raise LaunchError(
            f"run {reader.run} measured nothing", f"read its log: effnet-launch logs {reader.run}"
        )
    settings = configuration_of(profile, request.settings).values
    return calibrations.write(
        duration.calibration_of(
            measured,
            profile=profile.name,
            run=reader.run,
            began=attempt.started_s,
            ended=attempt.ended_s or time.time(),
            nodes=labels(profile),
            ranks=profile.world_size,
            data_path=data_path_of(profile, request.data_path),
            settings={value.key: value.value for value in settings},
        )
    )


def labels(profile: Profile) -> tuple[str, ...]:
    """The names of its nodes."""
    return tuple(node.label for node in profile.nodes)
