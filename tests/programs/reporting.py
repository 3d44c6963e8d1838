"""A script with the reporter file beside it: two ranks that agree on when to stop.

    reporting.py FOLDER [epochs] [pause]

The ranks meet in a file for each step, as in an all-reduce.
"""

import os
import sys
import time
from pathlib import Path

from effnet_reporter import Reporter

STEPS = 5
folder = Path(sys.argv[1])
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
pause_s = float(sys.argv[3]) if len(sys.argv) > 3 else 0.02


def any_rank(reporter, at, value):
    """Whether any rank has the value: all write theirs, then read all."""
    reporter.phase("reduce")
    meeting = f"{os.getppid()}-{at}"
    (folder / f"{meeting}-{reporter.rank}").write_text(str(int(value)))
    paths = [folder / f"{meeting}-{rank}" for rank in range(reporter.world_size)]
    while not all(path.exists() and path.read_text() for path in paths):
        time.sleep(0.005)
    return any(path.read_text() == "1" for path in paths)


with Reporter(epochs, STEPS) as reporter:
    done = 0
    if reporter.resume_from:
        done = int(Path(reporter.resume_from).read_text())
        reporter.resumed(done // STEPS, done)
    while done < epochs * STEPS:
        epoch, step = divmod(done, STEPS)
        time.sleep(pause_s)
        done += 1
        reporter.step(epoch, step, loss=1 / done, images=8, lr=0.1)
        is_last = any_rank(reporter, done, reporter.stop_requested)
        if reporter.rank == 0 and (is_last or done % STEPS == 0):
            reporter.phase("checkpoint")
            path = folder / f"state-{done:04d}.txt"
            path.with_suffix(".tmp").write_text(str(done))
            path.with_suffix(".tmp").replace(path)
            reporter.checkpoint(path)
        if is_last:
            sys.exit()
