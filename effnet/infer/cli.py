"""`python -m effnet infer`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from effnet import flags
from effnet.answer import Give, answering
from effnet.errors import EffnetError

EXAMPLES = """\
examples:
  python -m effnet infer --onnx_path b2.onnx --dataset_path data/digits
  python -m effnet infer --onnx_path b2.onnx --dataset_path photos --predictions photos.csv
  python -m effnet infer --onnx_path b2.onnx --dataset_path DIR --device_target GPU --json

DIR holds class folders (or train/ and val/, of which val/ is taken), and the accuracy is printed;
or images, and the predictions are. MindSpore is not needed.
"""


def add_arguments(commands: Any) -> None:
    parser = commands.add_parser(
        "infer",
        help="an ONNX file over a folder, with onnxruntime",
        description="An exported ONNX file over a folder of images, with onnxruntime.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add(parser, "onnx_path", metavar="FILE", required=True, help="what `export` wrote")
    flags.add(parser, "dataset_path", metavar="DIR", required=True, help="the images")
    flags.add(
        parser,
        "device_target",
        choices=("CPU", "GPU"),
        default="CPU",
        help="default: CPU; GPU needs a working CUDAExecutionProvider",
    )
    flags.add(parser, "device_id", type=int, default=0, help="which GPU (default: 0)")
    flags.add(parser, "batch_size", type=int, metavar="N", help="default: 32, or the file's")
    flags.add(
        parser, "num_workers", type=int, default=0, metavar="N", help="threads that decode; 0: all"
    )
    flags.add(parser, "predictions", type=Path, metavar="FILE.csv", help="a row for each image")
    flags.add(parser, "json", action="store_true", help="print one JSON object")
    group = parser.add_argument_group("for files that do not say it themselves")
    flags.add(group, "width", type=int, metavar="PX", help="of the crop")
    flags.add(group, "height", type=int, metavar="PX", help="of the crop")
    flags.add(group, "resize", type=int, metavar="PX", help="shorter side before the crop")
    flags.add(group, "interpolation", choices=("bilinear", "bicubic"), help="of the resizing")
    flags.add(
        group, "normalization", choices=("half", "imagenet"), help="half: [-1, 1], the reference's"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns 0; raises `EffnetError`."""
    with answering(args.json) as give:
        _infer(args, give)
    return 0


def _infer(args: argparse.Namespace, give: Give) -> None:
    from effnet.contract.progress import bar
    from effnet.data import BadImages
    from effnet.evaluate.class_names import require_classes
    from effnet.infer import facts, table
    from effnet.infer.images import find_images
    from effnet.infer.predict import predict, thread_count
    from effnet.infer.session import open_model

    for name, least in (("batch_size", 1), ("num_workers", 0), ("device_id", 0)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise facts.UsageError(f"--{name} is {value}, must be at least {least}")
    images, has_classes = find_images(args.dataset_path)
    model = open_model(Path(args.onnx_path), args.device_target, args.device_id)
    names = facts.class_names(model)
    if has_classes:
        require_classes(images, names, model.classes, args.onnx_path)
    if model.batch_size is not None and args.batch_size not in (None, model.batch_size):
        raise facts.UsageError(
            f"batch_size {args.batch_size} does not fit {model.path}: its batch is fixed at"
            f" {model.batch_size}"
        )
    bad_images = BadImages()
    with bar("infer", len(images)) as progress:
        found = predict(
            model,
            images,
            facts.preprocessing(model, vars(args)),
            model.batch_size or args.batch_size or 32,
            thread_count(args.num_workers),
            bad_images,
            progress,
        )
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
        top_1_acc, top_5_acc = (
            right / found.images for right in (found.right_at_1, found.right_at_5)
        )
        # The reference's lines, character for character.
        print(f"top-1 accuracy: {top_1_acc:.5f}")
        print(f"top-5 accuracy: {top_5_acc:.5f}")
        answer = {"top_1_acc": top_1_acc, "top_5_acc": top_5_acc, **answer}
    if args.predictions is not None:
        answer["predictions"] = str(args.predictions)
    print(f"images: {found.images}, images/s: {found.images_per_s:.1f}, {model.provider}")
    give(answer)
