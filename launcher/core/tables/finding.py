"""A finding of a lint: where, what, and whether it stops a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """An error (``is_error``) or a warning."""

    where: str
    text: str
    hint: str = ""
    is_error: bool = True

    def __str__(self) -> str:
        kind = "error" if self.is_error else "warning"
        hint = f" ({self.hint})" if self.hint else ""
        return f"{kind}: {self.where}: {self.text}{hint}"


def errors(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The lines of those findings that stop a run."""
    return tuple(str(item).removeprefix("error: ") for item in findings if item.is_error)
