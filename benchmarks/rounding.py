"""How far float32 is from double precision, by what computes: one training step of EfficientNet-B2.

    python benchmarks/rounding.py
    python benchmarks/rounding.py --torch-python PYTHON      PyTorch's float32 beside it

The values in double precision are timm's, in tests/effnet/golden. Distances are relative: of the
loss, and of the gradient and the change of the moving statistics of the tensor that is farthest
off (L2 norm), and of the middle one. Two forms cannot agree better than each agrees with these.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "effnet" / "golden"
NETWORK = "efficientnet_b2"
FORMS = ("fused", "compiled", "tiled", "plain")
"""`plain` is MindSpore's own grouped convolution."""

Step = tuple[float, dict[str, Any], dict[str, Any]]
"""Loss, gradients, changes of the moving statistics; sketches by timm's names."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch-python", help="a Python with PyTorch and timm")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work()
        return
    print("| float32 | loss | gradients, worst | middle | statistics, worst | middle |")
    print("|---|---|---|---|---|---|", flush=True)
    for form in FORMS:
        show(form, our_step(form))
    if args.torch_python:
        words = [args.torch_python, __file__, "--worker"]
        found = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        show("PyTorch, channels_last", json.loads(found.stdout.splitlines()[-1]))


def show(name: str, step: Step) -> None:
    from safetensors.numpy import load_file

    golden = load_file(GOLDEN / f"{NETWORK}.safetensors")
    loss = float(golden["train/loss"][0])
    columns = [f"{abs(step[0] - loss) / loss:.1e}"]
    for prefix, found in (("train/gradient/", step[1]), ("change/", step[2])):
        exact = {name: golden[prefix + name] for name in found}
        # A projection's shift has no gradient in exact arithmetic.
        far = sorted(
            float(np.linalg.norm(np.asarray(found[name]) - value) / size)
            for name, value in exact.items()
            if (size := np.linalg.norm(value)) > 1e-12
        )
        columns += [f"{far[-1]:.1e}", f"{far[len(far) // 2]:.1e}"]
    print(f"| {name} | {' | '.join(columns)} |", flush=True)


def our_step(form: str) -> Step:
    sys.path.insert(0, str(ROOT))
    from effnet.kernels.depthwise import load
    from effnet.model.depthwise import use_plain_depthwise
    from effnet.weights import names
    from tests.effnet import test_model_parity as parity

    net = parity.drawn_network(NETWORK, parity.drawn_weights("b2"), form, load(1)).set_train()
    if form == "plain":
        use_plain_depthwise(net)
    before = {p.name: p.asnumpy().copy() for p in net.get_parameters()}
    loss, gradients = parity.gradients(net, "b2")
    classes = parity.drawing.NUM_CLASSES
    theirs = {t.ours: t.theirs for t in names.tensor_names("timm", "b2", classes)}
    changes = {
        theirs[p.name]: p.asnumpy() - before[p.name]
        for p in net.get_parameters()
        if not p.requires_grad
    }
    sketch = parity.drawing.sketch
    return (
        loss,
        {name: sketch(name, value) for name, value in gradients.items()},
        {name: sketch(name, value) for name, value in changes.items()},
    )


def work() -> None:
    """PyTorch's step, as a line of JSON; in its own environment."""
    sys.path.insert(0, str(GOLDEN))
    import make_golden

    found = make_golden.make(NETWORK, make_golden.NETWORKS[NETWORK], double=False)
    loss = float(found["train/loss"][0])
    parts = [
        {k.removeprefix(prefix): v.tolist() for k, v in found.items() if k.startswith(prefix)}
        for prefix in ("train/gradient/", "change/")
    ]
    print(json.dumps([loss, *parts]))


if __name__ == "__main__":
    main()
