"""The log of the run screen: it follows the cursor of the rank table, in its own thread."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from launcher.core.diagnosis.words import ranks_in_words
from tui.drawing.text import clean, fit_middle
from tui.logs.log_window import LogWindow
from tui.model.derived import failure_of
from tui.model.run import RunFrame
from tui.screens.run_panels import RunPanels
from tui.sources.messages import LogRead
from tui.widgets.log_view import Command, LogView
from tui.widgets.prompt import Prompt
from tui.widgets.rank_table import RankTable


class RunLog(RunPanels):
    """The log panel and the marks of the rank table that choose its ranks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "all_logs", "All logs", show=False),
        Binding("slash", "ask('search')", "Search"),
        Binding("f", "ask('filter')", "Filter", show=False),
        Binding("colon", "ask('rank')", "Go to rank", show=False),
        Binding("left_curly_bracket", "attempt(-1)", "Earlier attempt", show=False),
        Binding("right_curly_bracket", "attempt(1)", "Later attempt", show=False),
        Binding("5", "instead('events')", "Events/log", show=False),
        Binding("6", "instead('times')", "Where time went/log", show=False),
    ]

    log_ranks: tuple[int, ...] = ()  # marked: their logs as one; none: the rank under the cursor
    log_rank: int | None = None
    log_attempt: int | None = None
    _log_label: str = ""
    _instead = ""  # of the log: `events` or `times`

    def on_log_read(self, message: LogRead) -> None:
        self.query_one(LogView).show(message.frame)
        if self.log_feed is not None:
            self.call_after_refresh(self.log_feed.drawn)

    def on_rank_table_rank_chosen(self, message: RankTable.RankChosen) -> None:
        """The log follows the cursor, unless ranks are marked for it."""
        if self.log_ranks or self._instead:
            self.log_rank = message.rank
        else:
            self.open_log(message.rank)

    def on_rank_table_ranks_marked(self, message: RankTable.RanksMarked) -> None:
        ranks = tuple(sorted(message.ranks))
        if ranks != self.log_ranks:
            self.log_ranks = ranks
            self.open_log(self.log_rank)

    def action_all_logs(self) -> None:
        """The logs of all ranks as one; pressed again, of the rank under the cursor."""
        if self.frame is not None:
            every = frozenset(rank.rank for rank in self.frame.snapshot.ranks)
            some = every if len(self.log_ranks) < len(every) else frozenset()
            self.query_one(RankTable).mark(some)

    def on_rank_table_log_wanted(self) -> None:
        """Focus the log; after a failure, at the line that explains it."""
        if self._instead:
            self.action_instead("")
        run = None if self.frame is None else self.frame.snapshot
        failure = None if run is None else failure_of(run)
        table = self.query_one(RankTable)
        self.query_one(LogView).focus()
        if run is None or failure is None:
            return
        offset = failure.log_offset
        if offset is not None and table.rank == failure.rank:
            if self.log_ranks:  # an offset is one of a single log
                self.log_ranks = ()
                self.open_log(failure.rank)
                table.mark(frozenset())
            self._give_log(lambda window: window.go_offset(offset))

    def action_ask(self, what: str) -> None:
        """Open the line for a search, a filter or a rank."""
        self.query_one(Prompt).ask(what)

    def on_prompt_answered(self, message: Prompt.Answered) -> None:
        text = message.text
        if message.purpose == "rank":
            self._go_to_rank(text.strip())
            return
        self.show_log()
        self.query_one(LogView).focus()
        searches = message.purpose == "search"
        self._give_log(lambda log: log.search(text) if searches else log.set_filter(text))

    def _go_to_rank(self, text: str) -> None:
        table = self.query_one(RankTable)
        table.focus()
        if text and not (text.isdecimal() and len(text) < 10 and table.go(int(text))):
            count = 0 if self.frame is None else len(self.frame.snapshot.ranks)
            self.notify(
                f"no rank {fit_middle(clean(text), 20)}: type 0 to {count - 1}",
                severity="warning",
                timeout=4,
            )

    def clears_log(self) -> bool:
        """End the log's search and filter. -> whether there was one."""
        frame = self.query_one(LogView).frame
        if not (frame.search_text or frame.filter_text):
            return False
        self._give_log(LogWindow.clear)
        return True

    def action_instead(self, what: str) -> None:
        """The events, or where the time went, in place of the log, or the log again."""
        self._instead = "" if what == self._instead else what
        self.show_log()
        self.open_log(self.log_rank)
        if self._instead:
            self.query_one(LogView).focus()

    def action_attempt(self, by: int) -> None:
        """Show the attempt before, or after, the one that is shown."""
        if self.frame is None or self.frame.snapshot.attempt is None:
            return
        numbers = [known.attempt for known in self.frame.snapshot.state.attempts]
        # The one asked for last: keys may be faster than frames. A replay may not have come to it.
        last = len(numbers) - 1
        shown = numbers.index(self.attempt) if self.attempt in numbers else last
        if not 0 <= shown + by < len(numbers):
            end = "first" if by < 0 else "newest"
            self.notify(f"attempt {numbers[shown]} is the {end}", timeout=3)
        else:
            self.show_attempt(numbers[shown + by])

    def show_attempt(self, attempt: int | None) -> None:
        """``None``: the newest, also when there is a newer one later."""
        known = () if self.frame is None else self.frame.snapshot.state.attempts
        is_newest = bool(known) and known[-1].attempt == attempt
        self.attempt = None if is_newest else attempt
        self._ask()

    def on_log_view_command_given(self, message: LogView.CommandGiven) -> None:
        self._give_log(message.command)

    def _give_log(self, command: Command) -> None:
        if self.log_feed is not None:
            self.log_feed.give(command)

    def open_log(self, rank: int | None = None) -> None:
        source, feed, frame = self.source, self.log_feed, self.frame
        if source is None or feed is None or frame is None or not frame.snapshot.ranks:
            return
        if rank is None:
            failure = failure_of(frame.snapshot)
            first = None if failure is None else failure.rank
            rank = frame.snapshot.ranks[0].rank if first is None else first
            self.query_one(RankTable).go(rank)
        self.log_rank, self.log_attempt = rank, frame.snapshot.attempt
        label = self._log_label = self._label_of(frame, rank)
        ranks, attempt = self.log_ranks, frame.snapshot.attempt
        earlier = attempt if frame.snapshot.is_earlier else None
        instead = self._instead

        def opened() -> LogWindow:
            if instead == "events":
                return LogWindow(source.events(earlier), label)
            if instead:
                window = LogWindow(source.times(), label)
                window.home()
                return window
            if len(ranks) > 1:
                return LogWindow(source.merged_log(ranks, attempt), label)
            return LogWindow(source.log(ranks[0] if ranks else rank, attempt), label)

        feed.open(opened)

    def name_log(self) -> None:
        """A log can be opened before the node of its rank is known."""
        if self.frame is None or self.log_rank is None:
            return
        label = self._label_of(self.frame, self.log_rank)
        if label != self._log_label and self.frame.snapshot.attempt == self.log_attempt:
            self._log_label = label
            self._give_log(lambda window: window.rename(label))

    def _label_of(self, frame: RunFrame, rank: int) -> str:
        if self._instead == "times":
            goodput = frame.snapshot.goodput
            # The panel is read again when its name changes.
            return "time" if goodput is None else f"time  {goodput.words.partition(':')[0]}"
        if self._instead:
            is_earlier = frame.snapshot.is_earlier
            return f"events attempt {frame.snapshot.attempt}" if is_earlier else "events"
        if len(self.log_ranks) > 1:
            every = len(self.log_ranks) == len(frame.snapshot.ranks)
            words = ranks_in_words(self.log_ranks, 0 if every else 6)
            label = f"log all {words}" if every else f"log {words}"
        else:
            rank = self.log_ranks[0] if self.log_ranks else rank
            node = next((row.node for row in frame.snapshot.ranks if row.rank == rank), None) or ""
            label = f"log rank {rank} {node}".rstrip()
        is_one_of_many = len(frame.snapshot.state.attempts) > 1
        return f"{label} attempt {frame.snapshot.attempt}" if is_one_of_many else label
