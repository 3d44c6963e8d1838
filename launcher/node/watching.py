"""The logs of a job that another launcher started here, sent to who watches it."""

from __future__ import annotations

import os
import time

from launcher.core.text.codec import to_plain
from launcher.ipc import operations as op
from launcher.node import stdio
from launcher.watching import holders
from launcher.watching.folder import LocalFiles

POLL_S = 0.25
LOOK_EVERY_S = 1.0
CHUNK_BYTES = 256 << 10
LAST_BYTES = 64 << 20
"""Of a log that is longer only its end is sent."""


def follow(request: op.WatchLogs) -> None:
    """Sends what is new in the logs, until the client leaves. Raises UsageError without logs."""
    source = LocalFiles(request.path)
    listener = stdio.Listener()
    sent = dict(request.known)
    looked = 0.0
    job: op.WatchedFiles | None = None
    while True:
        files = source.files()
        named = op.names_of(files.layout.attempts)
        is_behind = False
        for name, path in named.items():
            is_behind = _send_new(name, path, sent) or is_behind
            listener.wait()
        if not is_behind and time.monotonic() - looked >= LOOK_EVERY_S:
            looked = time.monotonic()
            here = {path: name for name, path in named.items()}
            writers = holders.writers(tuple(here))
            found = op.WatchedFiles(
                files.layout.launcher,
                tuple(named),
                {here[path]: pids for path, pids in writers.items()},
                all(holders.sees_writers(path) for path in here),
            )
            if found != job:
                job = found
                stdio.send({"type": "job", "job": to_plain(found)})
        listener.send_alive()
        listener.wait(0.0 if is_behind else POLL_S)


def _send_new(name: str, path: str, sent: dict[str, int]) -> bool:
    """Sends a chunk of one log. -> whether there is more."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            offset = sent.get(name, 0)
            if status.st_size <= offset and name in sent:
                return False
            start = max(offset, status.st_size - LAST_BYTES)
            data = os.pread(file.fileno(), CHUNK_BYTES, start)
    except OSError:
        return False
    sent[name] = start + len(data)
    changed_ns = status.st_mtime_ns
    place = {"name": name, "offset": offset, "start": start, "changed_s": changed_ns / 1e9}
    stdio.send({"type": "file", "data": data, **place})
    return sent[name] < status.st_size


HANDLERS: op.Handlers = {op.WatchLogs: follow}
