"""What the run screen can change. Each action shows its command before it is sent."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from launcher.core.run.checkpoints import ResumeChoice
from launcher.core.run.requests import PROGRAM, Request, ResumeRequest, StacksRequest, StopRequest
from launcher.core.text.figures import plural
from tui.model.derived import is_live, nodes_of
from tui.model.run import RESUMABLE_STATES
from tui.screens.confirm import Answer, ConfirmScreen
from tui.screens.run_log import RunLog
from tui.sources.feed import in_background
from tui.sources.messages import ActionDone, ActionFailed, RestartChosen

if TYPE_CHECKING:
    from launcher.client import RunSnapshot
    from tui.screens.request import RequestScreen

JOBS = ("eval", "export", "infer")


class RunActions(RunLog):
    """Stop, resume, eval, export, infer, stacks, note, copy."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "resume", "Resume", id="run.resume"),
        Binding("s", "stop", "Stop", id="run.stop"),
        Binding("e", "job('eval')", "Eval", id="run.eval"),
        Binding("x", "job('export')", "Export", id="run.export"),
        Binding("i", "job('infer')", "Infer", show=False, id="run.infer"),
        Binding("t", "results", "Results", id="run.results"),
        Binding("d", "stacks", "Stacks of all ranks", show=False, id="run.stacks"),
        Binding("b", "note", "Note", show=False, id="run.note"),
        Binding("y", "copy", "Copy command", show=False, id="run.copy"),
    ]

    restart: ResumeChoice | None = None

    def poll_now(self) -> None:
        if self.feed is not None:
            self.feed.wake()

    @property
    def snapshot(self) -> RunSnapshot | None:
        return None if self.frame is None else self.frame.snapshot

    def refusal(self, action: str, parameters: tuple[object, ...]) -> str:
        if action not in ("resume", "stop", "job", "stacks", "note", "results"):
            return super().refusal(action, parameters)
        frame = self.frame
        is_watched = self.snapshot is not None and self.snapshot.is_watched
        if (action != "results" or is_watched) and self.dashboard.read_only:
            return self.dashboard.read_only
        if frame is None:
            return "the run is not read yet"
        status = frame.snapshot.status
        if action == "resume" and status not in RESUMABLE_STATES:
            return f"the run is {status.value}; a failed, stopped or lost run can be resumed"
        if action == "stop" and frame.snapshot.kept is not None:
            return ""
        if action in ("stop", "stacks") and not is_live(status):
            return f"the run is {status.value} already"
        if action == "job" and frame.snapshot.runs_script:
            return f"{parameters[0]} is for the bundled trainer; this run has a script of its own"
        if action == "job" and parameters != ("infer",) and not frame.checkpoints:
            return "the run has no checkpoint yet"
        return ""

    def farewell(self) -> str:
        """What is printed after ``q``."""
        run = self.snapshot
        if run is None:
            return ""
        if self.dashboard.again:
            return f"play again:  {self.dashboard.again}"
        state = "continues" if is_live(run.status) else f"is {run.status.value}"
        if run.is_watched and run.info is not None:
            return f"{run.run} {state}.\n  come back:  {shlex.join(run.info.command)}"
        return (
            f"{run.run} {state}.\n"
            f"  come back:        effnet-tui {run.run}\n"
            f"  print a picture:  effnet-tui --once {run.run}"
        )

    def look_for_restart(self) -> None:
        """Find the checkpoint that a resume would use, in a thread."""
        source = self.source
        if source is not None:
            in_background(self, "resume-choice", lambda: RestartChosen(source.restart()))

    def action_resume(self) -> None:
        from tui.screens.job import resume_screen

        if self.frame is not None:
            self.app.clear_notifications()  # why the last one was refused
            self._open(resume_screen(self.frame, self.restart))
            if self.restart is None:
                self.look_for_restart()

    def _open(self, form: RequestScreen) -> None:
        """Show a form, then send the request that it returns."""
        run = form.target

        def answered(request: Request | None) -> None:
            if request is not None:
                self.send(run, request, f"$ {shlex.join(request.command(run))}")

        self.app.push_screen(form, answered)

    def send(self, run: str, request: Request, text: str) -> None:
        """Carry out an action in a thread; ``text`` is shown at once."""
        send = self.dashboard.send
        self.notify(text, timeout=4)
        in_background(self, request.action, lambda: ActionDone(request.action, send(run, request)))

    def action_stop(self) -> None:
        run = self.snapshot
        if run is None:
            return
        if run.kept is not None:
            self.send(run.run, StopRequest(), f"ending {run.kept.what} …")
            return
        name, nodes = run.run, nodes_of(run)
        who = plural(len(run.ranks), "rank")
        named = ", ".join(nodes[:6]) + (" …" if len(nodes) > 6 else "")

        def answered(answer: str | None) -> None:
            if answer:
                self.send(name, StopRequest(answer == "save"), f"stopping {name} …")

        self.app.push_screen(
            ConfirmScreen(
                f"Stop run {name}?",
                [
                    f"{who} on {plural(len(nodes), 'node')}: {named}",
                    "Save and stop: all ranks save after the same step, then exit.",
                    "Stop now: all ranks exit at once; steps since the last checkpoint are lost.",
                ],
                [
                    Answer("save", "Save and stop", shlex.join(StopRequest().command(name))),
                    Answer("now", "Stop now", shlex.join(StopRequest(False).command(name))),
                ],
            ),
            answered,
        )

    def action_stacks(self) -> None:
        """The ranks continue, so nothing is asked; the answer says what they do."""
        run = self.snapshot
        if run is not None:
            request = StacksRequest()
            self.send(run.run, request, f"$ {shlex.join(request.command(run.run))}")

    def action_note(self) -> None:
        from tui.screens.job import note_screen

        if self.snapshot is not None:
            self._open(note_screen(self.snapshot))

    def action_results(self) -> None:
        from tui.screens.results import ResultsScreen

        if self.frame is None:
            return

        def answered(wanted: tuple[str, str] | None) -> None:
            if wanted is not None:
                self.action_job(*wanted)

        self.app.push_screen(ResultsScreen(self.frame), answered)

    def show_results(self) -> None:
        """Update an open table of results."""
        from tui.screens.results import ResultsScreen

        top = self.app.screen
        if isinstance(top, ResultsScreen) and self.frame is not None:
            top.show(self.frame)

    def action_job(self, kind: str, checkpoint: str = "") -> None:
        """The form of an ``eval``, ``export`` or ``infer`` job."""
        from tui.screens.job import job_screen

        if self.frame is not None:
            self._open(job_screen(self.frame, kind, checkpoint))

    def action_copy(self) -> None:
        """The command that resumes a failed run, or shows the status of another."""
        run = self.snapshot
        if run is None:
            return
        choice = self.restart
        failed = choice is not None and choice.path is not None and not is_live(run.status)
        words = ResumeRequest().command(run.run) if failed else [PROGRAM, "status", run.run]
        if run.is_watched:
            words = [PROGRAM, "watch", "--once", run.run]
        self.dashboard.copy_text(shlex.join(words), shlex.join(words))

    def on_action_done(self, message: ActionDone) -> None:
        if message.answer:
            job = "; press t for progress and result" if message.action in JOBS else ""
            timeout_s = 30 if message.action == StacksRequest.action else 6
            self.notify(f"{message.action}: {message.answer}{job}", timeout=timeout_s)
        self.poll_now()

    def on_action_failed(self, message: ActionFailed) -> None:
        if message.action == "resume-choice":
            self.post_message(RestartChosen(ResumeChoice(None, message.problem)))
            return
        text = f"{message.action}: {message.problem}"
        # The problems of a resume need time to read, and to type.
        timeout_s = 60 if message.action == "resume" else 15
        self.notify(text, severity="error", timeout=timeout_s)
