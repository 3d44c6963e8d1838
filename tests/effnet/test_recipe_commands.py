"""The commands of the recipes' page, run as written with --dry-run, yield the recipes' values."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from effnet import recipes
from effnet.__main__ import main
from effnet.config import as_dict, resolve, toml
from launcher import client
from launcher.cli.app import app
from launcher.core.text.toml import parse_toml

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "recipes.md"


def commands(program: str) -> list[tuple[str, str]]:
    """Recipe and command."""
    lines = re.findall(rf"(?m)^    ({re.escape(program)}.*recipe.*)$", PAGE.read_text())
    return [(re.search(r"recipe[= ](\w+)", line)[1], line) for line in lines]


def test_every_recipe_has_a_command() -> None:
    assert {name for name, _ in commands("effnet-launch start")} == set(recipes.RECIPES)
    assert commands("python -m effnet train")


@pytest.mark.parametrize(("name", "line"), commands("effnet-launch start"))
def test_a_start_as_written_has_the_recipes_values(name: str, line: str) -> None:
    words = shlex.split(line)[1:]
    done = CliRunner().invoke(app, [*words, "--dry-run"], env={"COLUMNS": "400"})
    assert done.exit_code == 0, done.output
    printed = done.output.partition("training configuration, where it differs")[2]
    table = printed.partition("\n")[2].partition("\n\n")[0]
    found = parse_toml(re.sub(r"(?m)^note: .*$", "", table))
    target = client.find_profile(words[1]).device_target.value
    plain = as_dict(resolve(target).config)
    wanted, _ = toml.read(recipes.path(name))
    assert found["recipe"] == name
    assert {key: found.get(key, plain[key]) for key in wanted} == wanted
    assert f"# recipe {name}" in printed


@pytest.mark.parametrize(("name", "line"), commands("python -m effnet train"))
def test_the_trainer_as_written_has_the_recipes_values(
    name: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*shlex.split(line)[3:], "--print_config"]) == 0
    found, _ = toml.parse(capsys.readouterr().out, "printed")
    wanted, _ = toml.read(recipes.path(name))
    assert {key: found[key] for key in wanted} == wanted


# -- the order of layers


def of(**given: Any) -> int:
    return resolve("Ascend", **given).config.epoch_size


def test_a_recipe_is_between_a_shipped_profile_and_everything_else(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("epoch_size = 5\n")
    shipped = {"epoch_size": 3, "class_num": 7}
    assert of() == 350
    assert of(weak=shipped) == 3
    assert of(weak=shipped, sets=["recipe=ra"]) == 450
    assert of(weak={**shipped, "recipe": "ra"}) == 450
    assert of(weak=shipped, base={"epoch_size": 4}, sets=["recipe=ra"]) == 4
    assert of(weak_path=file, sets=["recipe=ra"]) == 450
    assert of(toml_path=file, sets=["recipe=ra"]) == 5
    assert of(toml_path=file, sets=["recipe=ra", "epoch_size=6"]) == 6
    assert of(toml_path=file, sets=["epoch_size=6"], flags={"epoch_size": 8}) == 8
    found = resolve("Ascend", weak=shipped, base_name="profile x", sets=["recipe=ra"])
    assert found.sources["class_num"] == "profile x"
    assert found.sources["epoch_size"] == "recipe ra"


def test_the_stronger_of_the_two_rates_counts() -> None:
    def rates(**given: Any) -> tuple[float, float]:
        config = resolve("Ascend", **given).config
        return config.lr_per_256, config.lr_max

    assert rates(sets=["recipe=tf"])[0] == 0.016
    assert rates(sets=["recipe=tf", "lr_max=0.05"]) == (0.0, 0.05)
    assert rates(weak={"lr_max": 0.05}, sets=["recipe=tf"])[0] == 0.016
    assert rates(sets=["lr_max=0.05", "lr_per_256=0.01"]) == (0.01, 0.05)
    written = resolve("Ascend", sets=["recipe=tf"]).to_toml()
    assert "# not used: lr_per_256 is set" in written
