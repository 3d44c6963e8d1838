"""What is to be done to an image, noted in its place: the compiled form does all of it at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeAlias

from PIL import Image

from effnet.kernels.input import CODES


class Plan:
    """Stands for an RGB image; steps are noted as `effnet.kernels.input` reads them."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.numbers: list[float] = []

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def then(self, name: str, *numbers: float) -> Plan:
        self.numbers += (CODES.index(name), *numbers)
        return self


Picture: TypeAlias = Image.Image | Plan
P = ParamSpec("P")


def can_be_planned(
    step: Callable[Concatenate[Image.Image, P], Image.Image],
) -> Callable[Concatenate[Picture, P], Picture]:
    """A step of Pillow that is only noted, with its numbers, where it is given a `Plan`."""
    name = step.__name__

    @functools.wraps(step)
    def either(picture: Picture, /, *numbers: P.args, **named: P.kwargs) -> Picture:
        if isinstance(picture, Plan):
            return picture.then(name, *numbers)  # type: ignore[arg-type]  # all are numbers
        return step(picture, *numbers, **named)

    return either
