"""Layers, sources and errors of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from effnet.config import ConfigError, TrainConfig, as_dict, keys, resolve
from effnet.config.defaults import defaults_for
from effnet.config.values import nearest
from effnet.errors import EffnetError

# The reference's README (Ascend) and its config_gpu, key by key.
REFERENCE = {
    "class_num": 1000,
    "batch_size": 256,
    "loss_scale": 1024,
    "momentum": 0.9,
    "weight_decay": 1e-5,
    "epoch_size": 350,
    "save_checkpoint": True,
    "save_checkpoint_epochs": 1,
    "keep_checkpoint_max": 5,
    "save_checkpoint_path": "./checkpoint",
    "opt": "rmsprop",
    "opt_eps": 0.001,
    "warmup_epochs": 2,
    "lr_decay_mode": "linear",
    "use_label_smooth": True,
    "label_smooth_factor": 0.1,
    "lr_init": 0.0001,
    "lr_max": 0.13,
    "lr_end": 0.00001,
}
REFERENCE_GPU = {
    **REFERENCE,
    "batch_size": 128,
    "lr_init": 7e-5,
    "lr_max": 0.092,
    "lr_end": 7e-6,
    "interval": 1,
    "eval_start_epoch": 1,
    "save_best_ckpt": True,
}


@pytest.mark.parametrize(("target", "want"), [("Ascend", REFERENCE), ("GPU", REFERENCE_GPU)])
def test_defaults_are_the_references(target: str, want: dict[str, object]) -> None:
    got = as_dict(resolve(target).config)
    assert {name: got[name] for name in want} == want
    assert got["image_size"] == got["eval_image_size"] == 260
    assert got["eval_resize"] == 280
    assert got["dropout"] == 0.3


@pytest.mark.parametrize("target", ["Ascend", "GPU", "CPU"])
def test_defaults_alone_are_valid_and_need_no_remark(target: str) -> None:
    resolved = resolve(target)
    assert resolved.notes == ()
    assert resolved.config == TrainConfig(**defaults_for(target) | as_dict(resolved.config))
    assert all(type(getattr(resolved.config, name)) is key.kind for name, key in keys().items())


def test_every_layer_is_stronger_than_the_one_before(weird_path: Path) -> None:
    file = weird_path / "run.toml"
    file.write_text("seed = 1\nbatch_size = 2\nepoch_size = 3\nwarmup_epochs = 1\n")
    resolved = resolve(
        "CPU", file, ["batch_size=4", "epoch_size=5"], {"epoch_size": 6, "seed": None}
    )
    config, sources = resolved.config, resolved.sources
    assert (config.seed, config.batch_size, config.epoch_size) == (1, 4, 6)
    assert config.momentum == 0.9
    assert sources["seed"] == f"{file}, line 1"
    assert sources["batch_size"] == "--set batch_size=4"
    assert sources["epoch_size"] == "--epoch_size"
    assert sources["momentum"] == "default of CPU"
    assert set(sources) == set(keys())


def test_target_is_taken_from_the_highest_layer_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('device_target = "GPU"\n')
    assert resolve().config.device_target == "CPU"
    assert resolve(toml_path=file).config.batch_size == 128
    assert resolve(toml_path=file, sets=["device_target=ascend"]).config.batch_size == 256
    assert resolve("CPU", file).config.batch_size == 16


def test_text_is_read_as_the_keys_type() -> None:
    config = resolve(
        "CPU", sets=["warmup-epochs=0.5", "save_checkpoint=no", "seed= 7 ", "variant=B4"]
    ).config
    assert (config.warmup_epochs, config.save_checkpoint, config.seed) == (0.5, False, 7)
    assert (config.variant, config.dropout) == ("b4", 0.4)


def test_values_that_follow_from_others_yield_to_what_is_set() -> None:
    b0 = resolve("GPU", sets=["variant=b0", "padding=same"])
    assert (b0.config.image_size, b0.config.dropout, b0.config.bn_eps) == (224, 0.2, 1e-3)
    assert b0.config.eval_resize == round(224 * 280 / 260)
    assert b0.sources["dropout"] == "from variant b0"
    own = resolve("GPU", sets=["variant=b0", "dropout=0", "image_size=96", "eval_resize=100"])
    assert (own.config.dropout, own.config.eval_image_size, own.config.eval_resize) == (0, 96, 100)
    assert resolve("CPU", sets=["variant=b0"]).config.image_size == 64


def test_every_error_is_named_at_once_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'varient = "b2"\nbatch_size = 0\nlr_max = "fast"\nmomentum = 0.9\nseed = true\n'
    )
    sets = ["lr_decay_mode=cosin", "nonsense", "crop_scale_min=0.9", "crop_scale_max=0.5"]
    with pytest.raises(ConfigError) as caught:
        resolve("CPU", file, sets, {"epoch_size": 1.5, "auto_augment": "rand-x9"})
    text = str(caught.value)
    for part in (
        f"{file}, line 1: unknown key 'varient'; did you mean variant?",
        f"{file}, line 2: batch_size: expected at least 1 images, got 0",
        f"{file}, line 3: lr_max: expected a number, got 'fast'",
        f"{file}, line 5: seed: expected a whole number, got true or false True",
        "lr_decay_mode: expected one of linear, steps, poly, cosine, reference-cosine,"
        " exponential, got 'cosin';",
        "--set nonsense: expected key=value",
        "crop_scale_min (0.9) is above crop_scale_max (0.5)",
        "--epoch_size: epoch_size: expected a whole number, got a number 1.5",
        "expected one of none, reference, rand-m9-mstd0.5, got 'rand-x9'",
    ):
        assert part in text
    assert len(caught.value.problems) == 9
    assert isinstance(caught.value, EffnetError)


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["lr_max=nan"], "finite"),
        (["lr_max=inf"], "finite"),
        (["lr_init=0.5"], "lr_init (0.5) is above lr_max (0.002)"),
        (["lr_end=0.5"], "lr_end (0.5) is above"),
        (["warmup_epochs=21"], "warmup_epochs (21) is more than epoch_size (20)"),
        (["eval_resize=32"], "set it to at least that"),
        (["crop_pct=0.5", "eval_resize=80"], "means an eval_resize of 128 px, not 80"),
        (["crop_ratio_min=2"], "crop_ratio_min (2) is above crop_ratio_max"),
        (["dropout=1"], "expected 0 to 0.999"),
        (["=3"], "expected key=value"),
        (["opt=adam"], "expected one of rmsprop"),
        (["device_target=TPU"], "expected one of Ascend, GPU, CPU"),
    ],
)
def test_refuses(sets: list[str], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("CPU", sets=sets)
    assert words in str(caught.value)
    assert sets[0] in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed = 1\nbatch_size = = 3\n", "line 2: not valid TOML"),
        ("seed = 1\nseed = 2\n", "not valid TOML"),
        ('seed = "open\n', "not valid TOML"),
        ("[train]\nseed = 1\n", "line 1: unknown key 'train'"),
    ],
)
def test_malformed_file_is_named_with_its_line(weird_path: Path, text: str, words: str) -> None:
    file = weird_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        resolve("CPU", file)
    assert str(file) in str(caught.value)
    assert words in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml: no such file"):
        resolve("CPU", tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve("CPU", tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        resolve("CPU", tmp_path / "latin.toml")


def test_old_names_are_accepted_with_a_note() -> None:
    resolved = resolve("CPU", sets=["lr_decay_mode=liner", "eval_every_epochs=3"])
    assert resolved.config.lr_decay_mode == "linear"
    assert resolved.config.interval == 3
    assert len(resolved.notes) == 2
    assert "'liner' is read as 'linear'" in resolved.notes[0]
    assert "eval_every_epochs is called interval" in resolved.notes[1]


@pytest.mark.parametrize(
    ("sets", "word"),
    [
        (["amp_level=O3"], "emulated"),
        (["mode=graph"], "compiles"),
        (["lr_decay_mode=steps"], "no warm-up"),
        (["interval=0"], "no best checkpoint"),
        (["loss_scale=1024"], "does not need it"),
    ],
)
def test_remarks_on_unusual_combinations(sets: list[str], word: str) -> None:
    (note,) = resolve("CPU", sets=sets).notes
    assert word in note


@pytest.mark.parametrize(
    ("target", "sets", "said"),
    [
        ("CPU", ["amp_dtype=bfloat16"], "operators for Ascend only, not for a CPU"),
        ("GPU", ["amp_dtype=bfloat16"], "operators for Ascend only, not for a GPU"),
        ("CPU", ["jit_level=O2"], "this run has CPU and jit; set jit_level = auto"),
        ("Ascend", ["jit_level=O2", "mode=pynative"], "this run has Ascend and pynative"),
    ],
)
def test_what_a_device_lacks_is_refused(target: str, sets: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve(target, sets=sets)
    assert said in str(raised.value)


def test_bfloat16_needs_no_loss_scale() -> None:
    resolved = resolve("Ascend", sets=["amp_dtype=bfloat16", "jit_level=O2"])
    config = resolved.config
    assert (config.loss_scale, config.dynamic_loss_scale) == (1.0, False)
    assert resolved.sources["loss_scale"] == "from amp_dtype bfloat16"
    assert not any("overflow" in note for note in resolved.notes)
    (note,) = resolve("Ascend", sets=["amp_dtype=bfloat16", "amp_level=O0", "loss_scale=1"]).notes
    assert "no effect" in note


def test_nearest_gives_nothing_when_no_name_is_close() -> None:
    assert nearest("xyzzy", list(keys())) == ""
    assert nearest("Momentun", list(keys())) == "; did you mean momentum?"


def test_smoothing_is_off_by_its_switch() -> None:
    assert resolve("CPU").config.smoothing == 0.1
    assert resolve("CPU", sets=["use_label_smooth=false"]).config.smoothing == 0.0


@pytest.fixture(params=["plain", "späce dir 'q' \"d\" #é"])
def weird_path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / request.param
    folder.mkdir()
    return folder
