"""Pictures of every screen that a change of the dashboard can break, to be looked at.

python scripts/picture_sheets.py FOLDER              all scenes
python scripts/picture_sheets.py FOLDER hung home    only these

FOLDER gets an SVG of each scene at 80 x 24 and 160 x 48 in dark, and, when Chromium is installed,
PNGs of them and a sheet of the other sizes and themes for each scene. What is shown comes from the
stand-ins of the tests, and from the recording of the demo.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "tui")]
WHOLE = (("80x24", "dark"), ("160x48", "dark"))
SHEET = (
    ("120x36", "dark"), ("120x36", "light"), ("120x36", "ansi"), ("120x36", "mono"),
    ("240x60", "dark"),
)  # fmt: skip
CELL = (12.2, 24.4)  # px in Rich's SVG
FRAME = (20, 60)


@dataclass(frozen=True)
class Scene:
    """``make`` gives a source and options of the dashboard; ``keys`` are pressed once ``words``
    are on the screen."""

    make: Callable[[], tuple[Any, dict[str, Any]]]
    words: str
    keys: Sequence[str] = ()
    then: str = ""


def run_of(change: Callable[[Any], object] = lambda run: None) -> tuple[Any, dict[str, Any]]:
    """A run of 8 ranks on 4 nodes."""
    from fake_source import RUN, FakeRun, FakeSource

    run = FakeRun(8, nodes=4)
    change(run)
    return FakeSource(run), {"run": RUN}


def home(count: int) -> tuple[Any, dict[str, Any]]:
    """So many runs of every state."""
    from fake_source import FakeSource, summary

    source = FakeSource()
    states = ("finished", "failed", "finished", "stopped", "finished", "lost")
    old = [
        summary(
            f"local-cpu-202611{30 - at // 24:02d}-{at % 24:02d}1500-{at * 977 % 65536:04x}",
            states[at % len(states)], 3600.0 * (at + 2), changed_s=source.view.now - 3600.0 * at,
            attempt=1 + at % 3, epoch=19, epochs=20, progress=1.0, loss=0.4 + at % 7 / 20,
            best_top_1=0.70 + at % 23 / 100, duration_s=900.0 + 37 * at,
            cause="rank 5 was killed (SIGKILL)" if at % len(states) == 1 else "",
            note=("", "warm-up 5 epochs", "lr 0.1")[at % 3],
        )
        for at in range(count - 2)
    ]  # fmt: skip
    source.view = replace(source.view, runs=(*source.view.runs, *old)[:count])
    return source, {}


def third_attempt(run: Any) -> None:
    """Two attempts have ended before."""
    from launcher.core.run.state import AttemptState, RunStatus

    whole = run.snapshot

    def snapshot() -> Any:
        shown = whole()
        run.fail(1)
        failed = RunStatus.FAILED
        first = AttemptState(1, 8, shown.created_s, failed, failure=run.failure)
        run.failure, run.state = None, "running"
        second = AttemptState(2, 8, shown.created_s + 40, RunStatus.STOPPED)
        third = replace(shown.state.attempts[0], attempt=3)
        state = replace(shown.state, attempts=(first, second, third))
        return replace(shown, state=state, attempt=3)

    run.snapshot = snapshot


def two_runs() -> tuple[Any, dict[str, Any]]:
    """Runs of 2 ranks on the disk; one has a late rank."""
    from made_run import MadeRun

    from tui.sources.live import LiveSource

    folder = Path(os.environ["EFFNET_RUNS_DIR"])
    shutil.rmtree(folder, ignore_errors=True)
    for name, late in (("even", None), ("late", 1)):
        run = MadeRun(folder, name, late=late, time_s=time.time() - 400)
        run.start()
        run.steps(300)
        run.finish()
    return LiveSource(), {}


def demo() -> tuple[Any, dict[str, Any]]:
    from tui.sources.recording import DemoSource

    source = DemoSource(2000)
    again = {"run": str(source.run), "readonly": True, "again": "effnet-tui --demo"}
    return source, again


SCENES = {
    "home": Scene(lambda: home(300), "300 runs"),
    "no-runs": Scene(lambda: home(0), "No runs yet"),
    "healthy": Scene(lambda: run_of(lambda run: setattr(run, "late", None)), "RUNNING"),
    "hung": Scene(lambda: run_of(lambda run: run.hang(3)), "HUNG"),
    "failed": Scene(lambda: run_of(lambda run: run.fail(5)), "FAILED"),
    "attempt-3": Scene(lambda: run_of(third_attempt), "attempt 3"),
    "compare": Scene(two_runs, "2 runs", ("space", "down", "space", "c"), "compare 2 runs"),
    "demo-failure": Scene(demo, "press p to continue"),
    "demo-end": Scene(demo, "press p to continue", ("p",), "at its end"),
    "help": Scene(run_of, "RUNNING", ("question_mark",), "Keys"),
}


async def picture(scene: Scene, size: str, theme: str) -> str:
    """The scene as SVG."""
    from pilots import sees

    from tui.app import Dashboard
    from tui.settings import Settings

    columns, rows = map(int, size.split("x"))
    source, options = scene.make()
    app = Dashboard(source, Settings(bell=False), theme=theme, **options)
    try:
        async with app.run_test(size=(columns, rows)) as pilot:
            await sees(pilot, scene.words)
            for key in scene.keys:
                await pilot.press(key)
            await sees(pilot, scene.then or scene.words)
            await pilot.pause(1.5)  # charts and log come with a later frame
            return app.export_screenshot(title=f"{size} {theme}")
    finally:
        getattr(source, "close", lambda: None)()


def as_png(chromium: str, page: Path, width: int, height: int) -> None:
    subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--hide-scrollbars", "--disable-gpu",
         f"--screenshot={page.with_suffix('.png')}", f"--window-size={width},{height}",
         page.as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip


def pixels(size: str) -> tuple[int, int]:
    columns, rows = map(int, size.split("x"))
    return int(columns * CELL[0]) + FRAME[0], int(rows * CELL[1]) + FRAME[1]


def draw(folder: Path, name: str, chromium: str | None) -> None:
    """All pictures of a scene."""
    tiles = []
    for size, theme in (*WHOLE, *SHEET):
        path = folder / f"{name}-{size}-{theme}.svg"
        path.write_text(asyncio.run(picture(SCENES[name], size, theme)), "utf-8")
        if (size, theme) in SHEET:
            width = 1800 if size == "240x60" else 900
            tiles.append(f'<img src="{path.name}" style="width:{width}px">')
        elif chromium is not None:
            as_png(chromium, path, *pixels(size))
    sheet = folder / f"{name}-sheet.html"
    sheet.write_text(f'<body style="margin:0;background:#333">{"".join(tiles)}', "utf-8")
    if chromium is not None:
        as_png(chromium, sheet, 1820, 2200)
    print(f"{name}: {len(tiles) + len(WHOLE)} pictures")


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the dashboard's screens, to look at them.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("scenes", nargs="*", metavar="scene", help=", ".join(SCENES))
    given = parser.parse_args()
    if unknown := set(given.scenes) - set(SCENES):
        parser.error(f"no scene {', '.join(sorted(unknown))}; known: {', '.join(SCENES)}")
    given.folder.mkdir(parents=True, exist_ok=True)
    aside = given.folder.resolve() / "settings"
    os.environ.update(
        TEXTUAL_ANIMATIONS="none", COLORTERM="truecolor", LANG="C.UTF-8",
        XDG_CONFIG_HOME=str(aside), XDG_CACHE_HOME=str(aside), EFFNET_RUNS_DIR=str(aside / "runs"),
    )  # fmt: skip
    os.environ.pop("NO_COLOR", None)
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no PNGs without Chromium: apt-get install chromium", file=sys.stderr)
    for name in given.scenes or SCENES:
        draw(given.folder.resolve(), name, chromium)
    return 0


if __name__ == "__main__":
    sys.exit(main())
