"""`ranktable make|lint`, `hostfile make|lint`: added when the core has them."""

from __future__ import annotations

import typer


def register(parent: typer.Typer) -> None:
    pass
