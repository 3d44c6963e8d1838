"""B0 with a quarter of its channels and three of its seven stages.

What a test proves about runs, steps and files does not depend on the size of the network, and
MindSpore needs a fifth of the time for this one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from effnet.model import scaling
from tests.small.sitecustomize import restore, shrink

FOLDER = Path(__file__).parent
"""In PYTHONPATH it makes B0 small in other processes."""


@contextmanager
def small_b0() -> Iterator[None]:
    """In this process, and in those that it starts."""
    before = shrink(scaling)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(FOLDER), prepend=os.pathsep)
            yield
    finally:
        restore(scaling, before)
