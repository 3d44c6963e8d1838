"""Work of a rank: it reads files, decodes and computes; STANDIN_WORK (JSON) says with what trouble.

`data`: folders of images, one a rank; `index`: files that are mapped; `sleep`: seconds that each
decoding sleeps, by rank; `delay`: seconds that its link to the others delays, by rank; `cgroups`:
folders of cgroups that a rank joins, by rank; `cores`: the core of each rank.
"""

import json
import mmap
import os
import random
import subprocess
import sys
import time
import zlib
from pathlib import Path

PAGES = 256
COMPUTE_S = 0.002


class Work:
    def __init__(self, rank):
        plan = json.loads(os.environ["STANDIN_WORK"])
        self._draw = random.Random(rank)
        for folder in plan.get("cgroups", {}).get(str(rank), ()):
            Path(folder, "cgroup.procs").write_text(str(os.getpid()))
        if cores := plan.get("cores"):
            os.sched_setaffinity(0, {cores[rank]})
        self._images = sorted(Path(plan["data"][rank]).iterdir())
        with open(plan["index"][rank], "rb") as file:
            self._index = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._index.madvise(mmap.MADV_RANDOM)
        self._sleep_s = plan.get("sleep", {}).get(str(rank), 0.0)
        delay_s = plan.get("delay", {}).get(str(rank))
        if delay_s:
            port = os.environ["MS_SCHED_PORT"]
            argv = [sys.executable, "-m", "effnet.relay", port, str(delay_s)]
            relay = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            os.environ["MS_SCHED_PORT"] = relay.stdout.readline().strip()

    def load(self):
        """Reads and decodes a batch. -> milliseconds"""
        begin = time.monotonic()
        size = len(self._index)
        for _ in range(PAGES):
            self._index[self._draw.randrange(size)]
        data = self._draw.choice(self._images).read_bytes()
        zlib.decompress(data)
        if self._sleep_s:
            time.sleep(self._sleep_s)
        return (time.monotonic() - begin) * 1000

    def compute(self):
        begin = time.thread_time()
        while time.thread_time() - begin < COMPUTE_S:
            zlib.crc32(bytes(65536))
