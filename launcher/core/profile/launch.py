"""The ``[launch]`` table of a profile."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Launch(BaseModel):
    """How a node's ranks are started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fork: bool = True
    """One process imports MindSpore and forks the ranks, where that is known to be safe."""

    keep_warm_s: float = Field(default=0.0, ge=0, le=86_400)
    """How long that process waits for the next attempt after a failed one; 0: not at all."""
