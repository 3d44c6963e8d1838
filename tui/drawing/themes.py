"""The dashboard's themes, and the palette that its widgets draw with.

No meaning depends on colour alone: every state also has a word and a mark. Good and bad are
blue-green and orange-red, which red-green colour-blind readers can distinguish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

from launcher.core.text.terminal import clean

NAMES: Final = ("dark", "light", "ansi", "mono")
TONES: Final = ("good", "busy", "warn", "bad", "idle")


@dataclass(frozen=True, slots=True)
class Palette:
    """Styles by meaning; foregrounds only, except ``cursor`` and the badges."""

    text: Style
    muted: Style
    title: Style
    bar: Style  # the title line of a panel
    good: Style
    busy: Style
    warn: Style
    bad: Style
    accent: Style
    cursor: Style
    match: Style
    tint: Style  # the row of the worst rank
    badges: Mapping[str, Style]  # by tone
    series: tuple[Style, ...]  # one a rank, repeated
    heat: tuple[Style, ...]  # five, from on time to late

    @property
    def faint(self) -> Style:
        """Of what is only there to compare with."""
        return self.heat[0]

    def by_tone(self, tone: str) -> Style:
        """The style of a field's name, or of ``idle``, which is muted."""
        style = self.muted if tone == "idle" else getattr(self, tone)
        assert isinstance(style, Style)
        return style


_s = Style.parse


def _palette(
    text: str, muted: str, good: str, busy: str, warn: str, bad: str, accent: str,
    cursor: str, match: str, tint: str, ink: str, bar: str, series: str, heat: str,
) -> Palette:  # fmt: skip
    return Palette(
        text=_s(text), muted=_s(muted), title=_s(f"bold {accent}"), bar=_s(bar),
        good=_s(good), busy=_s(busy), warn=_s(warn), bad=_s(f"bold {bad}"), accent=_s(accent),
        cursor=_s(cursor), match=_s(match), tint=_s(tint),
        badges={
            tone: _s(f"bold {ink} on {colour}")
            for tone, colour in zip(TONES, (good, busy, warn, bad, muted), strict=True)
        },
        series=tuple(_s(part) for part in series.split()),
        heat=tuple(_s(part.replace("+", " ")) for part in heat.split()),
    )  # fmt: skip


DARK: Final = _palette(
    text="#d6dde6", muted="#8593a3", good="#4fc1b0", busy="#6cb6ff", warn="#e8b339",
    bad="#ff7a5c", accent="#8ab4f8", cursor="on #24405f", match="#10151b on #e8b339",
    tint="on #3b211c", ink="#10151b", bar="on #1d2630",
    series="#6cb6ff #e8b339 #4fc1b0 #ff7a5c #c297ff #9ccc65 #f48fb1 #b0bec5",
    heat="#4a5a6a #6cb6ff #e8b339 #f0883e #ff5f45",
)  # fmt: skip
LIGHT: Final = _palette(
    text="#1d2733", muted="#5c6875", good="#00695c", busy="#0b5cad", warn="#8a5a00",
    bad="#b3261e", accent="#0b4f9e", cursor="on #cfe2f7", match="#1d2733 on #ffd666",
    tint="on #fbe1da", ink="#ffffff", bar="on #e6ebf0",
    series="#0b5cad #8a5a00 #00695c #b3261e #6a3fb5 #3e6b00 #a31f5f #455a64",
    heat="#b0bac4 #0b5cad #8a5a00 #c4500a #b3261e",
)  # fmt: skip
ANSI: Final = _palette(
    text="default", muted="bright_black", good="cyan", busy="bright_blue", warn="yellow",
    bad="bright_red", accent="bright_cyan", cursor="reverse", match="black on yellow", tint="bold",
    ink="black", bar="underline",
    series="bright_blue yellow cyan bright_red magenta green bright_magenta white",
    heat="bright_black bright_blue yellow red bright_red",
)  # fmt: skip
MONO: Final = Palette(
    text=_s("none"), muted=_s("none"), title=_s("bold"), bar=_s("underline"),
    good=_s("none"), busy=_s("none"), warn=_s("bold"), bad=_s("bold"), accent=_s("bold"),
    cursor=_s("reverse"), match=_s("reverse bold"), tint=_s("bold"),
    badges=dict.fromkeys(TONES, _s("bold reverse")),
    series=(_s("none"),), heat=(_s("none"), _s("none"), _s("none"), _s("bold"), _s("bold")),
)  # fmt: skip

