"""Every key of a training run.

The reference's keys have its names and the values of its README (Ascend, 8 devices); ours follow.
``defaults.py`` has what GPU and CPU change, ``load.py`` where values come from.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from effnet.config.keys import Key, Resume, key, ref
from effnet.model.scaling import BN_EPS, VARIANTS
from effnet.recipes import NONE, RECIPES

FIXED, ORDER, CURVE, FREE = Resume.FIXED, Resume.ORDER, Resume.CURVE, Resume.FREE

TARGETS = ("Ascend", "GPU", "CPU")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The whole configuration of one run; :func:`effnet.config.resolve` makes a checked one."""

    class_num: int = ref(1000, "classes", FIXED, low=1)
    batch_size: int = ref(256, "images per rank and step", ORDER, unit="images", low=1)
    loss_scale: float = ref(1024.0, "loss scale; the first one if dynamic_loss_scale is on", low=1)
    momentum: float = ref(0.9, "momentum of the optimizer", low=0, high=1)
    weight_decay: float = ref(1e-5, "L2 weight decay", low=0)
    epoch_size: int = ref(350, "length of the run", unit="epochs", low=1)
    save_checkpoint: bool = ref(True, "save checkpoints", FREE)
    save_checkpoint_epochs: int = ref(
        1, "time between checkpoints at the end of epochs", FREE, unit="epochs", low=1
    )
    keep_checkpoint_max: int = ref(
        5, "newest checkpoints to keep; the best one is kept too", FREE, low=1
    )
    save_checkpoint_path: str = ref("./checkpoint", "folder for checkpoints", FREE)
    opt: str = ref(
        "rmsprop",
        "optimizer: `rmsprop` as TF, `sgd` with momentum, `adamw` (momentum is its beta 1)",
        FIXED,
        choices=("rmsprop", "sgd", "adamw"),
    )
    opt_eps: float = ref(
        1e-3, "epsilon: inside RMSProp's root, beside AdamW's (there 1e-8 by default)", low=0
    )
    warmup_epochs: float = ref(2.0, "linear warm-up", unit="epochs", low=0)
    lr_decay_mode: str = ref(
        "linear",
        "shape of the learning rate after the warm-up (`steps` has no warm-up, as the reference;"
        " `reference-cosine` is the reference's own form)",
        choices=("linear", "steps", "poly", "cosine", "reference-cosine", "exponential"),
    )
    lr_decay_epochs: float = key(
        2.4, "length of a stair of lr_decay_mode exponential", unit="epochs", low=0.001
    )
    lr_decay_rate: float = key(
        0.97, "factor of the rate at each stair of lr_decay_mode exponential", low=0.0001, high=1
    )
    use_label_smooth: bool = ref(True, "smooth the labels")
    label_smooth_factor: float = ref(
        0.1, "share of the target given to the other classes", low=0, high=1
    )
    lr_init: float = ref(1e-4, "learning rate at step 0", low=0)
    lr_max: float = ref(0.13, "learning rate after the warm-up", low=0)
    lr_per_256: float = key(
        0.0,
        "lr_max for each 256 images of a step, on all ranks together; 0: lr_max as it is set",
        low=0,
    )
    lr_end: float = ref(1e-5, "learning rate after the last step", low=0)
    interval: int = ref(1, "time between evaluations; 0: no evaluation", FREE, unit="epochs", low=0)
    eval_start_epoch: int = ref(
        1, "first epoch that is evaluated, from 1", FREE, unit="epochs", low=1
    )
    save_best_ckpt: bool = ref(True, "keep the checkpoint with the best top-1 too", FREE)

    recipe: str = key(
        NONE,
        "named set of values; every other setting overrides it",
        FREE,
        choices=(NONE, *RECIPES),
    )
    weights: str = key(
        "",
        "checkpoint whose weights the run begins with; a classifier for another number of classes"
        " is left out; empty: random weights",
        FREE,
    )
    freeze: str = key(
        NONE,
        "what is not trained: `stem`, `blocks:N` (the stem and the first N blocks), `all-but-head`"
        " (everything but the classifier)",
        FIXED,
        choices=(NONE, "stem", "all-but-head"),
        pattern=r"blocks:[1-9]\d?",
    )
    backbone_lr: float = key(
        1.0, "factor of the learning rate for everything but the classifier", low=0, high=1
    )
    variant: str = key("b2", "which EfficientNet", FIXED, choices=tuple(VARIANTS))
    padding: str = key(
        "symmetric",
        "padding of strided convolutions: `symmetric` as timm and torchvision, `same` as TF",
        FIXED,
        choices=tuple(BN_EPS),
    )
    dropout: float = key(0.3, "dropout before the classifier", low=0, high=0.999)
    drop_path: float = key(
        0.2, "stochastic depth of the last block; it grows with depth from 0", low=0, high=0.999
    )
    bn_momentum: float = key(
        0.99, "share of the old batch-norm statistics that a step keeps", low=0, high=1
    )
    bn_eps: float = key(1e-5, "batch-norm epsilon", FIXED, low=0)
    label_smooth_mode: str = key(
        "reference",
        "target of a wrong class: `reference` is factor/(classes-1), `uniform` is factor/classes"
        " for every class, as TF and timm",
        choices=("reference", "uniform"),
    )
    opt_decay: float = key(
        0.9,
        "decay of the mean square: RMSProp's, or AdamW's beta 2 (there 0.999 by default)",
        low=0,
        high=1,
    )
    clip_norm: float = key(
        0.0, "norm that gradients of a step are shortened to, over all weights; 0: off", low=0
    )
    accumulation_steps: int = key(
        1, "batches of a rank whose gradients are summed for one step", ORDER, low=1, high=1024
    )
    mixup: float = key(
        0.0,
        "alpha of mixup: images are blended in pairs, and their labels; 0: off",
        low=0,
        high=100,
    )
    cutmix: float = key(
        0.0,
        "alpha of CutMix: a rectangle comes from another image; 0: off; with mixup, one of the two"
        " for each batch",
        low=0,
        high=100,
    )
    decay_bn_and_bias: bool = key(
        True, "weight decay on batch norm and biases too, as the reference; TF leaves them out"
    )
    ema_decay: float = key(
        0.0,
        "decay of the moving average of weights and statistics; 0: no moving average",
        low=0,
        high=0.99999,
    )
    amp_level: str = key(
        "O2",
        "mixed precision: O0 float32, O2 amp_dtype with float32 batch norm, O3 all amp_dtype",
        FIXED,
        choices=("O0", "O2", "O3"),
    )
    amp_dtype: str = key(
        "float16",
        "the 16-bit type of amp_level: `bfloat16` (Ascend from 910B on) has float32's range and"
        " needs no loss scale",
        FIXED,
        choices=("float16", "bfloat16"),
    )
    dynamic_loss_scale: bool = key(
        True,
        "halve the loss scale and skip the step when gradients overflow, double it after 2000 good"
        " steps; off by default with amp_level O0 and with amp_dtype bfloat16",
    )
    mode: str = key(
        "graph",
        "how MindSpore runs a step: `pynative` operator by operator, `jit` with the gradients"
        " compiled, `graph` compiled whole",
        choices=("pynative", "jit", "graph"),
    )
    jit_level: str = key(
        "auto",
        "how far MindSpore optimises what it compiles: `auto` is MindSpore's own choice for the"
        " device, O0 operator by operator, O1 with fused operators, O2 CANN's graph engine (Ascend,"
        " mode graph; deprecated by MindSpore)",
        choices=("auto", "O0", "O1", "O2"),
    )
    compile_cache: bool = key(
        True,
        "keep the compiled gradients and evaluation in the user's cache folder, for the other ranks"
        " of the machine and the next start (CPU, mode jit)",
        FREE,
    )
    depthwise: str = key(
        "auto",
        "how a CPU computes depthwise convolutions: `fused` and what is around them by C++ kernels,"
        " in training; `compiled` by a C++ kernel, `tiled` as matrix products, `plain` as MindSpore"
        " does; `auto` is `fused` if a C++ compiler is installed (with `freeze`, `compiled`), else"
        " `tiled`",
        choices=("auto", "fused", "compiled", "tiled", "plain"),
    )
    reduction: str = key(
        "auto",
        "how ranks on a CPU all-reduce their gradients: `auto` through shared memory, and over TCP"
        " between machines, in the order of the ranks; `collective` through MindSpore's library"
        " (`graph` always does)",
        choices=("auto", "collective"),
    )
    seed: int = key(1, "seed of everything random", ORDER, low=0, high=2**63 - 1)

    image_size: int = key(260, "side of a training image", unit="px", low=8, high=2048)
    eval_image_size: int = key(260, "side of an evaluated image", FREE, unit="px", low=8, high=2048)
    eval_resize: int = key(
        280, "shorter side before the centre crop", FREE, unit="px", low=8, high=4096
    )
    crop_pct: float = key(
        0.0,
        "eval_image_size / eval_resize, another way to set eval_resize (timm: 0.89); 0: not set",
        FREE,
        low=0,
        high=1,
    )
    interpolation: str = key(
        "bilinear", "resizing for evaluation", FREE, choices=("bilinear", "bicubic")
    )
    train_interpolation: str = key(
        "bilinear",
        "resizing for training; `random` is one of the two for each image, as timm",
        choices=("bilinear", "bicubic", "random"),
    )
    normalization: str = key(
        "half",
        "`half` maps pixels to [-1, 1] as the reference, `imagenet` uses ImageNet's mean and std",
        choices=("half", "imagenet"),
    )
    auto_augment: str = key(
        "reference",
        "`reference` is its policy of 25 pairs; `rand-m9-mstd0.5` is RandAugment of magnitude 9"
        " with a spread of 0.5, in timm's spelling (also `-n` operations, `-p` probability)",
        choices=("none", "reference", "rand-m9-mstd0.5"),
        pattern=r"rand(-(m|mstd|p)\d{1,3}(\.\d{1,4})?|-n\d{1,2})*",
    )
    color_jitter: float = key(
        0.4, "spread of brightness, contrast and saturation; 0: off", low=0, high=1
    )
    crop_scale_min: float = key(
        0.08, "smallest share of the image's area in a random crop", low=0.0001, high=1
    )
    crop_scale_max: float = key(
        1.0, "largest share of the image's area in a random crop", low=0.0001, high=1
    )
    crop_ratio_min: float = key(0.75, "smallest width/height of a random crop", low=0.01, high=100)
    crop_ratio_max: float = key(4 / 3, "largest width/height of a random crop", low=0.01, high=100)
    random_erasing: float = key(
        0.0, "probability that a rectangle of the image becomes noise by pixel", low=0, high=1
    )
    hflip: float = key(0.5, "probability of a left-right flip", low=0, high=1)

    device_target: str = key("Ascend", "device that computes", choices=TARGETS)
    dataset_path: str = key("", "folder of class folders, or of `train/` and `val/`", FREE)
    eval_dataset_path: str = key("", "folder to evaluate on; empty: `val/` next to `train/`", FREE)
    max_bad_images: int = key(100, "unreadable images per rank before the run stops", FREE, low=0)
    num_workers: int = key(
        0,
        "threads that prepare images for one rank; 0: one for each of the rank's cores",
        FREE,
        low=0,
    )
    image_cache_mb: int = key(
        256,
        "memory limit for keeping all decoded images; none are kept if they need more",
        FREE,
        unit="MB",
        low=0,
    )
    report_steps: int = key(
        25, "time between report lines; the sink size in graph mode", FREE, unit="steps", low=1
    )
    save_checkpoint_steps: int = key(
        0, "time between checkpoints within an epoch; 0: none", FREE, unit="steps", low=0
    )

    calibrate_steps: int = key(
        0,
        "steps to measure, after which the rank ends without saving; 0: train (`effnet-launch"
        " preflight --calibrate` sets it)",
        FREE,
        unit="steps",
        low=0,
        high=10_000,
    )

    @property
    def smoothing(self) -> float:
        """The label smoothing in force."""
        return self.label_smooth_factor if self.use_label_smooth else 0.0

    @property
    def images_per_step(self) -> int:
        """Images of one rank in one step."""
        return self.batch_size * self.accumulation_steps


def keys() -> dict[str, Key]:
    """Every key's :class:`Key`, in the order of the class."""
    return {field.name: field.metadata["key"] for field in dataclasses.fields(TrainConfig)}


def as_dict(config: TrainConfig) -> dict[str, Any]:
    """Key to value, in the order of the class."""
    return {name: getattr(config, name) for name in keys()}
