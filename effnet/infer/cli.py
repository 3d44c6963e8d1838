"""`python -m effnet infer`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from effnet import flags
from effnet.answer import Give, answers
from effnet.errors import EffnetError, UsageError

EXAMPLES = """\
examples:
  python -m effnet infer --onnx_path b2.onnx --dataset_path data/digits
  python -m effnet infer --onnx_path b2.onnx --dataset_path photos --predictions photos.csv
  python -m effnet infer --onnx_path b2.onnx --dataset_path DIR --device_target GPU --json

If DIR holds class folders (or train/ and val/; then val/ is used), the command prints the accuracy;
if it holds images, the predictions. MindSpore is not needed.
"""

GPU_BATCH_SIZE = 32
"""Where neither the file nor the user says one; more gain little."""


def add_arguments(commands: Any) -> None:
    about = "run an exported ONNX file on a folder of images, with onnxruntime"
    parser = flags.command(commands, "infer", about, EXAMPLES, run)
    flags.add(parser, "onnx_path FILE", "file that `export` wrote", required=True)
    flags.add(parser, "dataset_path DIR", "the images", required=True)
    device = "GPU needs onnxruntime's CUDAExecutionProvider"
    flags.add(parser, "device_target", device, choices=("CPU", "GPU"), default="CPU")
    flags.add(parser, "device_id N", "GPU number", default=0)
    batch = "images at once, shared by the workers (default: the file's, 32 on a GPU, or on a CPU"
    flags.add(parser, "batch_size N", f"{batch} what is fastest at their size)")
    about = "threads that decode images, and compute them on a CPU; 0 is one for each core"
    flags.add(parser, "num_workers N", about, default=0)
    flags.add(parser, "predictions FILE.csv", "write a row for each image to this file", type=Path)
    flags.add_json(parser)
    group = parser.add_argument_group("preprocessing (default: what the ONNX file says)")
    flags.add(group, "width PX", "width of the crop in pixels")
    flags.add(group, "height PX", "height of the crop in pixels")
    flags.add(group, "resize PX", "shorter side before the crop, in pixels")
    flags.add(group, "interpolation", "how images are resized", choices=("bilinear", "bicubic"))
    range_ = "half: to [-1, 1], as the reference; imagenet: ImageNet's mean and deviation"
    flags.add(group, "normalization", range_, choices=("half", "imagenet"))


@answers
def run(args: argparse.Namespace, give: Give) -> None:
    """Raises `EffnetError`."""
    from effnet.contract import report
    from effnet.contract.progress import bar
    from effnet.data import BadImages
    from effnet.data.folders import require_same_classes
    from effnet.data.loader import thread_count
    from effnet.data.pixels import compiled
    from effnet.data.source import EvalSource
    from effnet.infer import facts, table
    from effnet.infer.images import find_images
    from effnet.infer.predict import predict
    from effnet.infer.session import open_model
    from effnet.infer.workers import Plan, plan

    for name, least in (("batch_size", 1), ("num_workers", 0), ("device_id", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} is {value}, must be at least {least}")
    images, has_classes = find_images(args.dataset_path)
    device = (Path(args.onnx_path), args.device_target, args.device_id)
    model = open_model(*device, threads=0 if args.device_target == "GPU" else 1)
    names = facts.class_names(model)
    if has_classes:
        require_same_classes(images, names, args.onnx_path, model.classes)
    if model.batch_size is not None and args.batch_size not in (None, model.batch_size):
        raise UsageError(
            f"batch_size {args.batch_size} does not fit {model.path}: its batch is fixed at"
            f" {model.batch_size}"
        )
    # Compiles on the first use on a machine, which is not the time of an image.
    report.emit_notes(compiled.notes())
    bad_images = BadImages()
    source = EvalSource(images, facts.preprocessing(model, vars(args)), bad_images)
    workers = thread_count(args.num_workers)
    if args.device_target == "GPU":
        planned = Plan(workers, model.batch_size or args.batch_size or GPU_BATCH_SIZE, 0)
    else:
        planned = plan(model, source.shape, len(images), args.batch_size, workers)
        if planned.threads > 1:
            model = open_model(*device, threads=planned.threads)
    with bar("infer", len(images)) as progress:
        found = predict(model, source, planned, progress)
    if args.predictions is not None:
        try:
            table.write(args.predictions, table.rows(images, found, names, bad_images))
        except OSError as error:
            raise EffnetError(f"{args.predictions}: cannot be written: {error}") from error
    elif not has_classes:
        for image, _, predicted, probability, unreadable in table.rows(
            images, found, names, bad_images
        ):
            print(
                f"{image}: {predicted} ({probability})" if predicted else f"{image}: {unreadable}"
            )
    if len(bad_images):
        print(bad_images.summary())
    answer: dict[str, Any] = {
        "images": found.images,
        "unreadable": found.unreadable,
        "images_per_s": found.images_per_s,
        "onnx": args.onnx_path,
        "provider": model.provider,
    }
    if has_classes:
        # The reference's lines, character for character.
        print(f"top-1 accuracy: {found.top_1_acc:.5f}")
        print(f"top-5 accuracy: {found.top_5_acc:.5f}")
        answer = {"top_1_acc": found.top_1_acc, "top_5_acc": found.top_5_acc, **answer}
    if args.predictions is not None:
        answer["predictions"] = str(args.predictions)
    print(f"images: {found.images}, images/s: {found.images_per_s:.1f}, {model.provider}")
    give(answer)
