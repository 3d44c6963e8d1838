"""The base of the line-API widgets: it repaints the lines that changed and no other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.context import context_of
from tui.drawing.glyphs import Glyphs
from tui.drawing.themes import Palette

Line = Sequence[Segment]


def cells(line: Line) -> int:
    """How wide a line is."""
    # Most text is ASCII, whose width needs no table.
    return sum(len(part.text) if part.text.isascii() else part.cell_length for part in line)


def filled(line: Line, width: int) -> list[Segment]:
    """``line`` with spaces up to ``width`` cells."""
    return [*line, Segment(" " * max(width - cells(line), 0))]


def bar(line: Line, width: int, style: Style) -> Line:
    """A panel's title line: ``line`` on the bar's background, filled to ``width`` cells."""
    return [
        Segment(part.text, style if part.style is None else style + part.style)
        for part in filled(line, width)
    ]


class LineView(Widget):
    """Shows lines of segments; ``set_lines`` marks only those that differ as dirty."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._lines: list[Strip] = []
        self._painted: dict[int, tuple[Strip, tuple[int, int, Style], Strip]] = {}
        self.lines_painted = 0  # since the start, for tests and the benchmark

    @property
    def palette(self) -> Palette:
        return context_of(self).palette

    @property
    def glyphs(self) -> Glyphs:
        return context_of(self).glyphs

    @property
    def has_keys(self) -> bool:
        """Whether the keys go here: a panel under a dialog keeps its focus for later."""
        return self.has_focus and self.screen.is_active

    def draw(self) -> None:
        """Make the lines anew: the size, focus, theme or glyphs have changed."""

    def on_resize(self) -> None:
        self.draw()

    def watch_has_focus(self, has_focus: bool) -> None:
        """The cursor comes and goes. ``on_focus`` would run before ``has_focus`` is true."""
        super().watch_has_focus(has_focus)
        self.draw()

    def set_lines(self, lines: Iterable[Line]) -> None:
        """Show these lines, top to bottom; those below the widget's height are not painted."""
        old = self._lines
        new: list[Strip] = []
        dirty: list[int] = []
        for y, line in enumerate(lines):
            segments = list(line)
            if y < len(old) and old[y]._segments == segments:
                new.append(old[y])  # it has cached its width and rendering
            else:
                new.append(Strip(segments))
                dirty.append(y)
        dirty.extend(range(len(new), len(old)))
        self._lines = new
        if dirty:
            width = self.content_size.width
            self.refresh(*(Region(0, y, width, 1) for y in dirty))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines of ``crop``, in the widget's own colours where a segment has none.

        Textual's method computes borders, titles and tints for each line, which took a third of
        the dashboard's time; these widgets have only padding.
        """
        base = self.visual_style.rich_style
        padding, width = self.styles.padding, self.outer_size.width
        strips = [
            self._whole_line(y - padding.top, padding.left, width, base) for y in crop.line_range
        ]
        for line_filter in self.get_line_filters():
            background = self.background_colors[1]
            strips = [strip.apply_filter(line_filter, background) for strip in strips]
        if crop.column_span != (0, width):
            strips = [strip.crop(*crop.column_span) for strip in strips]
        return strips

    def _whole_line(self, y: int, left: int, width: int, base: Style) -> Strip:
        if not 0 <= y < min(len(self._lines), self.content_size.height):
            return Strip.blank(width, base)
        line, look = self._lines[y], (left, width, base)
        before = self._painted.get(y)
        # The same strip: its rendering is cached.
        if before is not None and before[0] is line and before[1] == look:
            return before[2]
        self.lines_painted += 1
        strip = line.apply_style(base).adjust_cell_length(self.content_size.width, base)
        whole = strip.crop_pad(strip.cell_length, left, width - left - strip.cell_length, base)
        self._painted[y] = line, look, whole
        return whole
