"""Which checkpoint a run resumes from, and whether it can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from effnet.config import ConfigError, TrainConfig, as_dict, resolve
from effnet.config.keys import Resume
from effnet.config.resume import differences
from effnet.errors import EffnetError
from effnet.train.checkpoint import CheckpointFolder
from effnet.weights.manifest import Manifest, verify


class CannotResume(EffnetError):
    """No checkpoint is valid, or the given one cannot continue this run."""

    kind = "checkpoint"


@dataclass(frozen=True)
class StartPosition:
    """A verified checkpoint; `step` global steps of the *present* run are done.

    `loss_sum` is over the steps of the epoch that has begun. `sums` is `Order.now` of the run that
    wrote it; empty where that was one rank or an older version.
    """

    path: Path
    step: int
    loss_sum: float
    sums: str


def find(
    resume_from: str,
    folder: CheckpointFolder,
    config: TrainConfig,
    *,
    steps_per_epoch: int,
    world_size: int,
    fingerprint: str,
) -> tuple[StartPosition | None, tuple[str, ...]]:
    """Where to resume from, or `None` to start at step 0; and notes for the user.

    `resume_from` is "" (start at step 0), "auto" (the newest valid one in `folder`, if any) or a
    path. Raises `CannotResume` with every reason if no checkpoint can continue this run.
    """
    if not resume_from:
        return None, ()
    if resume_from != "auto" and not Path(resume_from).exists():
        raise CannotResume(
            f"{resume_from}: no such checkpoint", hint="--resume auto uses the newest"
        )
    skipped: list[str] = []
    for path in folder.present() if resume_from == "auto" else [Path(resume_from).resolve()]:
        try:
            manifest = verify(path)
        except EffnetError as error:
            if resume_from != "auto":
                raise CannotResume(error.message, hint=error.hint) from error
            skipped.append(f"skipped a checkpoint: {error.message}")
            continue
        position, notes = _check(path, manifest, config, steps_per_epoch, world_size, fingerprint)
        return position, (*skipped, *notes)
    if skipped:
        raise CannotResume(
            "all checkpoints are damaged:\n  " + "\n  ".join(skipped),
            hint="start again without --resume, or name a checkpoint of another folder",
        )
    return None, (f"no checkpoint in {folder.folder} yet: starting at step 0",)


def _check(
    path: Path,
    manifest: Manifest,
    config: TrainConfig,
    steps_per_epoch: int,
    world_size: int,
    fingerprint: str,
) -> tuple[StartPosition, list[str]]:
    extra = manifest.extra
    for key in ("step", "steps_per_epoch", "world_size"):
        if not isinstance(extra.get(key), int):
            raise CannotResume(
                f"{path}: has weights but no training state ({key} is missing)",
                hint="to start with these weights: --weights instead of --resume",
            )
    before = _config_of(path, extra)
    step, old_steps_per_epoch = int(extra["step"]), int(extra["steps_per_epoch"])
    worlds = {"old_world_size": int(extra["world_size"]), "new_world_size": world_size}
    changed = differences(before, config, **worlds)
    refused = [d for d in changed if d.refused]
    at_boundary = step % old_steps_per_epoch == 0
    if at_boundary:
        # Between two epochs there is no position in the data that could be lost.
        free = ("batch_size", "accumulation_steps", "world size")
        refused = [d for d in refused if d.key not in free]
    if refused:
        lines = "\n  ".join(map(str, refused))
        names = ", ".join(d.key for d in refused)
        raise CannotResume(
            f"{path} can't continue this configuration:\n  {lines}",
            hint=f"set {names} as in the checkpoint, or start again without --resume",
        )
    if extra.get("images") != fingerprint and not at_boundary:
        raise CannotResume(
            f"{path}: was written in the middle of an epoch, and dataset_path has other images now",
            hint="set dataset_path to the same images, or use a checkpoint of an epoch's end",
        )
    notes = [f"changed since the checkpoint: {d}" for d in changed if d.verdict is not Resume.FREE]
    loss_sum, sums = float(extra.get("loss_sum", 0.0)), str(extra.get("sums", ""))
    if at_boundary:
        step, loss_sum = step // old_steps_per_epoch * steps_per_epoch, 0.0
    return StartPosition(path, step, loss_sum, sums), notes


def _config_of(path: Path, extra: Mapping[str, Any]) -> TrainConfig:
    values = extra.get("config")
    if not isinstance(values, dict):
        raise CannotResume(f"{path}: its manifest has no configuration (config)")
    own = as_dict(TrainConfig())
    if "lr_per_256" not in values and values.get("lr_decay_mode") == "cosine":
        # What the versions without that key called cosine.
        values = {**values, "lr_decay_mode": "reference-cosine"}
    if "depthwise" not in values:
        # The only form of the versions without that key.
        tiled = values.get("device_target") == "CPU" and values.get("amp_level") == "O0"
        values = {**values, "depthwise": "tiled" if tiled else "plain"}
    try:
        # A key that this version does not know, or that it has and the checkpoint's had not.
        return resolve(flags={k: v for k, v in values.items() if k in own}).config
    except ConfigError as error:
        raise CannotResume(f"{path}: its configuration is not valid here: {error}") from error
