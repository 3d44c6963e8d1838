"""`python -m launcher.runs.follower RUN`: the copy of a run that is on its first node.

It takes the place of the supervisor here: it holds the run's lock, copies the run directory as it
grows, and forwards requests of clients. When the node cannot be reached it writes the reason to
link.json and retries; it exits when the run is over and copied. On `--ready` it writes `ok` when
everything was copied once, or the reason why not.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import selectors
import sys
import threading
import time
from pathlib import Path

from launcher.core.messages import Error, Ping, RunStatusReply, decode_message
from launcher.core.profile.home import from_outside
from launcher.core.profile.load import profile_from_json
from launcher.core.run.paths import RunPaths
from launcher.core.run.state import Silence
from launcher.core.text.codec import Mismatch, from_plain, to_plain
from launcher.core.text.records import UnknownKindError, encode
from launcher.errors import LaunchError, NodeError
from launcher.ipc.channel import AnyMessage, Channel, ChannelClosedError
from launcher.ipc.endpoint import Endpoint
from launcher.ipc.run_operations import FollowRun, SendToRun, Silent
from launcher.process.daemon import ReportReady, daemon
from launcher.process.log import log_line
from launcher.reading.living.processes import Link
from launcher.reading.living.queue import InQueue
from launcher.remote.following import NodeFollower
from launcher.remote.node_client import NodeClient, RefusedError
from launcher.remote.sync import FileCopy
from launcher.runs import delegated
from launcher.store import atomic, log_limit, owner
from launcher.store import run as run_files
from launcher.store.run_lock import acquire

TICK_S = 0.25
RETRY_S = (1.0, 2.0, 5.0, 10.0)


class Copying(NodeFollower):
    """Copies until the run is over; never waits for clients."""

    def __init__(self, paths: RunPaths, client: NodeClient, home: delegated.Home) -> None:
        super().__init__(client)
        self.is_whole = threading.Event()
        """Set when everything was copied once."""
        self.trouble = ""
        self._silence: Silence | None = None
        self._queue: InQueue | None = None
        self._paths = paths
        self._home = home
        profile = functools.partial(_profile_from_there, client.node.transport or "ssh")
        self._copy = FileCopy(home.node, paths.root, translate={"profile.json": profile})
        self._tries = 0

    def follow(self) -> None:
        try:
            self._copy_run()
        except (LaunchError, OSError, ValueError) as error:
            self._client.close()
            if isinstance(error, RefusedError):
                error = delegated.original(error)
            self._report(str(error))
            if isinstance(error, LaunchError) and not isinstance(error, NodeError):
                self.is_over = True  # the node replied that there is nothing to follow
                return
            time.sleep(RETRY_S[min(self._tries, len(RETRY_S) - 1)])
            self._tries += 1

    def _copy_run(self) -> None:
        with self.opened(FollowRun(self._home.root, self._copy.known())) as call:
            for message in call.messages():
                if message.get("type") == "file":
                    self._copy.write_chunk(message)
                elif message.get("is_in_step"):
                    self._is_in_step(message.get("silent"), message.get("queue"))
                if self.is_over:
                    return  # the copy was removed
        self._is_in_step()
        self.is_over = True

    def _is_in_step(self, silent: object = None, queue: object = None) -> None:
        self._tries = 0
        in_queue = None if queue is None else from_plain(InQueue, queue)
        silence = None
        if silent is not None:
            found, known = from_plain(Silent, silent), self._silence
            silence = Silence(found.pid, time.time() - found.silent_s, self._home.node)
            if known is not None and known.pid == found.pid:
                silence = known  # since the same moment
        self._report("", silence, in_queue)
        self.is_whole.set()

    def _report(
        self, trouble: str, silence: Silence | None = None, queue: InQueue | None = None
    ) -> None:
        """Writes link.json: readers of the copy see whether it is up to date, and what the node
        says of its supervisor or of Slurm's queue.
        """
        known = self.trouble, self._silence, self._queue
        if self.is_whole.is_set() and (trouble, silence, queue) == known:
            return
        self.trouble, self._silence, self._queue = trouble, silence, queue
        if not self._paths.home.is_file():
            self.is_over = True  # the copy was removed
            return
        if trouble:
            log_line(trouble)
        link = Link(self._home.node, time.time(), trouble, silence, queue)
        with contextlib.suppress(OSError):
            atomic.write_file(self._paths.link, json.dumps(to_plain(link)) + "\n")


class Follower:
    """The loop that serves clients."""

    def __init__(self, root: Path, home: delegated.Home) -> None:
        self._root = root
        self._paths = RunPaths(root)
        self._home = home
        self._client = NodeClient(delegated.node_of(run_files.load(root).profile))
        self._selector = selectors.DefaultSelector()
        self._clients: list[Channel] = []
        self._endpoint = Endpoint(root, "supervisor", self._paths.supervisor)
        self.copying = Copying(self._paths, self._client, home)
        limit = run_files.load(root).profile.logs.limit_bytes
        self._limit = log_limit.LogLimit(root, limit)

    def open(self) -> None:
        self._endpoint.open(self._selector)
        self.copying.thread.start()

    def run(self) -> int:
        while not self.copying.is_over:
            self.turn()
        return 0

    def turn(self) -> None:
        for key, _ in self._selector.select(TICK_S):
            self._ready(key.fileobj)
        self._endpoint.reopen_if_gone(time.monotonic())
        if trouble := self._limit.poll(time.monotonic()):
            log_line(f"logs cannot be limited: {trouble}")
        self.copying.ping()

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._endpoint.close()
        self._client.close()

    def _ready(self, source: object) -> None:
        if self._endpoint.is_at(source):
            client = self._endpoint.accept()
            if client is not None:
                self._clients.append(client)
                self._selector.register(client, selectors.EVENT_READ)
        elif isinstance(source, Channel):
            for message in source.receive():
                threading.Thread(target=self._answer, args=(source, message), daemon=True).start()
            if source.closed:
                self._clients.remove(source)
                for key in list(self._selector.get_map().values()):
                    if key.fileobj is source:
                        self._selector.unregister(source)

    def _answer(self, client: Channel, message: AnyMessage) -> None:
        """In its own thread, because it waits for the network; a ping is for this process."""
        try:
            if isinstance(message, Ping):
                client.send(RunStatusReply(os.getpid(), "", 0))
                return
            operation = SendToRun(self._home.root, encode(message))
            reply = decode_message(delegated.call(self._client, operation))
        except (LaunchError, Mismatch, UnknownKindError) as error:
            reply = Error(str(error))
        with contextlib.suppress(ChannelClosedError, OSError):
            client.send(reply)


def _profile_from_there(transport: str, data: bytes) -> bytes:
    """The profile with the run's node as another machine, which it is from here."""
    try:
        profile = profile_from_json(data.decode("utf-8"))
    except (LaunchError, UnicodeDecodeError):
        return data
    return (from_outside(profile, transport).to_json() + "\n").encode()


def follow(root: Path, report_ready: ReportReady) -> int:
    home = delegated.home_of(root)
    if home is None:
        raise LaunchError(f"{root} is not a copy of a delegated run")
    owner.must_be_mine(root)
    acquire(root)
    with contextlib.closing(Follower(root, home)) as follower:
        follower.open()
        while not follower.copying.is_whole.is_set() and not follower.copying.trouble:
            follower.turn()
        report_ready(follower.copying.trouble or "ok")
        return follower.run()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="launcher.runs.follower", allow_abbrev=False)
    parser.add_argument("run", type=Path)
    parser.add_argument("--ready", type=int, help="file descriptor to write `ok` or the error to")
    arguments = parser.parse_args(argv)
    with daemon(arguments.ready) as report_ready:
        return follow(arguments.run.resolve(), report_ready)


if __name__ == "__main__":
    sys.exit(main())
