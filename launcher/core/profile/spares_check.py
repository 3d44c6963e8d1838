"""Checks of `[[spares]]` and `retry.nodes`, on raw values as in `launcher.core.profile.check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from launcher.core.profile.address import ip_address, is_loopback
from launcher.core.profile.model import RetryNodes

Problem = tuple[str, str]
"""Key and what was expected."""

Raw = Mapping[str, Any]


def check_spares(raw: Raw, nodes: list[dict[str, Any]], spares: list[Any]) -> Iterator[Problem]:
    """What keeps a spare from taking the place of a node, and a run from continuing on fewer."""
    found = raw.get("retry")
    retry = found if isinstance(found, dict) else {}
    wanted = retry.get("nodes", RetryNodes.SAME.value)
    if wanted == RetryNodes.SPARE.value and not spares:
        yield "retry.nodes", 'at least one of [[spares]], or "same"'
    if spares and wanted == RetryNodes.SAME.value:
        yield "retry.nodes", '"spare": else the spares are never used'
    if wanted not in (RetryNodes.SPARE.value, RetryNodes.SHRINK.value):
        return
    shrinks = wanted == RetryNodes.SHRINK.value
    if shrinks:
        yield from _check_shrink(raw, nodes)
    elif not spares:
        return
    if not retry.get("auto_resume", 0) and retry.get("on_silent") != "resume":
        what = "nodes are left out" if shrinks else "a spare is used"
        yield "retry.auto_resume", f"at least 1: {what} by an automatic attempt"
    if raw.get("start_method") == "slurm":
        if spares:
            yield "spares", "leave them out: Slurm chooses the nodes"
        return
    master = raw.get("master")
    if isinstance(master, dict) and master.get("port"):
        text = "0 (a free one): ranks of a node that is cut off still look for a port"
        yield "master.port", f"{text} that stays the same"
    counts = {_rank_count(node) for node in nodes}
    for index, spare in enumerate(spares):
        count = _rank_count(spare)
        if count and count not in counts:
            known = " or ".join(map(str, sorted(counts)))
            yield f"spares[{index}].slots", f"{known}, as the nodes have, not {count}"
        address = spare.get("address") if isinstance(spare, dict) else None
        if not isinstance(address, str):
            continue
        if ip_address(address) is None:
            # MindSpore retries a host name in silence until its limit.
            text = f"an IP address, as the spare may become the master, not the name {address!r}"
            yield f"spares[{index}].address", text
        elif is_loopback(address) and spare.get("transport") != "ssh":
            text = f"an address that the other nodes reach, not {address}"
            yield f"spares[{index}].address", text


def _check_shrink(raw: Raw, nodes: list[dict[str, Any]]) -> Iterator[Problem]:
    if "program" in raw:
        text = "only the bundled trainer can train the same with fewer ranks"
        yield "retry.nodes", f'"same" or "spare" with [program]: {text}'
    elif raw.get("start_method") == "slurm":
        yield "retry.nodes", '"same": Slurm chooses the nodes'
    elif len(nodes) < 2:
        yield "retry.nodes", '"same" or "spare": the only node cannot be left out'
    for index, node in enumerate(nodes[1:], 1):
        address = node.get("address")
        if isinstance(address, str) and ip_address(address) is None and "program" not in raw:
            text = f"an IP address, as the node may become the master, not the name {address!r}"
            yield f"nodes[{index}].address", text


def _rank_count(node: Any) -> int:
    """0 where the values are wrong, which is reported elsewhere."""
    if not isinstance(node, dict):
        return 0
    devices, slots = node.get("devices"), node.get("slots")
    if isinstance(devices, list) and devices:
        return len(devices)
    return slots if isinstance(slots, int) else 0
