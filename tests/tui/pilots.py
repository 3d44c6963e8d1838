"""Helpers for tests that drive the real app."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fake_source import RUN, FakeSource
from textual.pilot import Pilot
from textual.widget import Widget

from tui.app import Dashboard
from tui.settings import Settings
from tui.widgets.chart import Chart
from tui.widgets.lines import LineView


@asynccontextmanager
async def showing(
    source: FakeSource, size: tuple[int, int] = (80, 24), run: str | None = RUN, **options: object
) -> AsyncIterator[Pilot[str]]:
    """The app on a run's screen (``run=None``: home), once it has drawn something."""
    app = Dashboard(source, Settings(refresh_hz=10, bell=False), run=run, **options)  # type: ignore[arg-type]
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: bool(everything(pilot).strip()))
        yield pilot
        app.is_quitting = True  # a screen may still be opening


async def until(pilot: Pilot[str], true: Callable[[], bool], limit_s: float = 90) -> None:
    """Wait for something that a worker thread brings about."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if true():
            return
        await pilot.pause(0.05)
    raise AssertionError(f"did not come about:\n{everything(pilot)}")


async def sees(pilot: Pilot[str], *texts: str) -> None:
    """Wait until all ``texts`` are on the screen."""
    await until(pilot, lambda: all(text in everything(pilot) for text in texts))


async def drawn_charts(pilot: Pilot[str]) -> None:
    """Wait until each chart of the screen has a curve: before, its keys have nothing to act on."""
    await until(
        pilot,
        lambda: all(
            chart._data is not None for chart in pilot.app.screen.query(Chart) if chart.display
        ),
    )


def everything(pilot: Pilot[str]) -> str:
    """The whole screen as text: what a person sees, cell by cell."""
    screen = pilot.app.screen
    lines = screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in lines)


def text_of(pilot: Pilot[str], selector: str) -> str:
    """The lines of one line-API widget."""
    widget: Widget = pilot.app.screen.query_one(selector)
    assert isinstance(widget, LineView)
    return "\n".join(strip.text.rstrip() for strip in widget._lines)
