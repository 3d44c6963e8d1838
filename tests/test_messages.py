"""Every program says what is wrong, and what to do next, in one style."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import effnet.__main__
import launcher.cli.app
import launcher.reference.__main__
import tui.__main__

ROOT = Path(__file__).resolve().parent.parent
STYLE = re.compile(r"error: [^\n]+\n( {2}[^ →\n][^\n]*\n)*( {2}→ [^\n]+\n( {4}[^\n]+\n)*)?")


def of_launcher(words: list[str]) -> object:
    return CliRunner().invoke(launcher.cli.app.app, words)


PROGRAMS: list[tuple[Callable[[list[str]], object], str, str]] = [
    (effnet.__main__.main, "tarin", "→ python -m effnet --help"),
    (effnet.__main__.main, "train --epoch_sise 3", "did you mean --epoch_size?"),
    (effnet.__main__.main, "train --set nix=3 --print_config", "--set nix=3: unknown key"),
    (effnet.__main__.main, "data check none", "the data folder none does not exist"),
    (tui.__main__.main, "--nix", "→ effnet-tui --help"),
    (tui.__main__.main, "serve --nix", "→ effnet-tui serve --help"),
    (tui.__main__.main, "watch x --nix", "→ effnet-tui watch --help"),
    (launcher.reference.__main__.main, "run_eval", "→ usage: bash scripts/run_eval.sh"),
]


@pytest.mark.parametrize(("program", "words", "said"), PROGRAMS)
def test_an_error_has_the_style(
    program: Callable[[list[str]], object],
    words: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with contextlib.suppress(SystemExit):
        program(words.split())
    printed = capsys.readouterr().err
    assert STYLE.fullmatch(printed), printed
    assert said in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "tsart",
            "error: no such command 'tsart'. Did you mean 'start'?\n  → effnet-launch --help\n",
        ),
        ("status --nix", "error: no such option: --nix\n  → effnet-launch status --help\n"),
        ("profiles nix", "error: no such command 'nix'\n  → effnet-launch profiles --help\n"),
    ],
)
def test_wrong_usage_of_effnet_launch_has_it_too(words: str, said: str) -> None:
    done = CliRunner().invoke(launcher.cli.app.app, words.split(), prog_name="effnet-launch")
    assert done.exit_code == 2
    assert done.stderr == said


def test_nothing_calls_it_a_hint() -> None:
    folders = ("effnet", "launcher", "tui", "cpp_infer", "scripts")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    sources = [path for path in files if path.suffix in (".py", ".cc", ".h", "")]
    assert len(sources) > 300
    found = [
        str(path)
        for path in sources
        if re.search(rb"\\n *hint: |[\"'] *hint: |\n  hint: ", path.read_bytes())
    ]
    assert found == []
