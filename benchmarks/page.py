"""A page of the docs whose table a loop writes."""

from __future__ import annotations

from pathlib import Path


def write(page: Path, text: str, mark: str) -> None:
    """Replaces what follows the mark, up to the next heading."""
    before, _, after = (page.read_text() if page.exists() else "").partition(mark)
    _, heading, rest = after.partition("\n## ")
    page.write_text(before + mark + text + heading + rest)
