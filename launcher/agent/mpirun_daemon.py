"""What mpirun's ssh runs on other nodes: `python -m launcher.agent.mpirun_daemon FOLDER orted …`.

FOLDER is that of the attempt. The agent of the node starts OpenMPI's daemon. So the daemon belongs
to the run, its end is seen, and it does not need the SSH session, which this process then ends.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from launcher.agent.client import agent_of
from launcher.core.messages import Accepted, Error, StartDaemon
from launcher.ipc.channel import ChannelClosedError

ANSWER_S = 30.0
DETACH = "--daemonize"
"""Not passed on: the daemon would leave its parent, the agent."""


def main(folder: Path, argv: tuple[str, ...]) -> int:
    channel = agent_of(folder)
    if channel is None:
        return _refuse(f"no agent of this run answers below {folder}")
    try:
        channel.send(StartDaemon(tuple(x for x in argv if x != DETACH), dict(os.environ)))
        reply = channel.wait(ANSWER_S)[0]
    except (ChannelClosedError, TimeoutError) as error:
        return _refuse(str(error))
    if not isinstance(reply, Accepted):
        return _refuse(reply.text if isinstance(reply, Error) else reply.kind)
    return 0


def _refuse(text: str) -> int:
    print(f"mpirun_daemon on {socket.gethostname()}: {text}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), tuple(sys.argv[2:])))
