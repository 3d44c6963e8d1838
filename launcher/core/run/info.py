"""What a run is and how it was started (``run.json``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from launcher.core.run.requests import StartRequest
from launcher.core.text.codec import Mismatch, from_plain, to_plain


@dataclass(frozen=True)
class RunInfo:
    """``created`` is Unix seconds; ``command`` is what a person would type to start it again.

    ``start`` holds for every attempt; a resume may change it.
    """

    id: str
    profile: str
    created: float
    world_size: int
    versions: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    start: StartRequest = StartRequest()
    is_registered: bool = False
    """Whether `launcher.store.owner` registered its folder; earlier versions had no such thing."""
    is_watched: bool = False
    """Whether another launcher started it: it can only be read."""
    runs_script: bool = False
    """Whether it trains with a script of its own: jobs of the bundled trainer do not apply."""

    def with_note(self, note: str) -> RunInfo:
        return replace(self, start=replace(self.start, note=note))

    def to_json(self) -> str:
        """The text of ``run.json``."""
        return json.dumps(to_plain(self), indent=2, ensure_ascii=False) + "\n"


def parse_run_info(text: str | bytes) -> RunInfo | None:
    """The run that ``run.json`` describes; ``None`` when it is damaged."""
    try:
        return from_plain(RunInfo, json.loads(text))
    except (ValueError, Mismatch, RecursionError):
        return None
