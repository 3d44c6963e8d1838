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


def add_arguments(commands: Any) -> None:
    about = "import weights from other projects, and export them"
    weights = flags.command(commands, "weights", about, _EXAMPLES, run)
    kinds = {
        "import": "write a checkpoint from another project's file",
        "export": "write a file for another project from a checkpoint",
        "show": "verify a checkpoint and print its manifest",
    }
    importing, exporting, showing = flags.actions(weights, _EXAMPLES, kinds)

    importing.add_argument("file", type=Path, metavar="FILE", help=".safetensors or .ckpt")
    source = "whose tensor names the file has"
    flags.add(importing, "source", source, required=True, choices=SOURCES)
    variants = {"choices": list(VARIANTS), "default": DEFAULT_VARIANT}
    flags.add(importing, "variant", "which EfficientNet", **variants)
    padding = "`same` is TensorFlow's: timm's tf_ networks and the reference"
    padding += " (default: `same` for --source reference, else `symmetric`)"
    flags.add(importing, "padding", padding, choices=("symmetric", "same"))
    flags.add(importing, "num_classes N", "number of classes in the file", default=1000)
    prefix = "take the tensors whose names begin so, without it: module. (DataParallel), _orig_mod."
    flags.add(importing, "strip_prefix PREFIX", prefix)
    ema = "take the moving average (EMA) where the file holds it beside the weights"
    flags.add_truth(importing, "ema", ema)
    flags.add(importing, "out FILE.ckpt", "file to write", required=True, type=Path)

    for action in (exporting, showing):
        action.add_argument("checkpoint", type=Path, metavar="FILE.ckpt", help="the checkpoint")
    flags.add(exporting, "target", "whose tensor names to write", required=True, choices=SOURCES)
    out = "file to write: .safetensors, or .ckpt for --target reference"
    flags.add(exporting, "out FILE", out, required=True, type=Path)
    flags.add_weights(exporting)
    flags.add_json(showing)


def run(args: argparse.Namespace) -> int:
    """Carry out `weights …`; the exit code."""
    if args.action == "show":
        return _show(args)
    # MindSpore takes seconds to import; `show` and --help do not need it.
    from effnet.weights import transfer

    if args.action == "import":
        padding = args.padding or ("same" if args.source == "reference" else "symmetric")
        manifest = transfer.import_weights(
            args.file,
            args.source,
            args.variant,
            padding,
            args.num_classes,
            args.out,
            strip_prefix=args.strip_prefix,
            ema=args.ema,
        )
        print(f"{args.out}: {_network(manifest)}, from {args.source}")
        return 0
    manifest = transfer.export_weights(args.checkpoint, args.target, args.out, args.weights)
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
