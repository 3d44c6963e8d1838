"""`python -m effnet weights import|export|show`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from effnet import flags
from effnet.model.scaling import DEFAULT_VARIANT, VARIANTS
from effnet.weights.manifest import Manifest, verify
from effnet.weights.names import SOURCES

_EXAMPLES = """\
examples:
  python -m effnet weights import model.safetensors --source timm --out b2.ckpt
      timm's efficientnet_b2 (or torchvision's: --source torchvision)
  python -m effnet weights import tf.safetensors --source timm --padding same --out b2.ckpt
      timm's tf_efficientnet_b2, whose weights are TensorFlow's
  python -m effnet weights import Efficientnet_b2-rank0-350_625.ckpt --source reference \\
      --padding same --out b2.ckpt
      a checkpoint of the MindSpore model zoo's efficientnet-b2
  python -m effnet weights export b2.ckpt --target timm --out model.safetensors
  python -m effnet weights show b2.ckpt
"""


def add_arguments(subparsers: Any) -> None:
    """Add the `weights` command to the trainer's commands."""
    weights = _command(subparsers, "weights", "bring weights in from elsewhere, and out again")
    weights.set_defaults(run=run)
    actions = weights.add_subparsers(dest="action", required=True, metavar="{import,export,show}")

    bring = _command(actions, "import", "write a checkpoint from a foreign file")
    bring.add_argument("file", type=Path, metavar="FILE", help=".safetensors, or .ckpt")
    flags.add(bring, "source", required=True, choices=SOURCES, help="whose names the file has")
    flags.add(bring, "variant", default=DEFAULT_VARIANT, choices=list(VARIANTS), help="default: b2")
    flags.add(
        bring,
        "padding",
        choices=("symmetric", "same"),
        help="same: TensorFlow's (timm's tf_ networks, the reference); default: symmetric,"
        " or same for --source reference",
    )
    flags.add(bring, "num_classes", type=int, default=1000, metavar="N", help="default: 1000")
    flags.add(bring, "out", required=True, type=Path, metavar="FILE.ckpt", help="file to write")

    send = _command(actions, "export", "write a foreign file from a checkpoint")
    send.add_argument("checkpoint", type=Path, metavar="FILE.ckpt")
    flags.add(send, "target", required=True, choices=SOURCES, help="whose names to write")
    flags.add(
        send,
        "out",
        required=True,
        type=Path,
        metavar="FILE",
        help=".safetensors; .ckpt for reference",
    )
    flags.add(
        send,
        "weights",
        choices=("model", "ema"),
        help="default: the moving average (ema) if the checkpoint holds one",
    )

    show = _command(actions, "show", "check a checkpoint and print its manifest")
    show.add_argument("checkpoint", type=Path, metavar="FILE.ckpt")
    flags.add(show, "json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> int:
    """Carry out `weights …`; the exit code."""
    if args.action == "show":
        return _show(args)
    # Imported here, since MindSpore takes seconds and `show` and --help do without.
    from effnet.weights import transfer

    if args.action == "import":
        padding = args.padding or ("same" if args.source == "reference" else "symmetric")
        manifest = transfer.import_weights(
            args.file, args.source, args.variant, padding, args.num_classes, args.out
        )
        print(f"{args.out}: {_network(manifest)}, from {args.source}")
        return 0
    average = None if args.weights is None else args.weights == "ema"
    manifest = transfer.export_weights(args.checkpoint, args.target, args.out, average)
    print(f"{args.out}: {_network(manifest)}, with {args.target}'s names")
    return 0


def _show(args: argparse.Namespace) -> int:
    manifest = verify(args.checkpoint)
    values = {
        "checkpoint": str(args.checkpoint),
        "variant": manifest.variant,
        "padding": manifest.padding,
        "num_classes": manifest.num_classes,
        "bn_eps": manifest.bn_eps,
        "source": manifest.source,
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        **manifest.extra,
    }
    if args.json:
        print(json.dumps(values))
    else:
        width = max(map(len, values))
        for key, value in values.items():
            print(f"{key:<{width}}  {value if isinstance(value, str) else json.dumps(value)}")
    return 0


def _network(manifest: Manifest) -> str:
    return (
        f"EfficientNet-{manifest.variant.upper()}, {manifest.num_classes} classes,"
        f" {manifest.padding} padding"
    )


def _command(subparsers: Any, name: str, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
