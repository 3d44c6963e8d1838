"""What the run screen can change, and what it asks before. Each action shows its command."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui.context import Context
from tui.drawing.text import plural
from tui.model.run import RESUMABLE_STATES, Restart, RunFrame, RunView
from tui.screens.confirm import Answer, ConfirmScreen
from tui.sources.feed import in_background
from tui.sources.messages import ActionDone, ActionFailed, RestartChosen
from tui.sources.source import NO, SAVE, RunSource, SourceError


class RunActions(Screen[None]):
    """Stop, resume, eval, export, copy: for a screen that has a ``frame``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "resume", "Resume", id="run.resume"),
        Binding("s", "stop", "Stop", id="run.stop"),
        Binding("e", "eval", "Eval", id="run.eval"),
        Binding("x", "export", "Export", id="run.export"),
        Binding("i", "infer", "Infer", show=False, id="run.infer"),
        Binding("t", "results", "Results", id="run.results"),
        Binding("y", "copy", "Copy command", show=False, id="run.copy"),
    ]

    frame: RunFrame | None
    restart: Restart | None
    if TYPE_CHECKING:

        @property
        def source(self) -> RunSource | None: ...

        @property
        def dashboard(self) -> Context: ...

    def look_now(self) -> None:
        """Something changed: do not wait for the next poll."""

    @property
    def view(self) -> RunView | None:
        """The run as last seen."""
        return None if self.frame is None else self.frame.view

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense in this state is offered."""
        view = self.view
        if action in ("resume", "stop", "eval", "export", "infer") and (
            view is None or self.dashboard.readonly
        ):
            return False
        if action == "resume":
            return view is not None and view.state in RESUMABLE_STATES
        if action == "stop":
            return view is not None and view.live
        if action in ("eval", "export"):
            return view is not None and bool(view.checkpoints)
        if action == "results":
            return view is not None
        return True

    def parting_words(self) -> str:
        """What is printed after ``q``."""
        view = self.view
        if view is None:
            return ""
        if self.dashboard.again:
            return f"once more:  {self.dashboard.again}"
        state = "goes on" if view.live else f"is {view.state}"
        return (
            f"{view.id} {state}.\n"
            f"  come back:  effnet-tui {view.id}\n"
            f"  look once:  effnet-tui --once {view.id}"
        )

    def look_for_restart(self) -> None:
        """Ask, in a thread, which checkpoint a resume would take."""
        source = self.source
        if source is None:
            return

        def work() -> str:
            self.post_message(RestartChosen(source.restart()))
            return ""

        in_background(self, "resume-choice", work)

    def action_resume(self) -> None:
        """One key: a new attempt from the newest good checkpoint."""
        view = self.view
        if view is None:
            return
        run, source = view.id, self.dashboard.source
        self.app.clear_notifications()  # why the last one was refused
        self.notify(f"$ {source.command('resume', run, {})}", timeout=4, markup=False)
        in_background(self, "resume", lambda: source.resume(run))

    def action_stop(self) -> None:
        """Ask, naming run, nodes and ranks."""
        view = self.view
        if view is None:
            return
        run, source = view.id, self.dashboard.source
        who = plural(len(view.ranks), "rank")
        nodes = ", ".join(view.nodes[:6]) + (" …" if len(view.nodes) > 6 else "")

        def answered(answer: str | None) -> None:
            if answer:
                self.notify(f"stopping {run} …", timeout=4)
                in_background(self, "stop", lambda: source.stop(run, answer == "save"))

        self.app.push_screen(
            ConfirmScreen(
                f"End run {run}?",
                [
                    f"{who} on {plural(len(view.nodes), 'node')}: {nodes}",
                    "Save and stop: all ranks save at the same step boundary, then end.",
                    "Stop now: they end at once; what came after the last checkpoint is lost.",
                ],
                [
                    Answer("save", "Save and stop", source.command("stop", run, {})),
                    Answer("now", "Stop now", source.command("stop", run, {SAVE: NO})),
                ],
                bad=True,
            ),
            answered,
        )

    def action_eval(self) -> None:
        """Evaluate a checkpoint."""
        self._job("eval")

    def action_export(self) -> None:
        """Export a checkpoint."""
        self._job("export")

    def action_infer(self) -> None:
        """An exported file over a folder of images."""
        self._job("infer")

    def action_results(self) -> None:
        """Checkpoints, what they were evaluated to, and jobs."""
        from tui.screens.results import ResultsScreen

        view = self.view
        if view is None:
            return
        readonly = self.dashboard.readonly

        def answered(wanted: tuple[str, str] | None) -> None:
            if wanted is not None:
                self._job(*wanted)

        self.app.push_screen(ResultsScreen(view, readonly), answered)

    def show_results(self) -> None:
        """Keep an open table of results up to date."""
        from tui.screens.results import ResultsScreen

        top = self.app.screen
        if isinstance(top, ResultsScreen) and self.view is not None:
            top.show(self.view)

    def _job(self, kind: str, checkpoint: str = "") -> None:
        from tui.screens.job import JobScreen

        view = self.view
        if view is None:
            return
        source, run = self.dashboard.source, view.id

        def answered(options: dict[str, str] | None) -> None:
            if options is not None:
                self.notify(f"{kind} started; t shows how far it is and its result", timeout=4)
                in_background(self, kind, lambda: source.start_job(run, kind, options))

        self.app.push_screen(JobScreen(view, kind, source.command, checkpoint), answered)

    def action_copy(self) -> None:
        """The command that shows this run without a screen."""
        view = self.view
        if view is None:
            return
        failed = self.restart is not None and self.restart.possible and not view.live
        action = "resume" if failed else "status"
        try:
            command = self.dashboard.source.command(action, view.id, {})
        except SourceError as problem:
            self.notify(str(problem), severity="warning")
            return
        self.dashboard.copy_text(command, command)

    def on_action_done(self, message: ActionDone) -> None:
        """Say how it went."""
        if message.answer:
            self.notify(f"{message.action}: {message.answer}", timeout=6, markup=False)
        self.look_now()

    def on_action_failed(self, message: ActionFailed) -> None:
        """Say why not, longer."""
        if message.action == "resume-choice":
            self.post_message(
                RestartChosen(Restart(False, None, None, None, "", message.problem, False, ""))
            )
            return
        text = f"{message.action}: {message.problem}"
        # What stands in a resume's way takes a while to read, and to type.
        timeout_s = 60 if message.action == "resume" else 15
        self.notify(text, severity="error", timeout=timeout_s, markup=False)
