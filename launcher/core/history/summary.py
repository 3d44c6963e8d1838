"""One run in a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.core.run.state import Hang, RunStatus, Silence


@dataclass(frozen=True)
class RunSummary:
    """Fields of its snapshot, and ``config``: its training configuration, as far as it is known.

    ``duration_s`` is the time of its attempts, ``best_top_1`` the highest of its evaluations (0 to
    1), ``cause`` why its newest attempt failed, in words, ``goodput`` the share of its
    time (0 to 1) in which it computed steps that were kept, ``kept_until_s`` until when a failed
    one keeps processes for its next attempt.
    """

    run: str
    path: str
    profile: str
    status: RunStatus
    created_s: float | None
    changed_s: float | None
    world_size: int
    attempt: int | None
    epoch: int | None
    epochs: int | None
    steps_done: int | None
    progress: float | None
    eta_s: float | None
    loss: float | None
    data_s: float | None
    step_s: float | None = None
    hang: Hang | None = None
    note: str = ""
    supervisor_silent: Silence | None = None
    queue_words: str = ""
    duration_s: float | None = None
    best_top_1: float | None = None
    cause: str = ""
    goodput: float | None = None
    kept_until_s: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_living(self) -> bool:
        """Whether its processes are there, or may be."""
        return not self.status.is_over and self.status is not RunStatus.LOST
