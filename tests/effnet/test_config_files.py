"""Configurations written to files, and resumed with others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effnet.config import TrainConfig, keys, resolve
from effnet.config import toml as files
from effnet.config.keys import Resume
from effnet.config.resume import Difference, differences


def refused(old: TrainConfig, new: TrainConfig, **world_sizes: int) -> list[Difference]:
    return [found for found in differences(old, new, **world_sizes) if found.refused]


@pytest.mark.parametrize("target", ["Ascend", "GPU", "CPU"])
def test_written_file_gives_the_same_configuration(target: str, tmp_path: Path) -> None:
    resolved = resolve(target, sets=["crop_pct=0.89", "seed=9", "lr_end=3.3e-7"])
    for name, text in (("bare", files.write(resolved.config)), ("commented", resolved.to_toml())):
        file = tmp_path / f"{name}.toml"
        file.write_text(text)
        assert resolve(toml_path=file).config == resolved.config
    assert "seed = 9  # --set seed=9" in resolved.to_toml()


@given(st.text(), st.floats(0, 1), st.integers(0, 2**63 - 1))
def test_any_text_and_number_survives(text: str, number: float, seed: int) -> None:
    text = text.encode("utf-8", "ignore").decode()
    config = dataclasses.replace(
        TrainConfig(), save_checkpoint_path=text, momentum=number, seed=seed
    )
    values = files._toml.loads(files.write(config, {"seed": text}))
    assert values["save_checkpoint_path"] == text
    assert values["momentum"] == number
    assert values["seed"] == seed


def test_equal_configurations_continue() -> None:
    config = resolve("CPU").config
    assert differences(config, config, old_world_size=2, new_world_size=2) == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("variant", "b3"),
        ("padding", "same"),
        ("class_num", 10),
        ("batch_size", 8),
        ("seed", 2),
        ("ema_decay", 0.99),
        ("amp_level", "O2"),
    ],
)
def test_refuses_changes_that_cannot_continue(key: str, value: object) -> None:
    old = resolve("CPU").config
    (one,) = refused(old, dataclasses.replace(old, **{key: value}))
    assert one.key == key
    assert one.why
    assert repr(value) in str(one)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("keep_checkpoint_max", 9, "nothing"),
        ("num_workers", 1, "nothing"),
        ("report_steps", 10, "nothing"),
        ("epoch_size", 40, "schedule"),
        ("lr_max", 0.001, "schedule"),
        ("dropout", 0.0, "uninterrupted run"),
    ],
)
def test_allows_other_changes_with_a_note(key: str, value: object, word: str) -> None:
    old = resolve("CPU").config
    new = dataclasses.replace(old, **{key: value})
    assert refused(old, new) == []
    (difference,) = differences(old, new)
    assert word in difference.why


def test_other_world_size_continues_only_with_the_same_global_batch() -> None:
    old = resolve("CPU", sets=["batch_size=16"]).config
    half = dataclasses.replace(old, batch_size=8)
    assert refused(old, half, old_world_size=1, new_world_size=2) == []
    (one,) = refused(old, old, old_world_size=1, new_world_size=2)
    assert one.key == "world size"
    assert "16 images a step, now 32" in one.why


def test_moving_average_may_change_its_decay_but_not_appear() -> None:
    on = resolve("CPU", sets=["ema_decay=0.9"]).config
    assert refused(on, dataclasses.replace(on, ema_decay=0.99)) == []
    assert refused(on, dataclasses.replace(on, ema_decay=0.0)) != []


def test_documentation_has_every_key_with_its_type_unit_and_defaults() -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    from effnet.config.docs import table

    assert table() in page
    for name, key in keys().items():
        assert f"`{name}`" in page
        assert key.doc
        assert isinstance(key.resume, Resume)
        assert key.kind in (int, float, bool, str)
