"""Checkpoints: written completely or not at all, found again, and old ones deleted."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from effnet.contract.report import SavedCheckpoint
from effnet.errors import EffnetError, first_line
from effnet.optim.pieces import Floats
from effnet.train.state.host import is_finite
from effnet.weights.files import replacing, write_tensors
from effnet.weights.manifest import manifest_path, write_manifest

_NAME = re.compile(r"step-(\d{8,})\.ckpt")
BEST = "best.json"


class CheckpointFailed(EffnetError):
    """A checkpoint could not be written, or the state is not finite."""

    kind = "checkpoint"


class CheckpointFolder:
    """`step-<global step>.ckpt` files with manifests, and links under the reference's names."""

    def __init__(self, folder: Path, keep: int, rank: int = 0) -> None:
        self.folder = folder
        self._keep = keep
        self._reference_folder = folder / f"model_{rank}"

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.ckpt"

    def present(self) -> list[Path]:
        """Checkpoints that have a manifest, newest first by their step."""
        if not self.folder.is_dir():
            return []
        found = [
            (int(match[1]), path)
            for path in self.folder.iterdir()
            if (match := _NAME.fullmatch(path.name)) and manifest_path(path).exists()
        ]
        return [path for _, path in sorted(found, reverse=True)]

    def save(
        self,
        tensors: Mapping[str, Floats],
        *,
        step: int,
        steps_per_epoch: int,
        network: Mapping[str, Any],
        extra: Mapping[str, Any],
        pause_ms: float = 0.0,
    ) -> SavedCheckpoint:
        """Write the state after `step` global steps; raises `CheckpointFailed`.

        `network` has the arguments of `write_manifest` that describe the network. `pause_ms` is for
        how long training waited, and only reported.
        """
        start_s = time.perf_counter()
        if not is_finite(tensors):
            raise CheckpointFailed(
                f"the state after step {step} has NaN or infinite numbers, so it was not saved",
                hint="lower lr_max and resume from the newest checkpoint",
            )
        path = self.path(step)
        epoch = step // steps_per_epoch
        try:
            # The manifest of an older file of this name is not valid for the new one.
            manifest_path(path).unlink(missing_ok=True)
            write_tensors(path, tensors)
            own = {"step": step, "epoch": epoch, "steps_per_epoch": steps_per_epoch}
            extra = {**own, "created": time.time(), **extra}
            manifest = write_manifest(path, **network, source="train", extra=extra)
            self._link(path, manifest.variant, step, steps_per_epoch)
            self._prune()
        except (OSError, RuntimeError) as error:
            raise CheckpointFailed(
                f"{path}: cannot be written: {first_line(error)}",
                hint="free disk space or fix permissions, then resume; older files are intact",
            ) from error
        write_ms = (time.perf_counter() - start_s) * 1e3
        return SavedCheckpoint(
            path, step, epoch, manifest.bytes, manifest.sha256, pause_ms, write_ms
        )

    def mark_best(self, step: int, top_1_acc: float, loss: float) -> None:
        """Record the checkpoint of `step` if it has the best top-1 so far."""
        best, path = self.best(), self.path(step)
        if (best is not None and best["top_1_acc"] >= top_1_acc) or not path.exists():
            return
        values = {"checkpoint": path.name, "step": step, "top_1_acc": top_1_acc, "loss": loss}
        with replacing(self.folder / BEST) as aside:
            aside.write_text(json.dumps(values) + "\n")
        self._prune()

    def best(self) -> dict[str, Any] | None:
        """What `mark_best` wrote, while that checkpoint is there."""
        try:
            best = json.loads((self.folder / BEST).read_text())
            known = {"checkpoint", "step", "top_1_acc", "loss"} <= best.keys()
        except (OSError, ValueError, AttributeError):
            return None
        if not known or not (self.folder / str(best["checkpoint"])).exists():
            return None
        return dict(best)

    def _prune(self) -> None:
        best = self.best()
        kept = best["checkpoint"] if best else None
        for path in self.present()[self._keep :]:
            if path.name != kept:
                # The manifest first: without it the checkpoint does not exist.
                manifest_path(path).unlink(missing_ok=True)
                path.unlink(missing_ok=True)

    def _link(self, path: Path, variant: str, step: int, steps_per_epoch: int) -> None:
        """The newest checkpoint as `model_<rank>/Efficientnet_b2-rank0-<epoch>_<step>.ckpt`."""
        epoch, within = divmod(step, steps_per_epoch)
        number = f"{epoch}_{steps_per_epoch}" if within == 0 else f"{epoch + 1}_{within}"
        name = f"Efficientnet_{variant}-rank0-{number}.ckpt"
        folder = self._reference_folder
        folder.mkdir(parents=True, exist_ok=True)
        aside = folder / f".link.{os.getpid()}"
        aside.unlink(missing_ok=True)
        aside.symlink_to(os.path.relpath(path, folder))
        aside.replace(folder / name)
        for other in folder.iterdir():
            if other.name != name and other.is_symlink():
                other.unlink(missing_ok=True)
