"""What Home does with runs: compare them, remove them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from launcher.core.history.compare import NAMES
from launcher.core.run.requests import RemoveRequest
from launcher.core.text.figures import plural
from tui.model.derived import is_live
from tui.screens.base import FeedScreen
from tui.screens.confirm import Answer, ConfirmScreen
from tui.sources.feed import in_background
from tui.sources.messages import ActionDone, ActionFailed
from tui.sources.source import SourceError

if TYPE_CHECKING:
    from launcher.client import RunSummary
    from tui.widgets.run_table import RunTable

NAMED = 8  # runs that a question names


class HomeActions(FeedScreen):
    """Actions on the marked runs, or on the one under the cursor."""

    _runs: list[RunSummary]

    @property
    def table(self) -> RunTable:
        raise NotImplementedError

    def _selected(self) -> list[RunSummary]:
        marked = [run for run in self._runs if run.run in self.table.marked]
        return marked or [run for run in [self.table.run] if run is not None]

    def refusal(self, action: str, parameters: tuple[object, ...]) -> str:
        if action != "remove":
            return super().refusal(action, parameters)
        if self.dashboard.read_only:
            return self.dashboard.read_only
        if self.focused is not self.table and not self.table.marked:
            return "the cursor is not in the runs; tab moves it"
        return "" if self._selected() else "there is no run"

    def action_compare(self) -> None:
        """The marked runs; with one mark also the run under the cursor."""
        runs, here = self._selected(), self.table.run
        if len(runs) == 1 and here is not None and here not in runs:
            runs.append(here)
        if not 2 <= len(runs) <= len(NAMES):
            words = f"mark 2 to {len(NAMES)} runs with space, then press c"
            self.notify(words, severity="warning")
            return
        self.dashboard.open_comparison([run.run for run in runs])

    def action_remove(self) -> None:
        runs = self._selected()
        living = [run.run for run in runs if is_live(run.status)]
        if living:
            words = f"{living[0]} is not over; stop it first: enter, then s"
            self.notify(words, severity="warning")
        elif runs:
            self._ask_to_remove([run.run for run in runs])

    def _ask_to_remove(self, names: list[str]) -> None:
        what = names[0] if len(names) == 1 else plural(len(names), "run")
        more = [f"and {len(names) - NAMED} more"] if len(names) > NAMED else []
        listed = [*names[:NAMED], *more] if len(names) > 1 else []
        send = self.dashboard.send

        def remove_all() -> ActionDone:
            problems = []
            for name in names:
                try:
                    send(name, RemoveRequest())
                except SourceError as problem:  # noqa: PERF203 the others are removed all the same
                    problems.append(str(problem))
            if problems:
                raise SourceError("\n".join(problems))
            return ActionDone("delete", f"{what} deleted")

        def answered(answer: str | None) -> None:
            if answer:
                self.notify(f"deleting {what} …", timeout=4)
                in_background(self, "delete", remove_all)

        self.app.push_screen(
            ConfirmScreen(
                f"Delete {what}?",
                [
                    *listed,
                    "Logs, checkpoints and exported files are removed, here and on its nodes.",
                    "This cannot be undone.",
                ],
                [Answer("delete", "Delete", shlex.join(RemoveRequest().command(*names)))],
            ),
            answered,
        )

    def on_action_done(self, message: ActionDone) -> None:
        self.notify(message.answer, timeout=4)
        self.poll_now()

    def on_action_failed(self, message: ActionFailed) -> None:
        self.notify(f"{message.action}: {message.problem}", severity="error", timeout=15)
        self.poll_now()

    def poll_now(self) -> None:
        if self.feed is not None:
            self.feed.wake()
