"""Fine-tuning against training from scratch: B2 knows the digits 0 to 4 and learns 5 to 9.

    python benchmarks/fine_tune.py FOLDER

scikit-learn's digits at 32 px. Three networks are compiled once: one with the settings for training
from scratch, one with the optimizer of recipe `finetune` and its highest rate for the whole
network, one with its smaller rate for everything but the classifier; every run begins with other
weights in them. A checkpoint of an earlier call in FOLDER is used again. Prints a table in
Markdown: top-1 on the validation images of 5 to 9, after the same steps, for each seed. Takes 8
minutes of a core.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shutil
from pathlib import Path

from effnet import recipes
from effnet.config import resolve, toml
from effnet.contract.reporter import Heartbeat
from effnet.data import eval_batches, index_folder, train_batches
from effnet.data.digits import write_digits
from effnet.distributed.group import Group
from effnet.evaluate.evaluator import Evaluator
from effnet.model.efficientnet import EfficientNet
from effnet.optim.schedule import LrSchedule
from effnet.train import initial
from effnet.train.steps import make
from effnet.weights.files import write_tensors
from effnet.weights.manifest import write_manifest

SEEDS = (1, 2, 3)
LOW, HIGH = range(5), range(5, 10)
SETTINGS = (
    *("variant=b2", "class_num=5", "image_size=32", "eval_resize=32", "batch_size=32"),
    *("lr_max=0.002", "decay_bn_and_bias=false", "bn_momentum=0.9", "dropout=0", "drop_path=0"),
    *("auto_augment=none", "hflip=0", "color_jitter=0", "crop_scale_min=0.75", "mode=jit"),
)
OF_RECIPE = ("opt", "opt_decay", "momentum", "opt_eps", "clip_norm", "weight_decay", "lr_max")
"""Keys that the second network has from recipe `finetune`, beside `backbone_lr`."""
WARMUP_STEPS = 2
"""The recipe's epoch of warm-up would be all of the run."""


class Runs:
    """Short runs of one compiled network."""

    def __init__(self, *more: str) -> None:
        self.config = resolve("CPU", sets=(*SETTINGS, *more)).config
        net = self.network(0)
        self.state = make.state_of(net, self.config)
        self.first = {name: value.copy() for name, value in self.state.tensors().items()}
        schedule = LrSchedule.from_config(self.config, 1)
        made = make.make(net, self.state, self.config, Group(), Heartbeat(None), schedule, None)
        self.step, self.evaluator = made.step, Evaluator(net, self.config, jit=True)

    def network(self, seed: int) -> EfficientNet:
        c = self.config
        return EfficientNet(
            c.variant, c.class_num, dropout=0, drop_path=0, bn_momentum=c.bn_momentum, seed=seed
        )

    def train(self, images: Path, steps: int, seed: int, weights: Path | None = None) -> float:
        """Train `steps` steps, the rate falling to 0 (by AdamW after a warm-up); -> top-1."""
        index = index_folder(images, "train")
        config = dataclasses.replace(self.config, seed=seed, weights=str(weights))
        net = self.network(seed)
        if weights is not None:
            initial.load(net, config, index.classes)
        self.state.load({**self.first, **{p.name: p.asnumpy() for p in net.get_parameters()}})
        done = epoch = 0
        while done < steps:
            for batch in train_batches(index, config, epoch=epoch, noise_width=net.noise_width):
                self.step(batch, self.rate(done, steps), done)
                done += 1
                if done == steps:
                    break
            epoch += 1
        found = self.evaluator(eval_batches(index_folder(images, "val"), config), Group())
        return found.top_1_acc

    def rate(self, done: int, steps: int) -> float:
        """A straight line, with AdamW a warm-up and a cosine."""
        highest = self.config.lr_max
        if self.config.opt != "adamw":
            return highest * (1 - done / steps)
        if done < WARMUP_STEPS:
            return highest * (done + 1) / (WARMUP_STEPS + 1)
        share = (done - WARMUP_STEPS) / (steps - WARMUP_STEPS)
        return highest * 0.5 * (1 + math.cos(math.pi * share))

    def save(self, path: Path, images: Path) -> None:
        write_tensors(path, self.state.tensors())
        c = self.config
        network = {"variant": c.variant, "padding": c.padding, "bn_eps": c.bn_eps}
        names = {"class_names": list(index_folder(images, "train").classes)}
        write_manifest(path, **network, num_classes=c.class_num, source="train", extra=names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="for data and the checkpoint")
    parser.add_argument("--pretrain", type=int, default=110, help="steps on 0 to 4")
    parser.add_argument("--steps", type=int, default=24, help="steps on 5 to 9")
    args = parser.parse_args()
    digits = write_digits(args.folder / "digits")
    halves = {name: args.folder / name for name in ("low", "high")}
    for folder, classes in zip(halves.values(), (LOW, HIGH), strict=True):
        for split in ("train", "val"):
            for name in classes:
                source = digits / split / str(name)
                shutil.copytree(source, folder / split / str(name), dirs_exist_ok=True)

    values, _ = toml.read(recipes.path("finetune"))
    own = [f"{key}={values[key]}" for key in OF_RECIPE]
    runs, same, checkpoint = Runs(), Runs(*own), args.folder / "low.ckpt"
    tuning = Runs(*own, f"backbone_lr={values['backbone_lr']}")
    if not checkpoint.exists():
        known = runs.train(halves["low"], args.pretrain, seed=1)
        runs.save(checkpoint, halves["low"])
        print(f"top-1 on 0 to 4 after {args.pretrain} steps: {known:.3f}\n", flush=True)
    print("| seed | from scratch | from scratch, AdamW | fine-tuned | gain over the better |")
    print("|---|---|---|---|---|", flush=True)
    for seed in SEEDS:
        scratch = runs.train(halves["high"], args.steps, seed)
        scratch_adamw = same.train(halves["high"], args.steps, seed)
        tuned = tuning.train(halves["high"], args.steps, seed, checkpoint)
        gain = 100 * (tuned - max(scratch, scratch_adamw))
        row = (f"{scratch:.3f}", f"{scratch_adamw:.3f}", f"{tuned:.3f}", f"{gain:.1f}")
        print(f"| {seed} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
