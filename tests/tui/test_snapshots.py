"""The whole picture at three sizes, as the SVG export draws it: each cell, its colours and weight.

What is kept in ``snapshots/`` is not the SVG, which changes with every version of Rich, but what
it shows: each line, below it a letter a cell for its style, and in the end what the letters mean.
``EFFNET_SNAPSHOTS=write`` writes them again; check the difference before it is committed.
"""

from __future__ import annotations

import html
import importlib
import os
import re
import string
from pathlib import Path

import pytest
from fake_source import RUN, FakeRun, FakeSource
from pilots import sees, until

from tui.app import Dashboard
from tui.pace import Pace
from tui.settings import Settings
from tui.widgets.log_view import LogView

FOLDER = Path(__file__).parent / "snapshots"
WRITES = os.environ.get("EFFNET_SNAPSHOTS") == "write"
CELL, LINE = 12.2, 24.4  # px in Rich's SVG
TEXT = re.compile(
    r'<text class="[^"]*?-(r\d+)" x="([\d.]+)" y="[\d.]+" textLength="[\d.]+" '
    r'clip-path="url\(#[^"]*?-line-(\d+)\)">([^<]*)</text>'
)
GROUND = re.compile(r'<rect fill="(#\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height')
STYLE = re.compile(r"-(r\d+) \{ ([^}]*) \}")


def cells_of(svg: str, columns: int, rows: int) -> list[list[tuple[str, str]]]:
    """Each cell's character and style, as ``fill;weight on ground``."""
    styles = {name: what.replace(" ", "").strip(";") for name, what in STYLE.findall(svg)}
    grid = [[(" ", "") for _ in range(columns)] for _ in range(rows)]
    grounds = [["" for _ in range(columns)] for _ in range(rows)]
    for fill, x, y, width in GROUND.findall(svg):
        row, first = int(float(y) / LINE), round(float(x) / CELL)
        for column in range(first, min(first + round(float(width) / CELL), columns)):
            if row < rows:
                grounds[row][column] = fill
    for name, x, row, text in TEXT.findall(svg):
        first = round(float(x) / CELL)
        for at, char in enumerate(html.unescape(text).replace("\xa0", " ")):
            if first + at < columns and char != " ":
                grid[int(row)][first + at] = (char, styles[name])
    return [
        [(char, f"{style} on {ground}") for (char, style), ground in zip(line, under, strict=True)]
        for line, under in zip(grid, grounds, strict=True)
    ]


def picture_of(svg: str, columns: int, rows: int) -> str:
    """What the SVG shows, as text that a person can compare."""
    letters: dict[str, str] = {}
    lines = []
    for row in cells_of(svg, columns, rows):
        for _, style in row:
            letters.setdefault(style, string.ascii_letters[len(letters)])
        lines.append("".join(char for char, _ in row).rstrip())
        lines.append("  " + "".join(letters[style] for _, style in row))
    return "\n".join([*lines, *(f"{letter}: {style}" for style, letter in letters.items())]) + "\n"


def a_run(state: str) -> FakeRun:
    run = FakeRun(8, nodes=4)
    if state == "failed":
        run.fail(5)
    return run


@pytest.mark.parametrize("state", ["running", "failed"])
@pytest.mark.parametrize("size", [(80, 24), (120, 36), (160, 48)])
async def test_run_screen_matches_its_snapshots(
    size: tuple[int, int], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "record", lambda self, cost_s: None)  # a busy machine is no news
    app = Dashboard(FakeSource(a_run(state)), Settings(), run=RUN, theme="dark", clock=lambda: 0.0)
    columns, rows = size
    async with app.run_test(size=size) as pilot:
        await sees(pilot, state.upper(), "log rank", "q Quit")
        log = app.screen.query_one(LogView)
        await until(pilot, lambda: len(log.frame.lines) == log.rows_wanted)
        if state == "failed":
            await sees(pilot, "resume from step")
        path = FOLDER / f"{state}-{columns}x{rows}.txt"
        wanted = "" if WRITES or not path.exists() else path.read_text("utf-8")
        # A busy machine may stand still in the middle, so being as before is not being done.
        for _ in range(200):
            shown = picture_of(app.export_screenshot(), columns, rows)
            if shown.splitlines() == wanted.splitlines():
                break
            await pilot.pause(0.4)
    if WRITES:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(shown, "utf-8")
    assert shown.splitlines() == path.read_text("utf-8").splitlines()


@pytest.mark.parametrize("scene", ["home", "attempt-3", "compare"])
async def test_the_script_of_pictures_draws_its_scenes(
    scene: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER.parents[2] / "scripts"))
    sheets = importlib.import_module("picture_sheets")
    svg = await sheets.picture(sheets.SCENES[scene], "80x24", "dark")
    assert sheets.SCENES[scene].words in picture_of(svg, 80, 24)


def test_pictures_of_the_readme_exist_and_are_complete() -> None:
    import json

    docs = Path(__file__).parents[2] / "docs"
    readme = docs.with_name("README.md").read_text("utf-8")
    for name, texts in {
        "dashboard-running.svg": ("RUNNING", "epoch 4/8", "log rank 0"),
        "dashboard.svg": ("FAILED", "rank 5 on 127.0.0.1 failed first", "SIGKILL", "log rank 5"),
        "dashboard-end.svg": ("FINISHED", "in 2 attempts", "best top-1"),
    }.items():
        assert f"docs/{name}" in readme
        shown = picture_of((docs / name).read_text("utf-8"), 120, 36)
        for words in (*texts, "q Quit"):
            assert words in shown
    head, *events = (docs / "dashboard.cast").read_text("utf-8").splitlines()
    assert json.loads(head)["version"] == 2
    times = [json.loads(line)[0] for line in events]
    assert times == sorted(times)
    drawn = "".join(json.loads(line)[2] for line in events)
    for words in ("RUNNING", "FAILED", "FINISHED", "play again:  effnet-tui --demo"):
        assert words in drawn
    assert (docs / "dashboard.cast").stat().st_size < 1_000_000
