"""Leftovers on a node: what `launcher.node` does for `launcher.cleanup.nodes`."""

from __future__ import annotations

from pathlib import Path

from launcher.cleanup import leftovers as cleaning
from launcher.cleanup import prune
from launcher.cleanup.leftovers import KnownRun, Leftover
from launcher.core.text.codec import from_plain, to_plain
from launcher.ipc.channel import Message
from launcher.node import stdio


def leftovers(request: Message) -> int:
    """Of the runs that were named, and of no other."""
    runs = [from_plain(KnownRun, item) for item in request["runs"]]
    stdio.reply(ok=True, strays=to_plain(cleaning.find_all(runs, only_these=True)))
    return 0


def remove_run(request: Message) -> int:
    """The folder of a run that is over, checkpoints and all."""
    prune.remove_there(Path(str(request["root"])), str(request["run"]))
    stdio.reply(ok=True)
    return 0


def end_leftovers(request: Message) -> int:
    """Ends what was found and shown before; of these only what is still found."""
    runs = [from_plain(KnownRun, item) for item in request["runs"]]
    shown = {from_plain(Leftover, item) for item in request["strays"]}
    found = [stray for stray in cleaning.find_all(runs, only_these=True) if stray in shown]
    stdio.reply(ok=True, strays=to_plain(cleaning.end_all(found)))
    return 0
