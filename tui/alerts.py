"""Alerts that a run failed, hangs or ended: bell, desktop notification, the user's command.

Desktop notifications go through the terminal, so they also work from remote machines; a terminal
that knows neither OSC 9 nor OSC 777 ignores them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from launcher.core.diagnosis.words import hang_words, headline, meaning
from tui.drawing.text import clean
from tui.model.derived import losses_of
from tui.model.run import LIVE_STATES, RunFrame

HUNG: Final = "hung"
_OSC_777: Final = ("rxvt", "foot", "mlterm")
_NEITHER: Final = ("linux", "vt100", "vt220", "dumb")
_TEXT_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Alert:
    """What happened to a run; ``state`` is its new one."""

    run: str
    state: str
    message: str


class AlertWatch:
    """Finds new alerts in what the screens poll. A run that was over before raises none."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    def of_run(self, run: str, state: str, message: str) -> Alert | None:
        """What is new of a run: it hangs, or it is over."""
        before = self._states.get(run)
        self._states[run] = state
        is_new = state != before and (state == HUNG or state not in LIVE_STATES)
        return Alert(run, state, message) if is_new and before in LIVE_STATES else None

    def of_frame(self, frame: RunFrame) -> Alert | None:
        """What is new of the run on the screen."""
        snapshot = frame.snapshot
        return self.of_run(snapshot.run, snapshot.status.value, message_of(frame))


def message_of(frame: RunFrame) -> str:
    """The state of a run that hangs or is over, and its cause, in one line."""
    snapshot = frame.snapshot
    if snapshot.hang is not None:
        return hang_words(snapshot.hang, snapshot.polled_s)
    failure, losses = snapshot.failure, losses_of(snapshot)
    if failure is not None and snapshot.status in ("failed", "failing"):
        return f"{headline(failure)}; {meaning(failure)}".removesuffix("; ")
    if snapshot.is_earlier:
        return snapshot.status.value
    epoch, _ = snapshot.position
    where = "" if epoch is None else f" in epoch {epoch + 1} of {snapshot.epochs or '?'}"
    known = [] if snapshot.loss is None else [text for text in losses if text]
    return ", ".join([f"{snapshot.status.value}{where}", *known])


def how_to_notify(wanted: str, environ: Mapping[str, str]) -> str:
    """``osc9``, ``osc777`` or ``off``: as set, else what the terminal is known to support."""
    if wanted:
        return wanted
    term = environ.get("TERM", "")
    if term.startswith(_NEITHER):
        return "off"
    return "osc777" if term.startswith(_OSC_777) or "VTE_VERSION" in environ else "osc9"


def sequence(alert: Alert, how: str, environ: Mapping[str, str]) -> str:
    """What to send to the terminal; the message cannot contain a control sequence."""
    title = f"effnet-tui: {alert.state}"
    text = clean(f"{alert.run}: {alert.message}")[:_TEXT_LIMIT]
    if how == "off":
        return ""
    body = f"9;{title} {text}" if how == "osc9" else f"777;notify;{title};{text}"
    osc = f"\x1b]{body}\x07"
    if environ.get("TMUX"):
        # Passed on only with `set -g allow-passthrough on`.
        return "\x1bPtmux;" + osc.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    return f"\x1bP{osc}\x1b\\" if environ.get("STY") else osc


def run_hook(hook: Sequence[str], alert: Alert, failed: Callable[[str], None]) -> None:
    """Runs the user's command, without a shell or waiting; ``failed`` is called in a thread."""

    def body() -> None:
        variables = {"RUN": alert.run, "STATE": alert.state, "MESSAGE": alert.message}
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        try:
            # Its own process group: it survives the dashboard and ctrl+c in the terminal.
            pid = os.posix_spawnp(
                hook[0], list(hook), {**os.environ, **variables}, file_actions=null, setpgroup=0
            )
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except (OSError, ValueError) as problem:
            failed(f"hook {hook[0]}: {problem}")
            return
        if code:
            failed(f"hook {hook[0]}: exit code {code}")

    threading.Thread(target=body, name="effnet-tui-hook", daemon=True).start()
