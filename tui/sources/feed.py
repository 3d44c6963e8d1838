"""The worker threads: they poll the source and post frozen records; they never touch a widget.

A feed has at most one message under way: the next poll waits until the last one was drawn, so a
slow terminal slows the polling down instead of filling a queue.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from textual.message import Message
from textual.message_pump import MessagePump

from tui.logs.log_window import LogFrame, LogWindow
from tui.model.run import FrameRequest
from tui.sources.messages import ActionFailed, LogRead, RunPolled, SourceFailed
from tui.sources.source import RunSource, SourceError

ANSWER_LIMIT_S: Final = 5.0  # without an answer for so long, the next poll does not wait
REST: Final = 12.0
"""After a poll, a feed rests for so many times the CPU time that it took: a run of a thousand ranks
must not take a core. Not for longer than ``MAX_REST_S``, and a key still polls at once."""
MAX_REST_S: Final = 3.0
PROBLEMS: Final = (SourceError, OSError, ValueError)


class Feed(threading.Thread):
    """Polls every ``period_s()`` seconds, or right after ``wake``; a daemon thread.

    ``poll`` returns ``None`` when nothing is new.
    """

    def __init__(
        self,
        target: MessagePump,
        period_s: Callable[[], float],
        name: str,
        poll: Callable[[], Message | None],
    ) -> None:
        super().__init__(name=f"effnet-tui-{name}", daemon=True)
        self._poll = poll
        self._target = target
        self._period_s = period_s
        self._wake = threading.Event()
        self._drawn = threading.Event()
        self._ended = threading.Event()
        self._may_poll = threading.Event()
        self._may_poll.set()

    def wake(self) -> None:
        self._wake.set()

    def hold(self) -> None:
        """Do not poll until ``go``."""
        self._may_poll.clear()

    def go(self) -> None:
        """Poll again, now."""
        self._may_poll.set()
        self.wake()

    def drawn(self) -> None:
        """The last message was drawn."""
        self._drawn.set()

    def end(self) -> None:
        """Stop; does not wait for the thread."""
        self._ended.set()
        self._may_poll.set()
        self._wake.set()
        self._drawn.set()

    def run(self) -> None:
        is_first = True  # it imports and opens what the others use
        while not self._ended.is_set():
            self._may_poll.wait()
            began_s = time.thread_time()
            try:
                message = self._poll()
            except PROBLEMS as problem:
                message = SourceFailed(str(problem) or type(problem).__name__)
            # Without this the thread would die and the screen would show old figures.
            except Exception as problem:  # noqa: BLE001
                message = SourceFailed(f"bug in effnet-tui: {type(problem).__name__}: {problem}")
            took_s = time.thread_time() - began_s
            if message is not None:
                self._drawn.clear()
                if self._ended.is_set() or not post(self._target, message):
                    return
                self._drawn.wait(ANSWER_LIMIT_S)
            rest_s = 0.0 if is_first else min(REST * took_s, MAX_REST_S)
            is_first = False
            self._wake.wait(max(self._period_s(), rest_s))
            self._wake.clear()


class RunFeed(Feed):
    """One run, for its screen; ``request`` says what the screen shows."""

    def __init__(
        self, target: MessagePump, opener: Callable[[], RunSource], period_s: Callable[[], float]
    ) -> None:
        super().__init__(target, period_s, "run", self.poll)
        self._opener = opener
        self.source: RunSource | None = None
        self.request = FrameRequest()

    def poll(self) -> Message | None:
        """What the screen shows. The first poll opens the run, which reads its files."""
        if self.source is None:
            self.source = self._opener()
        return RunPolled(self.source.frame(self.request))


class LogFeed(Feed):
    """One log window; commands are carried out here, since a search may read gigabytes."""

    def __init__(self, target: MessagePump, period_s: Callable[[], float]) -> None:
        super().__init__(target, period_s, "log", self.poll)
        self._commands: deque[Callable[[LogWindow], None]] = deque()
        self._opener: Callable[[], LogWindow] | None = None
        self._window: LogWindow | None = None
        self._height = 10
        self._last: LogFrame | None = None

    def open(self, opener: Callable[[], LogWindow]) -> None:
        """Show another log; ``opener`` is called in this thread."""
        self._opener = opener
        self.wake()

    def give(self, command: Callable[[LogWindow], None]) -> None:
        """Apply a command to the window in this thread, soon."""
        self._commands.append(command)
        self.wake()

    def poll(self) -> Message | None:
        """The window's lines, when they differ from the last ones."""
        opener, self._opener = self._opener, None
        if opener is not None:
            self._window = opener()
            self._window.height = self._height
            self._window.frame()  # a search that was typed before begins at the log's end
        window = self._window
        if window is None:
            return None
        while self._commands:
            self._commands.popleft()(window)
        self._height = window.height
        frame = window.frame()
        if frame == self._last:
            return None
        self._last = frame
        return LogRead(frame)


def in_background(target: MessagePump, action: str, work: Callable[[], Message]) -> None:
    """Do ``work`` in its own thread and post its message, or that it failed, to ``target``."""

    def body() -> None:
        try:
            message = work()
        except PROBLEMS as problem:
            message = ActionFailed(action, str(problem) or type(problem).__name__)
        post(target, message)

    threading.Thread(target=body, name=f"effnet-tui-{action}", daemon=True).start()


def post(target: MessagePump, message: Message) -> bool:
    """Post from a worker thread. -> False when the screen is gone."""
    try:
        return target.post_message(message)
    except RuntimeError:  # the event loop has closed
        return False
