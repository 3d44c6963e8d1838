"""Logical ranks: what a run consists of, whatever processes carry them.

A run that began with L ranks is defined by L logical ranks: each has its share of every step's
images and its own randomness. After the loss of a node fewer processes carry all of them, and
each takes its logical ranks' batches in turn. Without the launcher's variables a process carries
the one logical rank that has its number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from effnet.distributed.group import Group, GroupError

RANKS = "EFFNET_LOGICAL_RANKS"
"""The logical ranks of a process, as `1,3`."""
SIZE = "EFFNET_LOGICAL_SIZE"
"""How many there are over all processes."""

_HINT = f"unset {RANKS} and {SIZE} where you start ranks yourself: they are the launcher's"


def carrying(group: Group, environment: Mapping[str, str]) -> Group:
    """`group` with the logical ranks that the environment gives this process.

    The launcher gives them to all processes or to none. Raises `GroupError` unless each logical
    rank is there once.
    """
    if RANKS not in environment:
        return group
    text, size_text = environment[RANKS], environment.get(SIZE, "")
    if not re.fullmatch(r"\d+(,\d+)*", text) or not re.fullmatch(r"[1-9]\d*", size_text):
        raise GroupError(
            f"{RANKS}={text} and {SIZE}={size_text} are not ranks and a number", hint=_HINT
        )
    own, size = tuple(map(int, text.split(","))), int(size_text)
    # A process with another number must not wait for more sums than the others.
    sizes = np.zeros(group.size, np.float32)
    sizes[group.rank] = size if max(own) < size else 0
    if not (group.sum(sizes) == size).all():
        raise GroupError(f"{RANKS}={text} and {SIZE}={size} do not fit on all ranks", hint=_HINT)
    counts = np.zeros(size, np.float32)
    np.add.at(counts, list(own), 1)
    if not (group.sum(counts) == 1).all():
        raise GroupError(
            f"not each of {size} logical ranks is carried once, {text} are here", hint=_HINT
        )
    return replace(group, carried=own, logical_size=size)


def notes(group: Group) -> tuple[str, ...]:
    """For the user: that fewer ranks train."""
    if group.world_size == group.size:
        return ()
    who = "1 rank carries" if group.size == 1 else f"{group.size} ranks carry"
    return (f"{who} {group.world_size} logical ranks: the same training, with more work for each",)
