"""What mpirun starts for each rank: `python -m launcher.agent.mpirun_child FOLDER`.

FOLDER is that of the attempt. It asks the agent of its node for the plan of the rank that OpenMPI
gave it, starts that as the agent would (own session, log, heartbeat, token), tells the agent how it
ends, and ends with the same code, so that mpirun knows too. When the agent is gone the rank is
ended.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from launcher.agent.client import agent_of
from launcher.core.messages import Error, Message, RankJoined, RankLeft, RankPlan, Register
from launcher.ipc.channel import Channel, ChannelClosedError
from launcher.process import private, spawn

ANSWER_S = 30.0
TERM_S = 1.5


def main(folder: Path) -> int:
    private.apply_umask()
    text = os.environ.get("OMPI_COMM_WORLD_RANK", "")
    if not (text.isascii() and text.isdigit()):
        return _refuse("OMPI_COMM_WORLD_RANK is not set: only mpirun may start this")
    rank = int(text)
    channel = agent_of(folder)
    if channel is None:
        return _refuse(f"no agent of this run answers below {folder}")
    try:
        channel.send(Register(rank))
        reply = channel.wait(ANSWER_S)[0]
    except (ChannelClosedError, TimeoutError) as error:
        return _refuse(f"rank {rank}: {error}")
    if not isinstance(reply, RankPlan):
        return _refuse(f"rank {rank}: {reply.text if isinstance(reply, Error) else reply.kind}")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A rank is ended directly: this process must live on to report how it ended.
        signal.signal(number, signal.SIG_IGN)
    started = spawn.start(reply.process, reply.token)
    _send(channel, RankJoined(rank, started.pid, started.start_ticks, started.start_time_s))
    code, number_ = _wait(started.pid, channel)
    _send(channel, RankLeft(started.pid, code, number_, time.time()))
    return code if code is not None else 128 + (number_ or 0)


def _wait(pid: int, channel: Channel) -> tuple[int | None, int | None]:
    """(exit code, signal) of the rank; an agent that is gone takes it along."""
    pidfd = os.pidfd_open(pid)
    watched: list[Any] = [pidfd, channel]
    kill_at = None
    while True:
        ready = select.select(watched, [], [], 0.2)[0]
        if channel in ready:
            channel.receive()
            if channel.closed:
                watched.remove(channel)
                kill_at = time.monotonic() + TERM_S
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if pidfd in ready:
            ended = spawn.exit_of(*os.waitpid(pid, 0))
            return ended.exit_code, ended.signal
        if kill_at is not None and time.monotonic() > kill_at:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _send(channel: Channel, message: Message) -> None:
    try:
        channel.send(message)
    except ChannelClosedError as error:
        print(f"mpirun_child: the agent is gone: {error}", file=sys.stderr)


def _refuse(text: str) -> int:
    print(f"mpirun_child: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
