"""The base class of all errors that are printed for the user."""

from __future__ import annotations


class EffnetError(Exception):
    """An error that the user can fix: the message says what is wrong, `hint` what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"
