"""Commands and links of the pages work, and docs/cli.md is up to date."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

import effnet.__main__
import launcher.cli.app
import tui.__main__
from launcher.client import list_profiles
from launcher.core.run.events import FailureKind

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = ("effnet-launch", "effnet-tui", "python -m effnet")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command line of a page; a whole one could be typed as it is, others only name a command."""

    page: str
    line: str
    is_whole: bool


def commands_of(page: Path) -> Iterator[Command]:
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"\s*\\\n\s*", " ", text)
    name = str(page.relative_to(ROOT))
    blocks = [block.split("\n", 1)[1] for block in FENCE.findall(text)]
    text = FENCE.sub("", text)
    blocks += re.findall(r"^ {4}.*$", text, re.MULTILINE)
    for line in "\n".join(blocks).splitlines():
        for part in re.split(r" && | \| |; ", line):
            # A note after two spaces or a hash is not typed.
            words = re.split(r"\s{2,}| # ", part.strip().removeprefix("$ "))[0]
            words = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", words).replace(".venv/bin/", "")
            # In a drawing the programs stand beside other words.
            if words.startswith(PROGRAMS) and not re.search(r"effnet-(tui|launch)( /|,)", words):
                yield Command(name, words, is_whole=True)
    for span in re.findall(r"`([^`\n]+)`", re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)):
        words = span.replace("\\|", "|").replace(".venv/bin/", "")
        if words.startswith(tuple(f"{program} " for program in PROGRAMS)):
            yield from (Command(name, one, is_whole=False) for one in alternatives(words))


def alternatives(words: str) -> list[str]:
    """`profiles list|show` is two commands."""
    found = re.search(r" ([a-z]+(?:\|[a-z]+)+)", words)
    if found is None:
        return [words]
    return [words[: found.start(1)] + word for word in found[1].split("|")]


def complaint(command: Command) -> str:
    """What the program would say against a command line; empty when it takes it."""
    program = next(name for name in PROGRAMS if command.line.startswith(name))
    words = shlex.split(command.line[len(program) :])
    if not command.is_whole:
        words = [word for word in words if word != "…"]
    if program == "effnet-launch":
        return _typer_complaint(typer.main.get_command(launcher.cli.app.app), words, command)
    if program == "effnet-tui":
        serves, watches = words[:1] == ["serve"], words[:1] == ["watch"]
        parser = tui.__main__.watch_parser() if watches else tui.__main__.parser(serves)
        words = words[serves or watches :]
    else:
        parser = effnet.__main__.parser()
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            parser.parse_args(words)
    except SystemExit as ended:
        is_short = not command.is_whole and "arguments are required" in output.getvalue()
        return "" if ended.code == 0 or is_short else output.getvalue()
    return ""


def _typer_complaint(found: Any, words: list[str], command: Command) -> str:
    while hasattr(found, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in found.commands:
            return f"no command {name!r}"
        found = found.commands[name]
    if hasattr(found, "commands"):
        return "" if words in ([], ["--help"], ["-h"]) else f"no option {words}"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            found.make_context(found.name, words)
    except Exception as error:  # noqa: BLE001 typer carries click's exceptions under its own names
        if type(error).__name__ == "Exit" or "does not exist" in str(error):
            return ""
        is_short = type(error).__name__ == "MissingParameter" and not command.is_whole
        return "" if is_short else f"{type(error).__name__}: {error}"
    return ""


COMMANDS = [command for page in PAGES for command in commands_of(page)]


def test_the_pages_show_commands_of_every_program() -> None:
    for program in PROGRAMS:
        assert sum(command.line.startswith(program) for command in COMMANDS) > 5


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.page}: {c.line}")
def test_commands_of_the_pages_are_valid(command: Command) -> None:
    assert complaint(command) == ""


@pytest.mark.parametrize(
    "line",
    [
        "effnet-launch strat local-cpu",
        "effnet-launch start local-cpu --folow",
        "effnet-launch start",
        "effnet-launch runs --limit many",
        "effnet-tui --onec",
        "python -m effnet train --batchsize 3",
        "python -m effnet weights import FILE --source keras --out b2.ckpt",
    ],
)
def test_an_invalid_command_is_detected(line: str) -> None:
    assert complaint(Command("", line, is_whole=True)) != ""


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them in addresses."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_a_target(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_project_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(
        r"(?<![\w/.-])(?:\./)?((?:scripts|docs|benchmarks|cluster_profiles|tests)/[\w./-]*\w)",
        page.read_text(encoding="utf-8"),
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_and_names_that_a_page_mentions_exist(page: Path) -> None:
    """`launcher.core.run.state.LEGAL` is a module, or a name that a module defines."""
    text = page.read_text(encoding="utf-8")
    wrong = []
    for dotted in re.findall(r"`((?:launcher|tui|effnet)(?:\.\w+)+)(?:\(\))?`", text):
        path = ROOT.joinpath(*dotted.split("."))
        owner, name = path.parent, path.name
        files = [owner.with_suffix(".py"), owner / "__init__.py"]
        is_defined = any(
            re.search(rf"^(?:def |class |)\b{name}\b|import .*\b{name}\b", file.read_text(), re.M)
            for file in files
            if file.is_file()
        )
        if not (path.is_dir() or path.with_suffix(".py").is_file() or is_defined):
            wrong.append(dotted)
    assert wrong == []


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- (?:[^:\n]+: )?([\w/-]+\.md)$", site, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == {
        str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")
    }


def test_every_profile_that_ships_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFNET_PROFILES_DIR", str(tmp_path))
    entries = {entry.name: entry for entry in list_profiles()}
    files = {path.stem for path in (ROOT / "cluster_profiles").glob("*.toml")}
    assert files == set(entries)
    assert {name: entry.errors for name, entry in entries.items() if entry.errors} == {}


def test_the_command_reference_is_fresh_and_needs_no_mindspore() -> None:
    code = "import sys, make_cli_docs as m; sys.exit(m.main() or 'mindspore' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}"}
    done = subprocess.run(
        [sys.executable, "-c", code, "--check"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr


ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PATHS = {
    text.partition("\n")[0]: text
    for text in ARCHITECTURE.split("## Three paths")[1].split("\n## ")[0].split("\n### ")[1:]
}


def test_there_are_three_paths() -> None:
    assert len(PATHS) == 3


@pytest.mark.parametrize("name", PATHS)
def test_a_path_names_existing_files_once_each(name: str) -> None:
    shared, steps = re.split(r"(?=^1\. )", PATHS[name], maxsplit=1, flags=re.MULTILINE)
    listed = re.findall(r"^(\d+)\. `([\w/]+\.py)`", steps, re.MULTILINE)
    assert [int(number) for number, _ in listed] == list(range(1, len(listed) + 1))
    files = re.findall(r"`((?:launcher|tui|effnet)/[\w/]+\.py)`", shared)
    assert files, "files that both ends share"
    files += [file for _, file in listed]
    assert sorted(files) == sorted(set(files))
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_package_is_in_the_architecture() -> None:
    packages = {
        str(file.parent.relative_to(ROOT))
        for program in ("launcher", "tui", "effnet")
        for file in (ROOT / program).glob("*/__init__.py")
    }
    named = set(re.findall(r"^\| `([\w/]+)` \|", ARCHITECTURE, re.MULTILINE))
    assert packages - named == set()


def test_every_kind_of_failure_is_in_troubleshooting() -> None:
    page = (ROOT / "docs/how-to/troubleshooting.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^### `failed: (\w+)`$", page, re.MULTILINE))
    assert named == {kind.value for kind in FailureKind}
