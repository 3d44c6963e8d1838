"""Make the golden values of optimizers, clipping, schedules and mixing, from torch and timm.

Run it in the environment that make_golden.py describes. It writes training.npz beside itself.
"""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import torch

_declared = torch.library.Library("torchvision", "DEF")
for _operator in ("nms", "qnms"):
    _declared.define(f"{_operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")

from timm.data import mixup  # noqa: E402
from timm.loss import SoftTargetCrossEntropy  # noqa: E402
from timm.optim.rmsprop_tf import RMSpropTF  # noqa: E402
from timm.scheduler import CosineLRScheduler  # noqa: E402

SIZE, RATES = 40, (0.1, 0.05, 0.2, 0.01)
DECAY = 0.02
SIDE, IMAGES, CLASSES, SMOOTHING = 12, 6, 5, 0.1


def drawn(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def optimizers(found: dict[str, np.ndarray]) -> None:
    """The weights after each step; `clipped`: gradients of norm above 2 are shortened to it."""
    kinds = {
        "sgd": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, weight_decay=DECAY),
        "adamw": lambda p: torch.optim.AdamW(
            p, lr=1.0, betas=(0.9, 0.99), eps=1e-6, weight_decay=DECAY
        ),
        "rmsprop": lambda p: RMSpropTF(
            p, lr=1.0, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=DECAY
        ),
    }
    for name, make in kinds.items():
        for limit in (0.0, 2.0):
            parameter = torch.nn.Parameter(torch.tensor(drawn(SIZE, seed=1)))
            optimizer, after = make([parameter]), []
            for step, lr in enumerate(RATES):
                for group in optimizer.param_groups:
                    group["lr"] = lr
                parameter.grad = torch.tensor(drawn(SIZE, seed=10 + step) * (step + 0.1))
                if limit:
                    torch.nn.utils.clip_grad_norm_([parameter], limit)
                optimizer.step()
                after.append(parameter.detach().numpy().copy())
            found[f"{name}{'.clipped' if limit else ''}"] = np.stack(after)


def schedule(found: dict[str, np.ndarray]) -> None:
    """timm's cosine of 20 updates after 5 of warm-up; torch's without warm-up."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    timms = CosineLRScheduler(
        optimizer, t_initial=20, lr_min=0.01, warmup_t=5, warmup_lr_init=0.1, warmup_prefix=True
    )
    found["cosine.timm"] = np.array([timms._get_lr(step)[0] for step in range(25)])
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.01)
    torchs.base_lrs = [0.5]
    optimizer.param_groups[0]["lr"] = 0.5
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()
    found["cosine.torch"] = np.array(rates)


def mixing(found: dict[str, np.ndarray]) -> None:
    """timm's Mixup in its batch mode: mixed images, soft targets and the loss of fixed logits."""
    images = torch.tensor(drawn(IMAGES, 3, SIDE, SIDE, seed=5))
    labels = torch.tensor([0, 3, 1, 4, 4, 2])
    logits = torch.tensor(drawn(IMAGES, CLASSES, seed=6))
    found["labels"], found["logits"] = labels.numpy().astype(np.int32), logits.numpy()
    found["images"] = images.numpy()
    cases = {"mixup": (0.3, False, (0, 0)), "cut_middle": (0.6, True, (6, 5))}
    cases["cut_corner"] = (0.2, True, (1, 11))
    for name, (share, cuts, centre) in cases.items():
        mix = mixup.Mixup(0.2, 1.0, label_smoothing=SMOOTHING, num_classes=CLASSES)
        with (
            mock.patch.object(mix, "_params_per_batch", return_value=(share, cuts)),
            mock.patch.object(np.random, "randint", side_effect=list(centre)),
        ):
            mixed, target = mix(images.clone(), labels)
        found[f"{name}.given"] = np.array([share, cuts, *centre])
        found[f"{name}.images"], found[f"{name}.target"] = mixed.numpy(), target.numpy()
        found[f"{name}.loss"] = SoftTargetCrossEntropy()(logits, target).numpy()


def main() -> None:
    found: dict[str, np.ndarray] = {}
    for part in (optimizers, schedule, mixing):
        part(found)
    np.savez_compressed(Path(__file__).with_name("training.npz"), **found)


if __name__ == "__main__":
    main()
