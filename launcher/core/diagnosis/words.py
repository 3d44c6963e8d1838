"""What failed or hangs, in words.

A failure has two sentences: which rank and how, then what it means. Neither repeats the other.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.core.diagnosis.stacks import ALL_REDUCE
from launcher.core.run.events import Failure
from launcher.core.run.state import Hang
from launcher.core.text.figures import duration, number, plural


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ranks_in_words(ranks: Sequence[int], limit: int = 6) -> str:
    """``rank 3``, ``ranks 0, 2, 5``, ``56 ranks``."""
    if len(ranks) > limit:
        return plural(len(ranks), "rank")
    noun = "rank" if len(ranks) == 1 else "ranks"
    return f"{noun} {', '.join(str(rank) for rank in ranks)}"


def hang_words(hang: Hang, now_s: float) -> str:
    """``rank 0 · silent 3 min · compute``."""
    silent = f"silent {duration(max(0.0, now_s - hang.since_s))}"
    return " · ".join(filter(None, (ranks_in_words(hang.ranks, 3), silent, hang.phase)))


def hang_reason(hang: Hang) -> str:
    """``rank 0 on node-a: its process is stopped (SIGSTOP or a debugger)``."""
    where = f"rank {hang.ranks[0]} on {hang.node}"
    text = f"{where}: {hang.why}" if hang.why else f"{where} gives no sign"
    return "; ".join(filter(None, (text, _places(hang))))


def hang_place(hang: Hang) -> str:
    """``rank 5 is in data/decode.py:88 (decode)``, or the reason while no stacks are known."""
    return _places(hang) or hang_reason(hang)


def _places(hang: Hang) -> str:
    """Where those are that the others wait for; or that all ranks wait for each other."""
    places = [words for words in hang.stacks.split("; ") if not words.endswith(ALL_REDUCE)]
    return "; ".join(places) or hang.stacks


def hang_hint(hang: Hang, run: str) -> str:
    """What to do next; ``run`` is empty for a job that was started elsewhere."""
    again = f"effnet-launch stop {run}, then effnet-launch resume {run}"
    if not run:
        again = "stop the job with what started it"
    if "is stopped" in hang.why:
        return f"Continue it with kill -CONT {hang.pid} on {hang.node}, or: {again}"
    rank = hang.ranks[0]
    if not run:
        return f"See where it is: py-spy dump --pid {hang.pid or 'PID'} on {hang.node}. Or {again}"
    return f"See its stacks: effnet-launch stacks {run} --rank {rank}. Or: {again}"


def export_verdict(result: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Whether an exported file computes what the network does, in words, and as a truth value.

    ``None`` for another result, and for one that has no limit: AIR, other trainers.
    """
    found, limit = result.get("relative_difference"), result.get("relative_difference_limit")
    if not isinstance(found, float) or not isinstance(limit, float):
        return None
    is_same = found <= limit
    words = "logits equal the network's" if is_same else "LOGITS DIFFER from the network's"
    return f"{words}: by {number(found)} of the largest, limit {number(limit)}", is_same


def cause(failure: Failure) -> str:
    """One line: ``rank 1: the kernel killed it: the node ran out of memory``."""
    who = "" if failure.rank is None else f"rank {failure.rank}: "
    return f"{who}{meaning(failure)}".replace("\n", " ")


def how_it_ended(failure: Failure) -> str:
    """``SIGKILL``, ``exit code 1``, or the kind of failure."""
    if failure.signal is not None:
        return signal_name(failure.signal)
    has_code = failure.exit_code is not None
    return f"exit code {failure.exit_code}" if has_code else failure.kind.value


def headline(failure: Failure) -> str:
    """``rank 1 on node-b failed first: SIGKILL (oom)``, without what the meaning says."""
    who = "the run failed" if failure.rank is None else f"rank {failure.rank}"
    where = f" on {failure.node}" if failure.node else ""
    text = f"{who}{where}" if failure.rank is None else f"{who}{where} failed first"
    how = how_it_ended(failure)
    if how != failure.kind.value and not re.search(rf"\b{how}\b", failure.meaning):
        text += f": {how}"
    kind = failure.kind.value
    return text if kind == "signal" else f"{text} ({kind})"


def meaning(failure: Failure) -> str:
    """What it means; ``it`` is the rank of the headline."""
    if failure.rank is None:
        return failure.meaning
    who = f"rank {failure.rank}"
    text = failure.meaning.removeprefix(f"{who}: ")
    where = f"(?: on {re.escape(failure.node)}(?![\\w.:-]))?" if failure.node else ""
    return re.sub(rf"\b{who}\b{where}", "it", text)
