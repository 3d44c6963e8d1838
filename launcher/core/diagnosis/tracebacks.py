"""The exception that ended a rank: the right one of all tracebacks in its last lines.

An interpreter that shuts down prints more of them: of threads, of worker processes, of destructors.
These come last, and are the cause only where there is no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_TRACEBACK_LINES = 60

_HEAD = "Traceback (most recent call last):"
_ERROR_LINE = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning)?(: |$)")
_BARE_ERROR = re.compile(r"^(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?:: |$)")

_SIDE_LINE = re.compile(
    r"^(Exception in thread |Exception ignored |Process \S+:\s*$|Error in (atexit|sys\.)"
    r"|--- Logging error ---"
    r"|(future|task|handle|protocol|transport): <)"  # asyncio, below its message
)
"""What stands before a traceback that did not end the main program."""
_SIDE_FRAME = re.compile(
    r'^  File "[^"]*/(threading|weakref|selectors|subprocess|tempfile'
    r"|multiprocessing/\w+|concurrent/futures/\w+|asyncio/\w+"
    r'|tbe/common/[^"]*|te_fusion/[^"]*)\.py"'
)
"""The outermost frame of a thread or a worker process."""
_CHAINED = re.compile(
    r"^(During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):$"
)
_LOOKUP = re.compile(r"^(KeyError|AttributeError|ImportError|ModuleNotFoundError|StopIteration)\b")
"""What libraries raise and handle in their usual course."""
_SHUTDOWN = re.compile(
    r"^(EOFError|BrokenPipeError|ConnectionResetError|ConnectionRefusedError|KeyboardInterrupt"
    r"|SystemExit)\b|interpreter shutdown|sys\.meta_path is None|can't start new thread"
    r"|cannot schedule new futures"
)


@dataclass(frozen=True)
class Raised:
    """An exception: its traceback's lines and its last line, ``error``.

    ``end`` is the index after it; ``inner`` are the indices of frames, which quote source code.
    ``handled_end`` is the index after the exception that was being handled when it was raised, 0
    where there was none.
    """

    lines: tuple[str, ...]
    error: str
    end: int
    inner: frozenset[int] = frozenset()
    handled_end: int = 0


@dataclass(frozen=True)
class _Block:
    start: int
    end: int
    error: str
    is_side: bool
    is_chained: bool
    """It was raised while the exception of the block before it was handled."""


def raised_in(lines: Sequence[str]) -> Raised | None:
    """The exception that ended the program; `None` when the lines show none.

    The main program's last traceback wins, then an error line without a traceback, then the first
    traceback of a thread or worker process.
    """
    blocks = list(_blocks(lines))
    inner = frozenset(
        index for block in blocks for index in range(block.start + 1, block.end - bool(block.error))
    )
    main = [block for block in blocks if not block.is_side]
    real = [block for block in main if not _SHUTDOWN.search(block.error)]
    chosen = real[-1] if real else None
    if chosen is None:
        covered = {index for block in blocks for index in range(block.start, block.end)}
        for index, line in enumerate(lines):
            if index not in covered and _BARE_ERROR.match(line) and not _SHUTDOWN.search(line):
                return Raised((), line.strip(), index + 1, inner)
        chosen = main[-1] if main else next(iter(blocks), None)
    if chosen is None:
        return None
    shown = tuple(lines[chosen.start : chosen.end])
    shown = shown[-MAX_TRACEBACK_LINES:] if chosen.error else shown[:MAX_TRACEBACK_LINES]
    handled = blocks[: blocks.index(chosen)][-1:] if chosen.is_chained else []
    handled_end = handled[0].end if handled and not _LOOKUP.match(handled[0].error) else 0
    return Raised(shown, chosen.error or shown[-1].strip(), chosen.end, inner, handled_end)


def _blocks(lines: Sequence[str]) -> Iterator[_Block]:
    """Each traceback, to its error, or to the next traceback where that is cut off."""
    starts = [index for index, line in enumerate(lines) if line.strip() == _HEAD]
    for number, start in enumerate(starts):
        limit = starts[number + 1] if number + 1 < len(starts) else len(lines)
        end, error = limit, ""
        for index in range(start + 1, limit):
            line = lines[index]
            if line and not line[0].isspace() and _ERROR_LINE.match(line):
                end, error = index + 1, line.strip()
                break
        before = next((line for line in reversed(lines[:start]) if line.strip()), "")
        frame = next((line for line in lines[start + 1 : end] if line.startswith("  File ")), "")
        is_side = bool(_SIDE_LINE.match(before.strip()) or _SIDE_FRAME.match(frame))
        yield _Block(start, end, error, is_side, bool(_CHAINED.match(before.strip())))
