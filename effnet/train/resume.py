"""Which checkpoint training goes on from, and whether it may."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from effnet.config import ConfigError, TrainConfig, as_dict, compatible_for_resume, resolve
from effnet.config.resume import Difference, differences
from effnet.errors import EffnetError
from effnet.train.checkpoint import CheckpointFolder
from effnet.weights.manifest import Manifest, verify


class CannotResume(EffnetError):
    """No checkpoint is good, or the one asked for can't continue this run."""


@dataclass(frozen=True)
class ResumePoint:
    """A verified checkpoint; `step` global steps of the *present* run are done.

    `notes` are for the user: checkpoints passed over, settings that changed.
    """

    path: Path
    step: int
    epoch: int
    mean_loss_sum: float
    notes: tuple[str, ...] = field(default=())


def find(
    asked: str,
    folder: CheckpointFolder,
    config: TrainConfig,
    *,
    steps_per_epoch: int,
    world_size: int,
    fingerprint: str,
) -> tuple[ResumePoint | None, tuple[str, ...]]:
    """The point to go on from, or `None` to begin anew, and notes.

    `asked` is "" (begin anew), "auto" (the newest good one in `folder`, if any) or a path. Raises
    `CannotResume`, with every reason, when what is there can't continue this run.
    """
    if not asked:
        return None, ()
    if asked != "auto" and not Path(asked).exists():
        raise CannotResume(f"{asked}: no such checkpoint", hint="--resume auto takes the newest")
    passed_over: list[str] = []
    for path in folder.present() if asked == "auto" else [Path(asked).resolve()]:
        try:
            manifest = verify(path)
        except EffnetError as error:
            if asked != "auto":
                raise CannotResume(error.message, hint=error.hint) from error
            passed_over.append(f"passed over a checkpoint: {error.message}")
            continue
        point = _check(path, manifest, config, steps_per_epoch, world_size, fingerprint)
        return dataclasses.replace(point, notes=(*passed_over, *point.notes)), ()
    if passed_over:
        raise CannotResume(
            "no checkpoint is good:\n  " + "\n  ".join(passed_over),
            hint="begin anew without --resume, or name a checkpoint",
        )
    return None, (f"no checkpoint in {folder.folder} yet: beginning at step 0",)


def _check(
    path: Path,
    manifest: Manifest,
    config: TrainConfig,
    steps_per_epoch: int,
    world_size: int,
    fingerprint: str,
) -> ResumePoint:
    extra = manifest.extra
    for key, kind in (("step", int), ("steps_per_epoch", int), ("world_size", int)):
        if not isinstance(extra.get(key), kind):
            raise CannotResume(
                f"{path}: holds weights but no state of training ({key} is missing)",
                hint="to begin with these weights: --weights instead of --resume",
            )
    before = _config_of(path, extra)
    step, old_steps_per_epoch = int(extra["step"]), int(extra["steps_per_epoch"])
    worlds = {"old_world_size": int(extra["world_size"]), "new_world_size": world_size}
    refused = compatible_for_resume(before, config, **worlds)
    at_boundary = step % old_steps_per_epoch == 0
    if at_boundary:
        # Between two epochs there is no position in the data that could be lost.
        refused = [d for d in refused if d.key not in ("batch_size", "world size")]
    if refused:
        raise CannotResume(_refusal(path, refused), hint=_hint(refused))
    if extra.get("images") != fingerprint and not at_boundary:
        raise CannotResume(
            f"{path}: was written in the middle of an epoch over other images than those in"
            " dataset_path now",
            hint="point dataset_path at the same images, or take a checkpoint from an epoch's end",
        )
    notes = [
        f"not as in the checkpoint: {d}"
        for d in differences(before, config, **worlds)
        if d.why != "changes nothing that is computed"
    ]
    epoch = step // old_steps_per_epoch
    return ResumePoint(
        path,
        step=epoch * steps_per_epoch if at_boundary else step,
        epoch=epoch,
        mean_loss_sum=0.0 if at_boundary else float(extra.get("loss_sum", 0.0)),
        notes=tuple(notes),
    )


def _config_of(path: Path, extra: Mapping[str, Any]) -> TrainConfig:
    values = extra.get("config")
    if not isinstance(values, dict):
        raise CannotResume(f"{path}: its manifest has no configuration (config)")
    own = as_dict(TrainConfig())
    try:
        # A key that this version does not know, or that it has and the checkpoint's had not.
        return resolve(flags={k: v for k, v in values.items() if k in own}).config
    except ConfigError as error:
        raise CannotResume(f"{path}: its configuration is not valid here: {error}") from error


def _refusal(path: Path, refused: list[Difference]) -> str:
    lines = "\n  ".join(str(d) for d in refused)
    return f"{path} can't continue this configuration:\n  {lines}"


def _hint(refused: list[Difference]) -> str:
    keys = ", ".join(d.key for d in refused)
    return f"give {keys} as in the checkpoint, or begin anew without --resume"
