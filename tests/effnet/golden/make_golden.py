"""Make the golden values of the parity tests, from timm itself.

Run it in a separate environment; neither torch nor timm is a dependency of this project:

    python3.11 -m venv /tmp/golden
    /tmp/golden/bin/pip install torch==2.13.0 'numpy<2' huggingface_hub safetensors pyyaml pillow
    /tmp/golden/bin/pip install --no-deps timm==1.0.31 'torchvision==0.28.*'
    /tmp/golden/bin/python tests/effnet/golden/make_golden.py

It writes, beside itself, one `<network>.safetensors` for each network, and into `names.json` a
digest of the names and shapes of every variant. make_reference_golden.py adds the reference's.
"""

from __future__ import annotations

import json
from pathlib import Path

import drawing
import numpy as np
import torch
from safetensors.numpy import save_file

# timm imports torchvision, whose compiled half is not built for CPU-only torch. Python's half
# only asks that these two operators, which no classifier uses, are declared.
_declared = torch.library.Library("torchvision", "DEF")
for _operator in ("nms", "qnms"):
    _declared.define(f"{_operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")

import timm  # noqa: E402
import torchvision.models  # noqa: E402

HERE = Path(__file__).parent
NAMES = HERE / "names.json"
NETWORKS = {
    "efficientnet_b0": 1e-5,
    "efficientnet_b2": 1e-5,
    "tf_efficientnet_b2": 1e-3,
}
"""timm's name -> the batch-norm epsilon it must have."""


def make(network: str, epsilon: float, *, double: bool = True) -> dict[str, np.ndarray]:
    """Logits, and sketches of every gradient and of the statistics after one training step.

    In double precision, so that only our own rounding is left in what the tests measure; without,
    as PyTorch trains: float32 in channels_last.
    """
    torch.manual_seed(0)
    # TensorFlow's 0.99 of the old is PyTorch's 0.01 of the new.
    net = timm.create_model(
        network,
        num_classes=drawing.NUM_CLASSES,
        drop_rate=0.0,
        drop_path_rate=0.0,
        bn_momentum=0.01,
    )
    net = net.double() if double else net.to(memory_format=torch.channels_last)
    assert {m.eps for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {epsilon}
    shapes = {n: tuple(t.shape) for n, t in net.state_dict().items() if "num_batches" not in n}
    drawn = drawing.weights(shapes)
    net.load_state_dict({n: torch.from_numpy(v) for n, v in drawn.items()}, strict=False)
    images = torch.from_numpy(drawing.images())
    images = images.double() if double else images.to(memory_format=torch.channels_last)

    net.eval()
    with torch.no_grad():
        golden = {"logits": net(images).float().numpy()}
    for mode in ("eval", "train"):
        net.train(mode == "train")
        net.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            net(images), torch.from_numpy(drawing.labels()).long()
        )
        loss.backward()
        golden[f"{mode}/loss"] = loss.detach().float().numpy().reshape(1)
        for name, parameter in net.named_parameters():
            golden[f"{mode}/gradient/{name}"] = drawing.sketch(name, parameter.grad.numpy())
    for name, value in net.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            # The change, since the old value is all but a hundredth of the new.
            golden["change/" + name] = drawing.sketch(name, value.numpy() - drawn[name])
    return golden


def main() -> None:
    # More would add in another order each time, and change the files' last bits.
    torch.set_num_threads(1)
    for network, epsilon in NETWORKS.items():
        golden = make(network, epsilon)
        path = HERE / f"{network}.safetensors"
        # One key: the order of several in the file is left to chance.
        made_by = {"made_by": f"timm {timm.__version__}, torch {torch.__version__}"}
        save_file(golden, path, metadata=made_by)
        logits = golden["logits"]
        print(
            f"{network}: logits std {logits.std():.3f} (over images {logits.std(0).mean():.3f}), "
            f"max {abs(logits).max():.3f}, {path.stat().st_size / 1000:.0f} kB"
        )
        for mode in ("eval", "train"):
            norms = {
                n: np.linalg.norm(v) for n, v in golden.items() if n.startswith(f"{mode}/gradient")
            }
            least = sorted(norms, key=norms.__getitem__)
            zeros = [n for n in least if norms[n] < 1e-12]
            print(f"  {mode}: loss {golden[f'{mode}/loss'][0]:.4f}, {len(zeros)} zero gradients")
            for name in least[len(zeros) : len(zeros) + 3]:
                print(f"    {norms[name]:.2e} {name}")
    digests = json.loads(NAMES.read_text()) if NAMES.exists() else {}
    with torch.device("meta"):
        for source in ("timm", "torchvision"):
            digests[source] = {}
            for variant in (f"b{number}" for number in range(8)):
                net = (
                    timm.create_model(f"efficientnet_{variant}")
                    if source == "timm"
                    else getattr(torchvision.models, f"efficientnet_{variant}")()
                )
                shapes = {n: tuple(t.shape) for n, t in net.state_dict().items()}
                digests[source][variant] = drawing.names_digest(
                    {n: s for n, s in shapes.items() if not n.endswith("num_batches_tracked")}
                )
    NAMES.write_text(json.dumps(digests, indent=1) + "\n")


if __name__ == "__main__":
    main()
