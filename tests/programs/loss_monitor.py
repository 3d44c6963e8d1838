"""A script that prints as MindSpore's LossMonitor does, and saves after each epoch.

    loss_monitor.py FOLDER [epochs=3] [steps=4] [pause=S] [fail=RANK:EPOCH] [hang=RANK:EPOCH] [save]

With `save` it saves on SIGTERM, which takes it a moment. The ranks do not wait for each other, but
one that fails does so once the epoch before is saved.
"""

import os
import signal
import sys
import time
from pathlib import Path

folder = Path(sys.argv[1])
options = dict(word.partition("=")[::2] for word in sys.argv[2:])
rank = os.environ.get("RANK", os.environ.get("RANK_ID"))
resume = os.environ.get("EFFNET_RESUME", "")


def save_and_leave(number, frame):
    print("saving", flush=True)
    time.sleep(0.5)
    (folder / f"stopped-{rank}").touch()
    sys.exit(0)


if "save" in options:
    signal.signal(signal.SIGTERM, save_and_leave)
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
names += ("MS_ROLE", "MS_WORKER_NUM", "RANK_ID", "PYTHONPATH", "PYTHONSAFEPATH", "EFFNET_RESUME")
values = {name: os.environ.get(name) for name in names}
print(
    "environment", values, "in", os.getcwd(), "from", resume or "scratch", sys.argv[2:], flush=True
)
first = int(Path(resume).stem.partition("-")[2]) if resume else 0
for epoch in range(first + 1, int(options.get("epochs", 3)) + 1):
    if options.get("fail") == f"{rank}:{epoch}" and not resume:
        while epoch > 1 and not (folder / f"epoch-{epoch - 1}.ckpt").exists():
            time.sleep(0.01)
        raise ValueError("the loss exploded")
    if options.get("hang") == f"{rank}:{epoch}":
        time.sleep(3600)
    for step in range(1, int(options.get("steps", 4)) + 1):
        time.sleep(float(options.get("pause", 0.02)))
        print(f"epoch: {epoch} step: {step}, loss is {1 / (epoch * step)}", flush=True)
    if rank == "0":
        (folder / f"epoch-{epoch}.ckpt").write_text("weights")
