"""The base class of all errors that are printed for the user."""

from __future__ import annotations

import sys


def with_hint(message: str, hint: str | None) -> str:
    """As `effnet-launch` prints it too: what to do next is on a line of its own."""
    return message if hint is None else f"{message}\n  → {hint}"


class EffnetError(Exception):
    """An error that the user can fix: the message says what is wrong, `hint` what to do."""

    kind = "other"
    """One of `effnet.contract.exit_codes.KINDS`."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return with_hint(self.message, self.hint)


class UsageError(EffnetError):
    """A flag has a wrong value, or flags contradict each other or the files that they name."""

    kind = "config"


INSTALL = f"in the checkout of effnet-tui: {sys.executable} -m pip install -e '.[train]'"
"""The hint for a missing package: effnet-tui is on no package index."""


def first_line(error: BaseException) -> str:
    """The first line of the error's text, or the name of its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
