"""Shared memory that a killed process left: ours is found and removed, what is used is not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

from launcher.agent import shared_memory_watch
from launcher.core.text.codec import to_plain
from launcher.process import shared_memory
from launcher.process.shared_memory import Creator

MAKE = """
import ctypes, mmap, sys, time
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
number = libc.shmget(0, 4096, 0o1600)
libc.shmat(number, None, 0)
file = open(sys.argv[1], "w+b")
file.truncate(4096)
kept = mmap.mmap(file.fileno(), 4096)
print(number, flush=True)
time.sleep(600)
"""


def test_segments_of_a_killed_process_are_found_and_removed(tmp_path):
    path = f"/dev/shm/effnet-test-{tmp_path.name}"
    started = time.time()
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE, path], stdout=subprocess.PIPE, text=True
    )
    try:
        number = int(process.stdout.readline())
        mapped = shared_memory.mapped_by([process.pid])
        assert {segment.path for segment in mapped} == {path, ""}
        assert [s.number for s in mapped if not s.path] == [number]
        # It is never a leftover while it is used.
        assert shared_memory.left_over(mapped) == []
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    # System V says by itself who made it; an older process of the same pid did not.
    made = shared_memory.made_by([Creator(process.pid, started)])
    assert [segment.number for segment in made] == [number]
    assert shared_memory.made_by([Creator(process.pid, time.time() + 5)]) == set()
    agents = tmp_path / "agents"
    agents.mkdir()
    only_file = [to_plain(segment) for segment in mapped if segment.path]
    (agents / "node.shm.json").write_text(json.dumps(only_file))
    line = {"n": 1, "type": "rank_started", "pid": process.pid, "start_time": started}
    (agents / "node.jsonl").write_text(json.dumps(line) + "\n")
    left = shared_memory_watch.left_by(tmp_path, "node")
    assert [(s.path, s.size_bytes) for s in left] == [("", 4096), (path, 4096)]
    # A segment that existed before the rank started belongs to another program.
    line["start_time"] = started + 3600
    (agents / "node.jsonl").write_text(json.dumps(line) + "\n")
    assert shared_memory_watch.left_by(tmp_path, "node") == []
    line["start_time"] = started
    (agents / "node.jsonl").write_text(json.dumps(line) + "\n")
    assert all(shared_memory.remove(segment) for segment in left)
    assert shared_memory_watch.left_by(tmp_path, "node") == []
