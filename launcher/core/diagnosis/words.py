"""A failure in two sentences: which rank and how, then what it means. Neither repeats the other."""

from __future__ import annotations

import re
import signal

from launcher.core.run.events import Failure


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def headline(failure: Failure) -> str:
    """``rank 1 on node-b failed first: SIGKILL (oom)``, without what the meaning says."""
    who = "the run failed" if failure.rank is None else f"rank {failure.rank}"
    where = f" on {failure.node}" if failure.node else ""
    text = f"{who}{where}" if failure.rank is None else f"{who}{where} failed first"
    if failure.signal is not None:
        how = signal_name(failure.signal)
    else:
        how = "" if failure.exit_code is None else f"exit code {failure.exit_code}"
    if how and not re.search(rf"\b{how}\b", failure.meaning):
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
