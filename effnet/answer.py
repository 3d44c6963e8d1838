"""One JSON object on standard output, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Give = Callable[[Mapping[str, Any]], None]


@contextlib.contextmanager
def answering(as_json: bool) -> Iterator[Give]:
    """Yields a function that prints the answer; without `as_json` it does nothing.

    With it, all other output, that of libraries too, goes to standard error.
    """
    if not as_json:
        yield lambda answer: None
        return
    sys.stdout.flush()
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        # print() may not write to descriptor 1.
        with contextlib.redirect_stdout(sys.stderr):
            yield lambda answer: _write(out, json.dumps(answer) + "\n")
    finally:
        sys.stdout.flush()
        os.dup2(out, 1)
        os.close(out)


def _write(fd: int, text: str) -> None:
    left = text.encode()
    while left:
        left = left[os.write(fd, left) :]
