"""Everything the launcher raises on purpose. Each error says what to do about it."""

from __future__ import annotations

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


class LaunchError(Exception):
    """Something the user can act on: ``message`` says what is wrong, ``hint`` what to do."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def summary(self) -> str:
        """What is wrong, and on which node where there is one, without the hint."""
        return self.message

    def __str__(self) -> str:
        return f"{self.summary}\n{self.hint}" if self.hint else self.summary


class UsageError(LaunchError):
    """The request itself makes no sense."""

    exit_code = 2


class InvalidError(UsageError):
    """A text that a person wrote (profile, rank table, hostfile) with all that is wrong in it."""

    def __init__(self, message: str, problems: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint)
        self.problems = problems

    def __str__(self) -> str:
        lines = (self.summary, *(f"  {problem}" for problem in self.problems), self.hint)
        return "\n".join(filter(None, lines))


class ProfileError(InvalidError):
    """A cluster profile that can't be used."""


class SettingsError(InvalidError):
    """Keys of the training configuration that the trainer would refuse."""


class RankTableError(InvalidError):
    """A rank table that HCCL would refuse, or one that can't be made."""


class PlanError(UsageError):
    """A profile that is right by itself but can't be started so."""


class RunNotFoundError(UsageError):
    """No run, or more than one, of the given name."""

    exit_code = 3


class CheckpointError(LaunchError):
    """No checkpoint to continue from."""

    exit_code = 5


class BusyError(LaunchError):
    """The run, the device or the port is in use."""

    exit_code = 4


class NoAnswerError(LaunchError):
    """A process that is there and does not answer: stopped, or stuck on a disk."""


class NotMineError(LaunchError):
    """A run directory that this user can read and must not act on."""

    exit_code = 4


class NoAgentError(LaunchError):
    """The agent of an attempt is dead."""


class NodeError(LaunchError):
    """A node that can't be reached, or that refused."""

    exit_code = 6

    def __init__(self, node: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.node = node

    @property
    def summary(self) -> str:
        return f"{self.node}: {self.message}" if self.node else self.message


class ConnectingError(NodeError):
    """There is no connection yet; one is being made."""


class LostNodeError(NodeError):
    """A node that its scheduler cannot use any more: not the run's fault."""


class HostKeyError(NodeError):
    """A host that is not known, or is not the one that it was."""


class LoginError(NodeError):
    """A host that lets us in with none of our keys."""


class NotInstalledError(NodeError):
    """An interpreter that is not there (``module`` is empty), or that lacks a module."""

    def __init__(self, node: str, message: str, hint: str = "", module: str = "") -> None:
        super().__init__(node, message, hint)
        self.module = module


class PreflightError(InvalidError):
    """Checks that failed before a start: ``checks`` are their names, ``problems`` their rows."""

    exit_code = 6
    checks: tuple[str, ...] = ()
