"""The checks of a new run: marks that turn green or red as answers come, with their fixes."""

from __future__ import annotations

import textwrap
from typing import Final

from rich.segment import Segment
from rich.style import Style

from launcher.core.text.figures import plural
from tui.drawing.text import clean, fit
from tui.model.checks import FAILED, OK, PENDING, SKIPPED, WARNING, CheckBoard, Group
from tui.widgets.lines import Line, LineView, bar

NAME_WIDTH: Final = 15
MARK_WIDTH: Final = 2
MANY_NODES: Final = 3


class CheckList(LineView):
    """As high as it needs to be; with little room, green checks are hidden first."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._board = CheckBoard()
        self._has_nodes = False
        self._room = self._most = 8

    def show(self, board: CheckBoard, room: int, most: int) -> None:
        """``room``: lines for all checks; those that failed or warn may take up to ``most``."""
        self._board, self._room, self._most = board, max(room, 2), max(most, 2)
        self.draw()

    def draw(self) -> None:
        width = self.content_size.width or self.app.size.width
        lines = self._lines_of(width)
        self.styles.height = len(lines)
        self.set_lines(lines)

    def _lines_of(self, width: int) -> list[Line]:
        board, palette = self._board, self.palette
        self._has_nodes = len({node for _, node in board.expected}) > 1
        style = palette.bad if board.failed or board.problem else palette.muted
        if board.is_green:
            style = palette.good
        words = f"checks  {clean(board.words)}"
        after = fit(f"  {board.next_words} ", max(width - len(words) - 1, 0), ">")
        head = bar([Segment(f"{words} ", style), Segment(after, palette.text)], width, palette.bar)
        groups = board.groups()
        blocks = [(group, self._block(group, width)) for group in groups]
        if 1 + sum(len(block) for _, block in blocks) > self._room:
            blocks = [(group, block) for group, block in blocks if group.state not in (OK, SKIPPED)]
        lines: list[Line] = [head, *(line for _, block in blocks for line in block)]
        if len(lines) > self._most:
            left = len(lines) - self._most + 1
            more = f"  {plural(left, 'more line')}: effnet-launch preflight shows all"
            lines = [*lines[: self._most - 1], [Segment(fit(more, width), palette.muted)]]
        return lines

    def _block(self, group: Group, width: int) -> list[Line]:
        """The line of a group; a failed check is shown in full, on as many lines as it needs."""
        palette = self.palette
        mark, style = self._mark(group)
        nodes = _nodes(group) if self._has_nodes else ""
        text = clean(group.text)
        words = " ".join(part for part in (nodes, text) if part)
        if group.is_ignored:
            words = f"ignored: {words}"
        room = max(width - MARK_WIDTH - NAME_WIDTH, 20)
        name = fit(group.check, NAME_WIDTH)
        if group.state not in (FAILED, WARNING):
            tone = palette.muted if group.state in (PENDING, SKIPPED) else palette.text
            return [[Segment(f"{mark} {name}", style), Segment(fit(words, room), tone)]]
        texts = [(part, style) for part in textwrap.wrap(words, room) or [""]]
        hint = [] if group.is_ignored else textwrap.wrap(clean(group.hint), room - 2)
        leads = [self.glyphs.arrow, *" " * len(hint)]
        texts += [(f"{lead} {part}", palette.text) for lead, part in zip(leads, hint, strict=False)]
        heads = [f"{mark} {name}", *[" " * (MARK_WIDTH + NAME_WIDTH)] * len(texts)]
        return [
            [Segment(head, style), Segment(fit(text, room), tone)]
            for head, (text, tone) in zip(heads, texts, strict=False)
        ]

    def _mark(self, group: Group) -> tuple[str, Style]:
        palette, glyphs = self.palette, self.glyphs
        if group.is_ignored:
            return "!", palette.warn
        return {
            OK: (glyphs.ok, palette.good),
            FAILED: (glyphs.bad, palette.bad),
            WARNING: ("!", palette.warn),
            SKIPPED: ("-", palette.muted),
            PENDING: (".", palette.muted),
        }[group.state]


def _nodes(group: Group) -> str:
    """Which nodes, if that matters."""
    if len(group.nodes) > MANY_NODES:
        if group.state not in (FAILED, WARNING):
            return plural(len(group.nodes), "node")
        named = ", ".join(map(clean, group.nodes[:MANY_NODES]))
        return f"{named} and {len(group.nodes) - MANY_NODES} more:"
    named = ", ".join(map(clean, group.nodes))
    return f"{named}:" if group.text else named