PALETTES: Final[Mapping[str, Palette]] = {
    "dark": DARK, "light": LIGHT, "ansi": ANSI, "mono": MONO,
}  # fmt: skip


def palette_of(theme: str) -> Palette:
    """The palette of a theme's name; another theme (Textual's own) gets the dark one."""
    return PALETTES.get(theme, DARK)


# What Textual's style sheet needs of every theme that keeps the terminal's colours.
_PLAIN: Final = {
    "ansi-background": "ansi_black", "ansi-foreground": "ansi_white",
    "input-cursor-background": "ansi_default", "input-cursor-foreground": "ansi_default",
    "input-cursor-text-style": "reverse", "input-selection-background": "ansi_white",
    "input-selection-foreground": "ansi_black", "screen-selection-background": "ansi_white",
    "screen-selection-foreground": "ansi_black",
}  # fmt: skip


def _terminal_theme(
    name: str, primary: str, good: str, warn: str, bad: str, variables: dict[str, str]
) -> Theme:
    return Theme(
        name=name, primary=primary, secondary=good, warning=warn, error=bad, success=good,
        accent=primary, foreground="ansi_default", background="ansi_default",
        surface="ansi_default", panel="ansi_default", boost="ansi_default", dark=True, ansi=True,
        variables={**_PLAIN, **variables},
    )  # fmt: skip


def themes() -> tuple[Theme, ...]:
    """The Textual themes that go with the palettes, for Textual's own widgets."""
    return (
        Theme(
            name="dark", primary="#8ab4f8", secondary="#4fc1b0", warning="#e8b339",
            error="#ff7a5c", success="#4fc1b0", accent="#8ab4f8", foreground="#d6dde6",
            background="#10151b", surface="#161d25", panel="#1d2630", dark=True,
            variables={"border": "#3a4a5a", "border-blurred": "#2a3642",
                       "block-cursor-background": "#24405f",
                       "block-cursor-foreground": "#ffffff"},
        ),
        Theme(
            name="light", primary="#0b4f9e", secondary="#00695c", warning="#8a5a00",
            error="#b3261e", success="#00695c", accent="#0b4f9e", foreground="#1d2733",
            background="#fbfcfd", surface="#f1f4f7", panel="#e6ebf0", dark=False,
            variables={"border": "#9aa7b4", "border-blurred": "#c3ccd5",
                       "block-cursor-background": "#cfe2f7",
                       "block-cursor-foreground": "#1d2733"},
        ),
        _terminal_theme(
            "ansi", primary="ansi_bright_cyan", good="ansi_cyan", warn="ansi_yellow",
            bad="ansi_bright_red",
            variables={"block-cursor-background": "ansi_blue",
                       "block-cursor-foreground": "ansi_bright_white",
                       "border": "ansi_cyan", "border-blurred": "ansi_bright_black"},
        ),
        _terminal_theme(
            "mono", primary="ansi_default", good="ansi_default", warn="ansi_default",
            bad="ansi_default",
            # Any background that is not the default one comes out as reverse video.
            variables={"block-cursor-background": "ansi_white",
                       "block-cursor-foreground": "ansi_black",
                       "border": "ansi_default", "border-blurred": "ansi_default"},
        ),
    )  # fmt: skip


class SafeFilter(LineFilter):
    """Removes control characters from everything that is drawn."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(segment.text.isprintable() for segment in segments):
            return segments
        return [
            segment if segment.control else Segment(clean(segment.text), segment.style)
            for segment in segments
        ]


class MonoFilter(LineFilter):
    """Removes every colour; a coloured background becomes reverse video.

    For ``NO_COLOR`` Textual itself turns colours to greys, which can leave text on a background
    of nearly the same grey.
    """

    def __init__(self) -> None:
        super().__init__(enabled=True)
        self._cache: dict[Style, Style] = {}

    def _plain(self, style: Style) -> Style:
        plain = self._cache.get(style)
        if plain is None:
            painted = style.bgcolor is not None and not style.bgcolor.is_default
            plain = Style(
                bold=style.bold, italic=style.italic, underline=style.underline,
                strike=style.strike, reverse=bool(style.reverse) or painted,
            )  # fmt: skip
            self._cache[style] = plain
        return plain

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        plain = self._plain
        return [
            segment if segment.style is None else Segment(segment.text, plain(segment.style))
            for segment in segments
        ]
