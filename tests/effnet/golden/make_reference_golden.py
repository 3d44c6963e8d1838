"""Add the reference's tensor names to names.json, and hold its logits to timm's.

Run it in this project's environment on a checkout of mindspore-ai/models:

    git clone --depth 1 https://github.com/mindspore-ai/models
    python tests/effnet/golden/make_reference_golden.py \\
        models/official/cv/Efficientnet/efficientnet-b2
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import drawing
import mindspore as ms
import numpy as np
from safetensors.numpy import load_file

from effnet.weights import convert, names

HERE = Path(__file__).parent


def main(reference: str) -> None:
    sys.path.insert(0, reference)
    from src.models.effnet import EfficientNet

    net = EfficientNet(num_classes=1000)
    shapes = {p.name: tuple(p.shape) for p in net.get_parameters()}
    digests = json.loads((HERE / "names.json").read_text())
    digests["reference"] = {"b2": drawing.names_digest(shapes)}
    (HERE / "names.json").write_text(json.dumps(digests, indent=1) + "\n")

    table = names.tensor_names("timm", "b2", drawing.NUM_CLASSES)
    drawn = drawing.weights({t.theirs: t.their_shape for t in table})
    ours = convert.to_ours(drawn, "timm", "b2", drawing.NUM_CLASSES)
    theirs = convert.from_ours(ours, "reference", "b2", drawing.NUM_CLASSES)
    net = EfficientNet(num_classes=drawing.NUM_CLASSES)
    ms.load_param_into_net(
        net, {n: ms.Parameter(ms.Tensor(v), name=n) for n, v in theirs.items()}, strict_load=True
    )
    net.set_train(False)
    logits = net(ms.Tensor(drawing.images())).asnumpy()
    golden = load_file(HERE / "tf_efficientnet_b2.safetensors")["logits"]
    print(f"difference {np.abs(logits - golden).max() / np.abs(golden).max():.1e} of max|logit|")


if __name__ == "__main__":
    main(sys.argv[1])
