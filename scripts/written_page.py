"""A page of the docs that a script writes, or checks for being up to date."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def write_or_check(page: Path, text: Callable[[], str]) -> int:
    """Write the page, or with --check compare it; returns the exit code."""
    script = Path(sys.argv[0]).name
    parser = argparse.ArgumentParser(description=f"Write docs/{page.name}.")
    parser.add_argument("--check", action="store_true", help="only check the page")
    if not parser.parse_args().check:
        page.write_text(text(), encoding="utf-8")
        return 0
    if page.is_file() and page.read_text(encoding="utf-8") == text():
        return 0
    print(f"{page} is out of date; run: python scripts/{script}", file=sys.stderr)
    return 1


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; empty without rows."""
    lines = [_row(row) for row in rows]
    if not lines:
        return ""
    return "\n".join([_row(head), "|" + "---|" * len(head), *lines]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "".join(f"| {cell} " if cell else "| " for cell in map(_cell, cells)) + "|"


def _cell(text: str) -> str:
    """Python-Markdown would show the backslash of an escaped bar in code."""
    text = re.sub(r"`([^`]*\|[^`]*)`", r"<code>\1</code>", " ".join(text.split()))
    return text.replace("|", "&#124;")
