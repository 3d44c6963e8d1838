"""One JSON object on standard output, and nothing else."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

Give = Callable[[Mapping[str, Any]], None]


def answers(run: Callable[[Namespace, Give], None]) -> Callable[[Namespace], int]:
    """A command that calls `run` with a function that prints its answer; the exit code is 0.

    Without `--json` that function does nothing. With it, all other output, that of libraries too,
    goes to standard error.
    """

    @functools.wraps(run)
    def command(args: Namespace) -> int:
        if not args.json:
            run(args, lambda answer: None)
            return 0
        sys.stdout.flush()
        with os.fdopen(os.dup(1), "w") as out:
            os.dup2(2, 1)
            try:
                # print() may not write to descriptor 1.
                with contextlib.redirect_stdout(sys.stderr):
                    run(args, lambda answer: print(json.dumps(answer), file=out, flush=True))
            finally:
                sys.stdout.flush()
                os.dup2(out.fileno(), 1)
        return 0

    return command
