"""The part of a log that is on the screen: position, following, search and filter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from launcher.core.text.figures import plural
from tui.drawing.text import fit_middle
from tui.logs.log_source import ERROR, LEVELS, WARNING, LogSource
from tui.logs.match_count import MatchCount

NO_NUMBER: Final = -1
FOLLOWED_LINES: Final = 200  # kept of a filtered log that is followed; no screen is higher


@dataclass(frozen=True, slots=True)
class LogFrame:
    """What the log widget draws."""

    label: str = ""
    total: int = 0
    lines: tuple[tuple[int, str], ...] = ()  # line number from 0, text
    follow: bool = True
    match: int | None = None
    pattern: re.Pattern[str] | None = None
    search_text: str = ""
    matches: str = ""  # ``3/41``: which match, of how many
    level: str = "all"
    filter_text: str = ""
    note: str = ""
    prefix: int = 0  # characters that name a line's rank


class LogWindow:
    """The state of the panel over a :class:`LogSource`; ``frame`` is what to draw."""

    def __init__(self, source: LogSource, label: str) -> None:
        self._source = source
        self.label = label
        self.height = 10
        self.follow = True
        self._top = 0
        self._total = 0
        self._search: re.Pattern[str] | None = None
        self._search_text = ""
        self._count: MatchCount | None = None
        self._match: int | None = None
        self._level = "all"
        self._filter: re.Pattern[str] | None = None
        self._filter_text = ""
        self._note = ""
        self._paused_search: tuple[re.Pattern[str], int, int] | None = None
        self._followed: tuple[re.Pattern[str], int, list[tuple[int, str]]] | None = None
        self._last: LogFrame | None = None
        self._last_state: tuple[object, ...] = ()

    def rename(self, label: str) -> None:
        self.label = label
        self._last = None

    def frame(self) -> LogFrame:
        """Read new lines. -> what to show; the same object when nothing has changed."""
        self._total = self._source.refresh()
        counted = self._source.is_counted
        if self._count is not None and counted:
            self._count.advance(self._total)
        matches = self._matches()
        state = (
            self._total, counted, self.height, self.follow, self._top if not self.follow else 0,
            self._search, self._match, self._level, self._filter_text, self._note, matches,
        )  # fmt: skip
        if self._last is not None and state == self._last_state:
            return self._last
        keep = self._keep
        if self.follow and not counted and keep is None:
            found = [(NO_NUMBER, text) for text in self._source.tail(self.height)]
        elif self.follow and keep is not None:
            found = self._follow_filtered(keep)
        elif self.follow:
            found = self._backward(self._total - 1, self.height, keep)
        else:
            found = self._forward(self._top, self.height, keep)
            missing = self.height - len(found)
            if missing > 0 and keep is not None:
                found = self._backward(self._top - 1, missing, keep) + found
        if found and found[0][0] != NO_NUMBER and (keep is None or self.follow):
            self._top = found[0][0]
        note = self._note if counted or self._note else "still counting lines"
        self._last_state = state
        self._last = LogFrame(
            self.label, self._total, tuple(found), self.follow, self._match, self._search,
            self._search_text, matches, self._level, self._filter_text, note, self._source.prefix,
        )  # fmt: skip
        return self._last

    def _matches(self) -> str:
        if self._count is None:
            return ""
        number = self._count.number_of(self._match)
        count = f"{len(self._count)}{'' if self._count.is_whole else '+'}"
        return f"{number}/{count}" if number else f"{count} match{'' if count == '1' else 'es'}"

    @property
    def _keep(self) -> re.Pattern[str] | None:
        if self._filter is not None:
            return self._filter
        return {"error": ERROR, "warning": _WARNING_OR_ERROR}.get(self._level)

    def move(self, by: int) -> None:
        """Scroll by lines; past the end it follows again."""
        self._note = ""
        keep = self._keep
        if by < 0:
            if self.follow:  # the height may have changed since the last frame
                shown = self._backward(self._total - 1, self.height, keep)
                self._top = shown[0][0] if shown else 0
            found = self._backward(self._top - 1, -by, keep)
            self.follow = False
            if found:
                self._top = found[0][0]
            return
        if self.follow:
            return
        found = self._forward(self._top, by + self.height, keep)
        if len(found) < by + self.height:
            self.follow = True
        else:
            self._top = found[by][0]

    def home(self) -> None:
        self.follow, self._top, self._note, self._match = False, 0, "", None

    def end(self) -> None:
        self.follow, self._note, self._match = True, "", None

    def hold(self) -> None:
        self.follow = not self.follow

    def search(self, text: str) -> None:
        """Search for a regular expression, newest match first; empty ends the search."""
        self._match, self._note, self._count = None, "", None
        self._search, self._search_text = compile_pattern(text), text
        if self._search is not None:
            self._count = MatchCount(self._source, self._search)
            self.again(-1, self._total)

    def clear(self) -> None:
        """End the search and the filter; what is in view stays."""
        self.search("")
        self.set_filter("")

    def again(self, step: int, start: int | None = None) -> None:
        """The next (1) or previous (-1) match of the search."""
        if self._search is None:
            self._note = "no search yet: press /"
            return
        self._jump(self._search, step, start, "match")

    def error(self, step: int) -> None:
        """The next (1) or previous (-1) line that reports an error."""
        self._jump(ERROR, step, None, "error")

    def go(self, line: int) -> None:
        """Hold with ``line`` in view and marked."""
        self.follow = False
        self._match = line
        self._top = max(0, line - self.height // 3)

    def go_offset(self, offset: int) -> None:
        """As ``go``, for the line at a byte offset."""
        self._total = self._source.refresh()
        line = self._source.line_at(offset)
        if line is None:
            self._note = "that line is not in the log any more"
        else:
            self.go(line)

    def next_level(self) -> None:
        """all → warnings and errors → errors → all."""
        self._level = LEVELS[(LEVELS.index(self._level) + 1) % len(LEVELS)]
        self._filter, self._filter_text, self._note = None, "", ""
        self._settle()

    def set_filter(self, text: str) -> None:
        """Show only lines that match a regular expression; empty shows everything."""
        self._filter = compile_pattern(text)
        self._filter_text = text if self._filter is not None else ""
        self._level, self._note = "all", ""
        self._settle()

    def _settle(self) -> None:
        if not self.follow and not self._forward(self._top, 1, self._keep):
            self.follow = True

    def _jump(self, pattern: re.Pattern[str], step: int, start: int | None, what: str) -> None:
        if start is None:
            at = self._match
            start = step + (at if at is not None else self._total if step < 0 else -1)
        if self._paused_search is not None and self._paused_search[:2] == (pattern, step):
            start = self._paused_search[2]
        self._paused_search = None
        inside = 0 <= start <= self._total
        found = self._source.matches(pattern, start, step, 1) if inside else []
        if found:
            self._note = ""
            self.go(found[0][0])
            return
        stopped = self._source.stopped_at if inside else None
        if stopped is None:
            self._note = f"no {'later' if step > 0 else 'earlier'} {what}"
        else:
            self._paused_search = (pattern, step, stopped)
            self._note = f"no {what} up to line {stopped + 1}; the same key continues"

    def _follow_filtered(self, keep: re.Pattern[str]) -> list[tuple[int, str]]:
        # Only new lines are searched: the whole log, four times a second, would use a core.
        before = self._followed
        if before is None or before[0] is not keep or before[1] > self._total:
            found = self._backward(self._total - 1, FOLLOWED_LINES, keep)
        else:
            # The last line may have been incomplete.
            first = max(before[1] - 1, 0)
            new = self._source.matches(keep, first, 1, max(self._total - first, 1))
            found = [line for line in before[2] if line[0] < first] + new
        self._followed = (keep, self._total, found[-FOLLOWED_LINES:])
        return found[-self.height :]

    def _forward(
        self, first: int, count: int, keep: re.Pattern[str] | None
    ) -> list[tuple[int, str]]:
        if keep is None:
            return list(enumerate(self._source.lines(first, count), first))
        return self._source.matches(keep, first, 1, count) if first < self._total else []

    def _backward(
        self, last: int, count: int, keep: re.Pattern[str] | None
    ) -> list[tuple[int, str]]:
        if keep is None:
            first = max(last + 1 - count, 0)
            return list(enumerate(self._source.lines(first, last + 1 - first), first))
        return self._source.matches(keep, last, -1, count)[::-1] if last >= 0 else []


_WARNING_OR_ERROR: Final = re.compile(f"{ERROR.pattern}|{WARNING.pattern}", re.IGNORECASE)


def compile_pattern(text: str) -> re.Pattern[str] | None:
    """A regular expression; invalid ones are searched as text. ``None`` when empty.

    Upper-case letters in ``text`` make it case-sensitive.
    """
    if not text:
        return None
    flags = re.RegexFlag(0) if text != text.lower() else re.IGNORECASE
    try:
        return re.compile(text, flags)
    except re.error:
        return re.compile(re.escape(text), flags)


def describe(frame: LogFrame) -> str:
    """The log's title line."""
    parts = [frame.label]
    if frame.search_text:
        parts.append(f"search {fit_middle(frame.search_text, 24)} {frame.matches}")
    parts += ["following" if frame.follow else "held", plural(frame.total, "line")]
    if frame.filter_text:
        parts.append(f"filter {frame.filter_text}")
    elif frame.level != "all":
        parts.append(f"{frame.level}s only" if frame.level == "error" else "warnings and errors")
    if frame.note:
        parts.append(frame.note)
    return "  ".join(parts)
