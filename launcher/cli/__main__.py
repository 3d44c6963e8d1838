"""`effnet-launch`, also as `python -m launcher.cli`."""

from __future__ import annotations

import gc
import signal

OBJECTS = 100_000
"""Made between two searches for garbage. Imports make that many and leave none: by default, a
tenth of a command's CPU time is spent on looking for it."""


def main() -> None:
    gc.set_threshold(OBJECTS)
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        # Nothing is done while Python imports the rest: Ctrl-C ends it without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from launcher.cli.app import main as run

    signal.signal(signal.SIGINT, handler)
    try:
        run()
    finally:
        gc.freeze()  # the process ends: nothing is searched for once more


if __name__ == "__main__":
    main()
