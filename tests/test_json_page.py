"""docs/reference/json.md lists the fields that commands really print with --json."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import effnet.__main__
import launcher.cli.app

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/reference/json.md").read_text(encoding="utf-8")
OUTPUTS: dict[str, list[str]] = {
    "effnet-launch runs": ["runs"],
    "effnet-launch status": ["status"],
    "effnet-launch compare": ["compare", "latest", "latest"],
    "effnet-launch resume": ["resume", "--dry-run"],
    "effnet-launch plan": ["plan", "local-cpu"],
    "effnet-launch preflight": ["preflight", "local-cpu"],
    "effnet-launch doctor": ["doctor", "--target", "CPU"],
    "effnet-launch hostfile lint": ["hostfile", "lint", "hosts"],
    "effnet-launch profiles list": ["profiles", "list"],
    "effnet-launch clean": ["clean", "--here"],
    "effnet-launch adopt": ["adopt", "latest", "--yes"],
    "effnet-launch prune": ["prune", "--here"],
    "python -m effnet data check": ["data", "check", "images"],
    "python -m effnet config check": ["config", "check", "--config", "run.toml"],
}
"""Section of the page -> arguments, for the commands that take no training."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the demo's run, a hostfile with an error, images and settings."""
    made = tmp_path_factory.mktemp("json")
    with tarfile.open(ROOT / "tui/demo/run.tar.gz") as packed:
        packed.extractall(
            made / "runs", **({"filter": "data"} if sys.version_info >= (3, 12) else {})
        )
    (made / "hosts").write_text("localhost slots=x\n")
    (made / "run.toml").write_text("epoch_size = 1\n")
    for name in ("cat", "dog"):
        (made / "images" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(made / "images" / name / "1.png")
    return made


def printed(folder: Path, section: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(folder / "runs"))
    monkeypatch.setenv("EFFNET_PROFILES_DIR", str(folder / "profiles"))
    words = [*OUTPUTS[section], "--json"]
    if section.startswith("effnet-launch"):
        return json.loads(CliRunner().invoke(launcher.cli.app.app, words).stdout)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        effnet.__main__.main(words)
    return json.loads(shown.getvalue())


def listed(section: str) -> set[str]:
    """The fields in the first column of the tables below a heading of the page."""
    text = re.split(r"^#+ ", PAGE.split(f"### `{section}`\n", 1)[1], flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def fields(value: Any, wanted: set[str]) -> Iterator[str]:
    """The fields of an output; those of an inner object where the page lists some of them."""
    if isinstance(value, list):
        value = value[0]
    for name, inner in value.items():
        yield name
        inner, mark = (
            (inner[0], f"{name}[].") if isinstance(inner, list) and inner else (inner, f"{name}.")
        )
        if isinstance(inner, dict) and any(field.startswith(mark) for field in wanted):
            yield from (mark + key for key in inner)


@pytest.mark.parametrize("section", OUTPUTS)
def test_a_command_prints_the_fields_that_the_page_lists(
    folder: Path, section: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = printed(folder, section, monkeypatch)
    if section == "python -m effnet data check":
        assert set(output) == {"all"}
        output = output["all"]
    wanted = listed(section)
    assert wanted
    assert set(fields(output, wanted)) == wanted


def test_every_command_with_json_is_on_the_page() -> None:
    reference = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    parts = re.split(r"^#+ ", reference, flags=re.MULTILINE)
    commands = {part.splitlines()[0] for part in parts if "| `--json` |" in part}
    assert "effnet-launch runs" in commands
    named = {f"effnet-launch {name}" for name in ("stop", "export", "infer", "ranktable lint")}
    for name in named:
        assert f"`{name.removeprefix('effnet-launch ')}`" in PAGE
    sections = set(re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE))
    assert commands - named == sections
