"""A page of the docs of which a program writes a part: the rest stays as people wrote it."""

from __future__ import annotations

from pathlib import Path

END = "<!-- end -->\n"


def mark(program: str) -> str:
    """The line above what `program` writes."""
    return f"<!-- written by {program} -->\n"


def write(page: Path, program: str, text: str) -> None:
    """Puts `text` between the program's mark and END, in place of what is there.

    A page without the mark gets both, at its end. Raises `ValueError` where END is missing.
    """
    begin = mark(program)
    before, found, after = (page.read_text() if page.exists() else "").partition(begin)
    if found:
        _, end, after = after.partition(END)
        if not end:
            raise ValueError(f"{page}: nothing ends what begins with {begin.strip()}")
    elif before:
        before = f"{before.rstrip()}\n\n"
    page.write_text(f"{before}{begin}{text.strip()}\n{END}{after}")
