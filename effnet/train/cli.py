"""`python -m effnet train`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from effnet import config as configuration
from effnet import flags, modelarts
from effnet.config.check import rate_remarks
from effnet.config.flags import add_keys
from effnet.errors import EffnetError

if TYPE_CHECKING:
    from effnet.model.efficientnet import EfficientNet
    from effnet.train.loop import Trainer

EXAMPLES = """\
examples:
  python -m effnet data digits data/digits
  python -m effnet train --dataset_path data/digits --class_num 10 --epoch_size 2
  python -m effnet train --config recipe.toml --set batch_size=32 --resume auto
  effnet-launch start local-cpu --dataset_path data/digits

For several ranks use effnet-launch, or msrun or mpirun with --run_distribute True, or srun.
"""


def add_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "train one rank of a run, or the only one"
    parser = flags.command(commands, "train", about, EXAMPLES, run)
    flags.add_config(parser)
    shipped = "the same from a profile that ships: a recipe overrides it, --config overrides both"
    flags.add(parser, "profile_config FILE", shipped)
    flags.add_run_distribute(parser, "train together with the other ranks of the run")
    flags.add_device_id(parser)
    resume = (
        "resume from the newest good checkpoint in save_checkpoint_path (auto), or from this file"
    )
    flags.add(parser, "resume auto|FILE", f"{resume} (default: start at step 0)", default="")
    flags.add(parser, "print_config", "print the configuration and exit", action="store_true")
    modelarts.add_arguments(parser)
    # The reference's README spells --device_target like this.
    flags.add(parser, "dataset_target", argparse.SUPPRESS)
    add_keys(parser, "configuration keys (docs/configuration.md)")


def run(args: argparse.Namespace) -> int:
    """Returns the exit code of docs/report-format.md; raises `EffnetError`."""
    resolved = _resolve(vars(args))
    if args.print_config:
        print(resolved.to_toml(), end="")
        return 0
    data = modelarts.local_data(args)
    if data is not None:
        resolved = _resolve({**vars(args), "dataset_path": data})
    config = resolved.config
    if not config.dataset_path:
        raise configuration.ConfigError(
            [configuration.Problem("--dataset_path", "missing: the folder of the images")]
        )
    from effnet.distributed import slurm

    with slurm.step(args.run_distribute) as distributed:
        _train(args, resolved, distributed)
    return 0


def _train(args: argparse.Namespace, resolved: configuration.Resolved, distributed: bool) -> None:
    from effnet import device
    from effnet.contract import report
    from effnet.contract.reporter import Heartbeat, StopRequest
    from effnet.distributed import logical
    from effnet.distributed.group import PeerGone, join

    config = resolved.config
    heartbeat = Heartbeat.from_environment()
    trainer: Trainer | None = None
    is_first = False
    try:
        device.set_up(
            config.device_target,
            args.device_id,
            graph=config.mode == "graph",
            jit_level=config.jit_level,
        )
        net: EfficientNet | None = None
        if distributed and config.device_target == "CPU" and config.mode != "graph":
            from effnet.train import initial

            # MindSpore's scheduler is still starting. Devices may require that ranks meet first.
            net = initial.network(config)
        group = logical.carrying(join(distributed, config.device_target), os.environ)
        is_first = group.rank == 0
        if is_first:
            rate = rate_remarks(config, resolved.sources, group.world_size)
            report.emit_notes((*resolved.notes, *rate, *logical.notes(group)))
        # After `join`, in which MindSpore sets handlers: a signal requests a stop.
        with StopRequest.from_environment() as stop:
            # Slow to import, so errors of the configuration and the device come first.
            from effnet.train.loop import Trainer

            trainer = Trainer(
                config,
                group,
                heartbeat,
                net=net,
                resume_from=args.resume,
            )
            heartbeat.phase("compile")
            if config.calibrate_steps:
                trainer.calibrate(stop)
            else:
                trainer.run(stop)
    except EffnetError as error:
        step = trainer.step if trainer else 0
        epoch = step // trainer.steps_per_epoch if trainer else 0
        if not isinstance(error, PeerGone):  # the fault is another rank's
            report.emit(report.fault_line(error.kind, epoch, step, error.message))
        raise
    finally:
        if is_first and args.train_url:
            kept = modelarts.copy_out(Path(config.save_checkpoint_path), args.train_url)
            report.emit(
                f"note: checkpoints were copied to {kept}"
                if kept
                else "note: no checkpoints to copy"
            )
    heartbeat.close()


def _resolve(given: Mapping[str, Any]) -> configuration.Resolved:
    known = configuration.keys()
    keys = {name: given[name] for name in known}
    if keys["device_target"] is None:
        keys["device_target"] = given["dataset_target"]
    return configuration.resolve(
        toml_path=given["config"],
        sets=given["set"],
        flags=keys,
        weak_path=given["profile_config"],
    )
