"""What must hold after a fault, judged from outside and never by the product's own search.

Each function raises AssertionError with what is wrong. That each can is shown by
`tests/test_proof.py` on damaged copies, and by `tests/cluster/test_breaks.py` on runs of a product
that was broken on purpose.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]


def none_left(before: Mapping[str, set[Any]], now: Mapping[str, set[Any]]) -> None:
    """No host has a process that it had not before."""
    left = {host: now[host] - before[host] for host in now if now[host] - before[host]}
    assert not left, f"left: {left}"


def log_is_whole(who: str, copy: bytes, written: bytes, was_killed: bool = False) -> None:
    """A client's copy has all that the rank itself noted, once and in order.

    A rank that was killed may have noted one piece, up to a line, that it did not write any more.
    """
    missing = written[len(copy) :]
    if copy == written or (was_killed and written.startswith(copy) and _is_one_line(missing)):
        return
    raise AssertionError(f"{who}: {_difference(copy, written)}")


def _is_one_line(piece: bytes) -> bool:
    return b"\n" not in piece[:-1]


def _difference(copy: bytes, written: bytes) -> str:
    copied, noted = copy.splitlines(keepends=True), written.splitlines(keepends=True)
    both = min(len(copied), len(noted))
    at = next((i for i in range(both) if copied[i] != noted[i]), both)
    if at == len(copied):
        return f"its last {len(noted) - at} lines are lost: {noted[at:][:3]}"
    if at and copied[at] == copied[at - 1] and copied[at + 1 :][:2] == noted[at:][:2]:
        return f"line {at} is there twice: {copied[at]!r}"
    if copied[at:][:2] == noted[at + 1 :][:2]:
        return f"line {at} is lost: {noted[at]!r}"
    return f"from line {at} on it has {copied[at:][:3]}, and the rank wrote {noted[at:][:3]}"


def reports_are_recorded(who: str, log: bytes, metrics: bytes) -> list[int]:
    """Every step report of the log has its record, once and in order. -> their global steps."""
    from launcher.core.run.metrics import unpack

    offsets, position = [], 0
    for line in log.split(b"\n"):
        if line.startswith(b"epoch: [") and b"loss:[" in line:
            offsets.append(position)
        position += len(line) + 1
    records = unpack(metrics)
    found = [record.log_offset for record in records]
    assert found == offsets, f"{who}: records at {found[-3:]}, reports at {offsets[-3:]}"
    return [record.global_step for record in records if record.global_step is not None]


def steps_are_all(who: str, steps: Sequence[int], first: int, end: int | None = None) -> None:
    """Steps `first`, … one after the other, up to `end` (excluded) where that is known."""
    wanted = list(range(first, len(steps) + first if end is None else end))
    assert list(steps) == wanted, f"{who}: steps {steps[:3]}…{steps[-3:]}, expected from {first} on"


def events_are_whole(events: Sequence[Event]) -> None:
    """Numbered without a gap; no agent's report is there twice."""
    numbers = [event["n"] for event in events]
    assert numbers == list(range(1, len(numbers) + 1)), f"event numbers: {numbers}"
    sources = [(event["attempt"], *event["source"]) for event in events if "source" in event]
    twice = {one for one in sources if sources.count(one) > 1}
    assert not twice, f"events from one message: {twice}"


def reports_became_events(events: Iterable[Event], attempt: int, log_of_rank_0: bytes) -> None:
    """What rank 0 reported about epochs and checkpoints is an event, once and in order."""
    lines = log_of_rank_0.decode("utf-8", "replace").splitlines()
    reported = {
        "epoch_finished": [int(x[6:].partition(":")[0]) for x in lines if _is_epoch(x)],
        "checkpoint_saved": [_number(x, "step") for x in lines if x.startswith("checkpoint: ")],
    }
    mine = [event for event in events if event.get("attempt") == attempt]
    for kind, field in (("epoch_finished", "epoch"), ("checkpoint_saved", "step")):
        found = [event[field] for event in mine if event["kind"] == kind]
        assert found == reported[kind], f"{kind}: events {found}, rank 0 reported {reported[kind]}"


def _is_epoch(line: str) -> bool:
    return line.startswith("epoch ") and line[6:].partition(":")[0].isdigit()


def _number(line: str, key: str) -> int:
    return int(line.partition(f"{key}:[")[2].partition("]")[0])


def blames(failure: Mapping[str, Any], **expected: object) -> None:
    """The failure names these: rank, node, kind, signal, exit_code; followers in any order."""
    for key, value in expected.items():
        found = failure[key]
        if key == "followers":
            found = sorted(found)
        assert found == value, f"{key}: {found!r} is blamed, expected {value!r}: {failure}"


def newest_whole(folder: Path) -> int:
    """The step of the newest checkpoint whose file is what its manifest says."""
    steps = []
    for manifest in folder.glob("step-*.ckpt.manifest.json"):
        facts = json.loads(manifest.read_text())
        file = manifest.with_name(manifest.name.removesuffix(".manifest.json"))
        if file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == facts["sha256"]:
            steps.append(int(facts["step"]))
    return max(steps, default=0)


def resumed_from(expected: int, chosen: int | None, events: Iterable[Event], attempt: int) -> None:
    """A resume used the checkpoint of this step, and the attempt began there."""
    assert chosen == expected, f"step {chosen} was taken, the newest whole one is {expected}"
    started = [e for e in events if e["kind"] == "attempt_started" and e["attempt"] == attempt]
    assert len(started) == 1, f"attempt {attempt} began {len(started)} times"
    step = started[0]["resume"]["step"]
    assert step == expected, f"attempt {attempt} began at step {step}, expected {expected}"
