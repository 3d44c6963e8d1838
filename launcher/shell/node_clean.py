"""Leftovers on a node: what `launcher.shell.node_side` does for `launcher.shell.clean_nodes`."""

from __future__ import annotations

from pathlib import Path

from launcher.core.codec import from_plain, to_plain
from launcher.shell import cleaning, node_talk, pruning
from launcher.shell.channel import Message
from launcher.shell.cleaning import Ours, Stray


def leftovers(request: Message) -> int:
    """Of the runs that were named, and of no other."""
    runs = [from_plain(Ours, item) for item in request["runs"]]
    node_talk.reply(ok=True, strays=to_plain(cleaning.find_all(runs, only_these=True)))
    return 0


def remove_run(request: Message) -> int:
    """The folder of a run that is over, checkpoints and all."""
    pruning.remove_there(Path(str(request["root"])), str(request["run"]))
    node_talk.reply(ok=True)
    return 0


def end_leftovers(request: Message) -> int:
    """Ends what was found and shown before; of these only what is still found."""
    runs = [from_plain(Ours, item) for item in request["runs"]]
    shown = {from_plain(Stray, item) for item in request["strays"]}
    found = [stray for stray in cleaning.find_all(runs, only_these=True) if stray in shown]
    node_talk.reply(ok=True, strays=to_plain(cleaning.end_all(found)))
    return 0
