"""An agent that stays after a failed attempt, and becomes the agent of the next one.

It keeps its pid, and so its children: what has imported for the ranks stays the agent's child, and
the ranks that this forks become the agent's children too. Its guard becomes the new one's guard.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import NoReturn

from launcher.core.messages import TakeOver
from launcher.process import guard
from launcher.process.forking import Warm
from launcher.process.guard import Guarded

SERVE, GUARD = "serve", "guard"


def become(order: TakeOver, guarded: Guarded, warm: Sequence[Warm]) -> NoReturn:
    """This agent and its guard go on as those of another attempt. Raises `OSError`."""
    place = order.argv.index(SERVE)
    before, after = order.argv[:place], order.argv[place + 1 :]
    child = ["--child", str(os.getpid()), "--file", str(guarded.file)]
    guarded.change_guard([*before, GUARD, *after, *child], order.environment, order.log)
    for file in (guarded.file, *(item.channel.fileno() for item in warm)):
        os.set_inheritable(file, True)
    kept = [guarded.guard, guarded.file, *((w.pid, w.channel.fileno()) for w in warm)]
    argv = [*before, SERVE, *after, "--guarded", json.dumps(kept)]
    guard.become(argv, order.environment, order.log)


def received(text: str) -> tuple[Guarded, list[Warm]]:
    """What the agent before this one has passed on."""
    pid, file, *kept = json.loads(text)
    os.set_inheritable(file, False)
    warm = [Warm(warm_pid, socket.socket(fileno=number)) for warm_pid, number in kept]
    for item in warm:
        item.channel.set_inheritable(False)
        item.channel.setblocking(False)
    return Guarded(pid, file), warm
