"""`python -m effnet export`."""

from __future__ import annotations

import argparse
from typing import Any

from effnet import flags
from effnet.answer import Give, answers
from effnet.config import TARGETS
from effnet.device import DeviceMissing
from effnet.errors import EffnetError, UsageError

EXAMPLES = """\
examples:
  python -m effnet export --checkpoint_path FILE.ckpt --file_name b2 --file_format ONNX
  python -m effnet export --checkpoint_path FILE.ckpt --file_format MINDIR --width 288 --height 288
  python -m effnet export --checkpoint_path FILE.ckpt --file_format ONNX --batch_size 1 --json
  python -m effnet export --checkpoint_path FILE.ckpt --file_format ONNX --precision int8 \\
      --dataset_path DIR

The command loads the written file and compares it with the network before it renames it to NAME.
"""
FORMATS = ("ONNX", "MINDIR", "AIR")
_AIR = "only MindSpore on Ascend can write AIR"


def add_arguments(commands: Any) -> None:
    about = "write a checkpoint's network as ONNX, MINDIR or AIR, and compare it with the network"
    parser = flags.command(commands, "export", about, EXAMPLES, run)
    flags.add(parser, "checkpoint_path FILE", "the checkpoint", required=True)
    name = "file to write, without its extension"
    flags.add(parser, "file_name NAME", name, default="efficientnet-b2")
    known = {"type": str.upper, "choices": FORMATS, "default": "MINDIR"}
    flags.add(parser, "file_format", "format to write", **known)
    for side in ("width", "height"):
        flags.add(parser, f"{side} PX", f"image {side} in pixels (default: the checkpoint's)")
    smaller = "fp16 or int8, for ONNX: with --dataset_path, to measure the accuracy that it costs"
    precisions = ("fp32", "fp16", "int8")
    flags.add(parser, "precision", smaller, choices=precisions, default="fp32")
    flags.add(parser, "dataset_path DIR", "folder with train/ and val/, for --precision")
    flags.add(parser, "eval_dataset_path DIR", "the validation images, if they are elsewhere")
    batch = "fixed number of images at once (default: any number; 1 for AIR)"
    flags.add(parser, "batch_size N", batch)
    flags.add_weights(parser)
    where = "device that exports and compares; the file works on every device (default: CPU; Ascend"
    flags.add(parser, "device_target", f"{where} for AIR)", choices=TARGETS)
    flags.add_device_id(parser)
    flags.add_json(parser)


@answers
def run(args: argparse.Namespace, give: Give) -> None:
    """Raises `EffnetError`."""
    from effnet import device
    from effnet.contract.reporter import Heartbeat
    from effnet.data import Preprocessing
    from effnet.evaluate.trained_config import config_for
    from effnet.export.record import INPUT, OUTPUT, record_of
    from effnet.weights import trained

    heartbeat = Heartbeat.from_environment()
    target = args.device_target or ("Ascend" if args.file_format == "AIR" else "CPU")
    if args.file_format == "AIR" and target != "Ascend":
        raise DeviceMissing(
            f"{_AIR}, not on {target}",
            hint="on an Ascend machine: --device_target Ascend; elsewhere: --file_format MINDIR",
        )
    for name in ("width", "height", "batch_size"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} is {value}, must be at least 1")
    narrows = args.precision != "fp32"
    if narrows and (args.file_format != "ONNX" or not args.dataset_path):
        raise UsageError(
            f"--precision {args.precision} is for ONNX and measures the accuracy that it costs",
            hint="add --file_format ONNX --dataset_path DIR, a folder with train/ and val/",
        )
    given = [name for name in ("dataset_path", "eval_dataset_path") if getattr(args, name)]
    if given and not narrows:
        raise UsageError(
            f"--{given[0]} is only for --precision int8 or fp16",
            hint=f"add --precision, or leave out --{' and --'.join(given)}",
        )
    if narrows and args.width != args.height:
        raise UsageError("--precision needs square images", hint="give --width and --height alike")
    path, manifest = trained.find(args.checkpoint_path)
    sets = [f"eval_image_size={args.width}"] if narrows and args.width else []
    resolved = config_for(manifest, sets=sets)
    own = Preprocessing.from_config(resolved.config)
    preprocessing = own.at_size(args.width or own.width_px, args.height or own.height_px)
    try:
        device.set_up(target, args.device_id, graph=args.file_format == "AIR")
    except DeviceMissing as error:
        if args.file_format != "AIR":
            raise
        raise DeviceMissing(f"{_AIR}: {error.message}", hint=error.hint) from error
    # MindSpore is slow to import; the checks above fail fast.
    from effnet.export import job, narrow_file

    narrow = None
    if narrows:
        data = args.dataset_path, args.eval_dataset_path or "", args.batch_size
        narrow = narrow_file.narrow_to(args.precision, resolved.config, manifest, *data)
    for note in resolved.notes:
        print(f"note: {note}")
    heartbeat.phase("export")
    source = trained.Trained.read(path, manifest, args.weights)
    record = record_of(manifest, preprocessing, source.weights)
    if narrows:
        record["precision"] = args.precision
    size_px = preprocessing.height_px, preprocessing.width_px
    destination = job.target(args.file_name, args.file_format)
    try:
        where = (destination, args.file_format, args.batch_size)
        done = job.export(source.network, size_px, record, *where, narrow=narrow)
    except OSError as error:
        raise EffnetError(f"{destination}: cannot be written: {error}") from error
    heartbeat.close()
    batch = args.batch_size or (1 if args.file_format == "AIR" else None)
    shape = (batch, 3, *size_px)
    sizes = "x".join("N" if side is None else str(side) for side in shape)
    print(f"{done.path}: {args.file_format}, {done.bytes} bytes, input {INPUT} float32 {sizes}")
    print(done.difference.text() if done.difference else "not compared: AIR cannot be loaded here")
    if done.cost:
        print(done.cost.text())
    give(
        {
            "file": str(done.path),
            "format": args.file_format,
            "bytes": done.bytes,
            "sha256": done.sha256,
            "input": {"name": INPUT, "type": "float32", "shape": shape},
            "output": {"name": OUTPUT, "type": "float32", "shape": (batch, manifest.num_classes)},
            "max_abs_difference": done.difference.max_abs if done.difference else None,
            "relative_difference": done.difference.relative if done.difference else None,
            "relative_difference_limit": done.difference.tolerated if done.difference else None,
            "checkpoint": args.checkpoint_path,
            "weights": source.weights,
            "precision": args.precision,
            "accuracy_images": done.cost.images if done.cost else None,
            "top_1_acc_fp32": done.cost.before if done.cost else None,
            "top_1_acc": done.cost.after if done.cost else None,
        }
    )
