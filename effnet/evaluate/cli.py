"""`python -m effnet eval`."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

from effnet import config as configuration
from effnet import flags, modelarts
from effnet.answer import Give, answers
from effnet.config.flags import add_keys
from effnet.errors import UsageError

EXAMPLES = """\
examples:
  python -m effnet eval --dataset_path data/digits --checkpoint_path checkpoint/step-00000045.ckpt
  python -m effnet eval --dataset_path DIR --checkpoint_path FILE --eval_image_size 288 --json
  python -m effnet eval --dataset_path DIR --checkpoint_path FILE --weights model
  effnet-launch eval latest

Network, classes, preprocessing and loss come from the checkpoint, unless a flag overrides them. DIR
holds class folders, or train/ and val/; then val/ is evaluated.
"""

_KEYS = (
    "device_target",
    "batch_size",
    "eval_image_size",
    "eval_resize",
    "crop_pct",
    "interpolation",
    "normalization",
    "mode",
    "max_bad_images",
    "num_workers",
    "image_cache_mb",
)


def add_arguments(commands: Any) -> None:
    about = "loss and accuracy of a checkpoint on a folder of images"
    parser = flags.command(commands, "eval", about, EXAMPLES, run)
    # The reference's README: eval.py [DEVICE_ID] [PATH_CHECKPOINT] [DATA_DIR] [DEVICE_TARGET].
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    flags.add(parser, "dataset_path DIR", "the images")
    flags.add(parser, "checkpoint_path FILE", "the checkpoint")
    flags.add_config(parser)
    flags.add_run_distribute(parser, "share the images among all ranks of the run")
    flags.add_device_id(parser)
    flags.add_weights(parser)
    modelarts.add_arguments(parser)
    flags.add(parser, "dataset_target", argparse.SUPPRESS)
    flags.add_json(parser)
    title = "configuration keys (default: the checkpoint's values)"
    add_keys(parser, title, _KEYS, with_defaults=False)


def _complete(args: argparse.Namespace) -> None:
    """Fill missing flags from the positional words and data_url. Raises `UsageError`."""
    if args.words:
        if not 3 <= len(args.words) <= 4:
            raise UsageError(
                f"{len(args.words)} positional arguments, expected DEVICE_ID PATH_CHECKPOINT"
                " DATA_DIR [DEVICE_TARGET]",
                hint="use --device_id, --checkpoint_path and --dataset_path instead",
            )
        device_id, checkpoint, data, *target = args.words
        if Path(checkpoint).is_dir() and Path(data).is_file():
            checkpoint, data = data, checkpoint
            print(
                f"note: {checkpoint} is the checkpoint and {data} the images, as they are on disk"
            )
        if not device_id.isdigit():
            raise UsageError(f"DEVICE_ID is {device_id!r}, expected a number")
        words = {"device_id": int(device_id), "checkpoint_path": checkpoint, "dataset_path": data}
        words |= {"device_target": target[0]} if target else {}
        for name, value in words.items():
            if getattr(args, name) is None:
                setattr(args, name, value)
    if args.device_target is None:
        args.device_target = args.dataset_target
    args.dataset_path = modelarts.local_data(args) or args.dataset_path
    missing = [f"--{n}" for n in ("dataset_path", "checkpoint_path") if not getattr(args, n)]
    if missing:
        raise UsageError(
            f"missing {', '.join(missing)}", hint="python -m effnet eval --help has examples"
        )


@answers
def run(args: argparse.Namespace, give: Give) -> None:
    """Raises `EffnetError`."""
    _complete(args)
    from effnet.distributed import slurm

    with slurm.step(args.run_distribute) as distributed:
        _evaluate(args, give, distributed)


def _evaluate(args: argparse.Namespace, give: Give, distributed: bool) -> None:
    from effnet import device
    from effnet.contract import report
    from effnet.contract.progress import bar
    from effnet.contract.reporter import Heartbeat
    from effnet.data import BadImages, eval_batches, index_folder
    from effnet.data.folders import require_same_classes
    from effnet.distributed.group import join
    from effnet.evaluate.trained_config import config_for
    from effnet.weights import trained

    # Each rank finds errors before it waits for the others.
    heartbeat = Heartbeat.from_environment()
    path, manifest = trained.find(args.checkpoint_path)
    given = {name: getattr(args, name) for name in _KEYS}
    resolved = config_for(manifest, args.config, args.set, given)
    config = resolved.config
    images = index_folder(args.dataset_path, "val")
    names = manifest.extra.get("class_names")
    require_same_classes(images, names, args.checkpoint_path, manifest.num_classes)

    compiles = _compiles(resolved)
    graph = compiles and config.mode == "graph"
    device.set_up(config.device_target, args.device_id, graph=graph, jit_level=config.jit_level)
    group = join(distributed, config.device_target)
    first = group.rank == 0
    if first:
        report.emit_notes(resolved.notes)
    # MindSpore is slow to import; the checks above fail fast.
    from effnet.data.pixels import compiled
    from effnet.evaluate.depthwise import choose
    from effnet.evaluate.evaluator import Evaluator

    heartbeat.phase("compile")
    source = trained.Trained.read(path, manifest, args.weights)
    net, form = source.network(), choose(config, group)
    form.apply(net)
    if first:
        report.emit_notes((*form.notes, *compiled.notes(form.notes)))
    evaluator = Evaluator(net, config, jit=compiles)
    bad_images = BadImages(config.max_bad_images)
    heartbeat.phase("eval")
    batches = eval_batches(
        images,
        config,
        rank=group.rank,
        world_size=group.size,
        bad_images=bad_images,
    )
    own_share = -(-len(images) // group.size)
    with closing(batches), bar("eval", own_share, show=first) as progress:
        found = evaluator(batches, group, progress)
    heartbeat.close()
    if len(bad_images):
        report.emit(bad_images.summary())
    if not first:
        return
    step, epoch = manifest.extra.get("step"), manifest.extra.get("epoch")
    report.emit(report.eval_line(epoch, step, found, source.weights))
    report.emit(report.result_line(found, args.checkpoint_path))
    give(
        {
            "loss": found.loss,
            "top_1_acc": found.top_1_acc,
            "top_5_acc": found.top_5_acc,
            "images": found.images,
            "unreadable": found.unreadable,
            "checkpoint": args.checkpoint_path,
            "weights": source.weights,
            "step": step,
            "epoch": epoch,
            "images_per_s": found.images_per_s,
        }
    )


def _compiles(resolved: configuration.Resolved) -> bool:
    """Whether the network is compiled: on a CPU only if `mode` was set: compiling takes long."""
    set_by_user = not resolved.sources["mode"].startswith("default")
    on_cpu = resolved.config.device_target == "CPU"
    return resolved.config.mode != "pynative" and (set_by_user or not on_cpu)
