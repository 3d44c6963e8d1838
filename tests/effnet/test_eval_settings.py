"""What a checkpoint's manifest says of its use, and what flags change."""

from __future__ import annotations

import pytest

from effnet.config import ConfigError
from effnet.evaluate.trained_config import config_for
from effnet.weights.manifest import Manifest

TRAINED = {
    "variant": "b2",
    "class_num": 10,
    "device_target": "GPU",
    "batch_size": 128,
    "eval_image_size": 32,
    "eval_resize": 40,
    "normalization": "imagenet",
    "mode": "graph",
    "dataset_path": "gone",
    "of_a_later_version": 1,
}


def manifest(source: str = "train", **extra) -> Manifest:
    return Manifest("b2", "same", 10, 1e-3, "0" * 64, 1, source, extra)


def test_the_configuration_of_the_manifest_is_used():
    config = config_for(manifest(config=TRAINED)).config
    assert (config.variant, config.padding, config.class_num) == ("b2", "same", 10)
    assert (config.eval_image_size, config.eval_resize) == (32, 40)
    assert (config.normalization, config.batch_size) == ("imagenet", 128)
    assert config.dataset_path == ""


@pytest.mark.parametrize(
    ("flags", "resize"),
    [
        ({"eval_image_size": "64"}, 80),
        ({"eval_image_size": "64", "eval_resize": "64"}, 64),
        ({"eval_image_size": "64", "crop_pct": "0.5"}, 128),
        ({"eval_resize": "33"}, 33),
        ({"eval_image_size": None}, 40),
    ],
)
def test_the_resize_follows_the_size(flags, resize):
    assert config_for(manifest(config=TRAINED), flags=flags).config.eval_resize == resize


def test_crop_pct_follows_the_size_and_a_resize_overrides_it():
    trained = TRAINED | {"eval_image_size": 260, "eval_resize": 292, "crop_pct": 0.89}
    assert config_for(manifest(config=trained)).config.eval_resize == 292
    larger = config_for(manifest(config=trained), flags={"eval_image_size": "288"}).config
    assert larger.eval_resize == 323
    assert config_for(manifest(config=trained), flags={"eval_resize": "260"}).config.crop_pct == 0


def test_another_device_does_not_get_the_batch_of_the_first():
    config = config_for(manifest(config=TRAINED), flags={"device_target": "CPU"}).config
    assert (config.device_target, config.batch_size, config.mode) == ("CPU", 16, "jit")


def test_flags_override_sets_and_sets_override_the_file(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text("batch_size = 1\nlabel_smooth_factor = 0.2\nnum_workers = 3\n")
    config = config_for(
        manifest(config=TRAINED),
        str(file),
        ["batch_size=2", "label_smooth_factor=0.3"],
        {"batch_size": "3"},
    ).config
    assert (config.batch_size, config.label_smooth_factor, config.num_workers) == (3, 0.3, 3)


def test_imported_weights_use_the_preprocessing_of_their_source_with_a_note():
    resolved = config_for(manifest("timm"))
    config = resolved.config
    assert (config.eval_image_size, config.eval_resize) == (260, 292)
    assert (config.interpolation, config.normalization) == ("bicubic", "imagenet")
    assert "does not say its preprocessing" in resolved.notes[0]
    config = config_for(manifest("reference")).config
    assert (config.eval_image_size, config.eval_resize) == (260, 280)
    assert (config.interpolation, config.normalization) == ("bilinear", "half")


def test_all_errors_of_the_weights_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        config_for(manifest(config=TRAINED), sets=["variant=b0", "class_num=7"])
    assert [problem.what for problem in caught.value.problems] == [
        "variant is 'b0', the checkpoint's is 'b2'",
        "class_num is 7, the checkpoint's is 10",
    ]
