"""Text from outside, made safe for a terminal: logs, node names, file names, manifests, job ids.

The only place that decides this; the command line and the dashboard both use it.
"""

from __future__ import annotations

import re
from typing import Final

# C0 (without tab and line feed), DEL, C1, surrogates, invisible and direction-changing characters.
_HARMFUL: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff"
)
_CONTROL: Final = re.compile(f"[{_HARMFUL}\n]")
_CONTROL_IN_LINES: Final = re.compile(f"[{_HARMFUL}]")
_SEQUENCE: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)


def clean(text: str) -> str:
    """One line without control sequences for a terminal.

    Escape sequences are dropped, tabs become spaces, every other control character and every
    invisible or direction-changing one becomes ``·``.
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub("·", _SEQUENCE.sub("", text).replace("\t", "    "))


def clean_lines(text: str) -> str:
    """Like `clean`, but keeps line ends."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL_IN_LINES.sub("·", _SEQUENCE.sub("", text).replace("\t", "    "))


def escape_json(text: str) -> str:
    """A JSON text whose strings are the same, with harmful characters written as ``\\uXXXX``.

    Nothing is replaced: file names that are not UTF-8 survive a round trip.
    """
    return _CONTROL_IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
