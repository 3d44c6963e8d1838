"""Checkpoints for tests whose logits spread: an untrained network's are near zero and prove
nothing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from effnet.weights import names
from effnet.weights.files import read_tensors, write_tensors
from effnet.weights.manifest import write_manifest

if TYPE_CHECKING:
    from effnet.model.efficientnet import EfficientNet

GOLDEN = Path(__file__).parent / "golden"
CLASSES = 10
CONFIG = {
    "device_target": "CPU",
    "class_num": CLASSES,
    "image_size": 32,
    "eval_image_size": 32,
    "eval_resize": 32,
    "batch_size": 16,
    "normalization": "half",
}


def drawing() -> ModuleType:
    """golden/drawing.py, which lives where it can't be imported from."""
    spec = importlib.util.spec_from_file_location("golden_drawing", GOLDEN / "drawing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imported(folder: Path, variant: str, padding: str = "symmetric") -> Path:
    """Weights and statistics drawn from their names, through the import path."""
    from effnet.weights.transfer import import_weights

    table = names.tensor_names("timm", variant, CLASSES)
    file, out = folder / f"{variant}.safetensors", folder / f"{variant}.ckpt"
    save_file(drawing().weights({t.theirs: t.their_shape for t in table}), file)
    import_weights(file, "timm", variant, padding, CLASSES, out)
    return out


def network(checkpoint: Path) -> EfficientNet:
    """The network of a checkpoint, in evaluation mode."""
    from effnet.weights import trained

    return trained.Trained.read(*trained.find(checkpoint)).network()


def taught(imported: Path, digits: Path, out: Path, *, average: bool = False) -> Path:
    """`imported` (b0) with a classifier fitted to the digits by ridge regression, as if trained.

    About nine in ten are right. The shifts are zero, since the drawn ones drown what differs
    between two digits of 32 px. With `average` the moving average is that, and the model is not.
    """
    import mindspore as ms

    from effnet.data import Preprocessing, index_folder
    from effnet.data.decode import decode
    from effnet.model.efficientnet import EfficientNet
    from effnet.weights.transfer import load_into

    tensors = {name: np.array(value) for name, value in read_tensors(imported).items()}
    for name in tensors:
        if name.endswith((".beta", ".moving_mean", ".bias")):
            tensors[name] = np.zeros_like(tensors[name])
    index = index_folder(digits, "train")
    chosen = np.arange(0, len(index), 2)
    preprocessing = Preprocessing(32, 32, 32)
    images = np.stack([preprocessing.apply(decode(index.path(int(i)))) for i in chosen])

    # A classifier that hands the features through.
    width = tensors["classifier.weight"].shape[1]
    through = {
        "classifier.weight": np.eye(width, dtype=np.float32),
        "classifier.bias": np.zeros(width, np.float32),
    }
    net = EfficientNet("b0", width)
    load_into(net, tensors | through)
    net.set_train(False)
    features = net(ms.Tensor(images)).asnumpy().astype(np.float64)

    mean = features.mean(axis=0)
    centred = features - mean
    similar = centred @ centred.T
    ridge = 0.01 * np.trace(similar) / len(similar) * np.eye(len(similar))
    weight = centred.T @ np.linalg.solve(
        similar + ridge, 4.0 * np.eye(CLASSES)[index.labels[chosen]]
    )
    fitted = tensors | {
        "classifier.weight": weight.T.astype(np.float32),
        "classifier.bias": (-mean @ weight).astype(np.float32),
    }
    if average:
        fitted = tensors | {f"ema.{name}": value for name, value in fitted.items()}
    write_tensors(out, fitted)
    write_manifest(
        out,
        variant="b0",
        padding="symmetric",
        num_classes=CLASSES,
        bn_eps=1e-5,
        source="train",
        extra={
            "step": 45,
            "epoch": 1,
            "class_names": list(index.classes),
            "config": CONFIG,
            "preprocessing": preprocessing.to_dict(),
            "ema": average,
        },
    )
    return out
