"""The ``[launch]`` table of a profile."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Launch(BaseModel):
    """How a node's ranks are started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fork: bool = True
    """One process imports MindSpore and forks the ranks, where that is known to be safe."""
