"""The ``[program]`` table: any training script instead of the bundled trainer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Word = Annotated[str, Field(min_length=1)]


class Program(BaseModel):
    """What each rank runs (docs/how-to/any-script.md).

    ``checkpoints`` is a glob, ``log_pattern`` as in docs/reference/script-lines.md.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: Annotated[tuple[Word, ...], Field(min_length=1)]
    rank_variables: Literal["mindspore", "torch"] = "mindspore"
    resume_command: tuple[Word, ...] = ()
    checkpoints: str = ""
    log_pattern: str = ""

    @property
    def is_torch(self) -> bool:
        return self.rank_variables == "torch"
