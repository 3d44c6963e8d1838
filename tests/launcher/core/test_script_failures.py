"""What ranks of PyTorch and of other scripts print and return when they end."""

from __future__ import annotations

import pytest

from launcher.core.diagnosis.evidence import find_evidence
from launcher.core.diagnosis.failure import Death, name_failure
from launcher.core.run.events import FailureKind

# Printed by PyTorch 2.13 (gloo) when rank 1 was killed.
PEER_LOST = """\
Epoch 1/6 iter 5/5 loss=0.8085
[rank0]: Traceback (most recent call last):
[rank0]:   File "/work/ddp.py", line 38, in <module>
[rank0]:     loss.backward()
[rank0]:   File "/env/torch/_tensor.py", line 623, in backward
[rank0]:     torch.autograd.backward(
[rank0]: RuntimeError: [/__w/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error \
[127.0.0.1]:10977: Connection reset by peer. This is typically caused by a remote worker hanging.
"""
OWN = """\
[rank1]: Traceback (most recent call last):
[rank1]:   File "/work/ddp.py", line 12, in <module>
[rank1]:     raise ValueError("no such class: 17")
[rank1]: ValueError: no such class: 17
"""


def death(rank: int, text: str, code: int = 1, time_s: float = 0.0) -> Death:
    lines = tuple(text.splitlines())
    return Death("n", time_s, rank, exit_code=code, last_lines=lines, runs_trainer=False)


def test_a_lost_peer_of_gloo_is_a_consequence() -> None:
    assert find_evidence(PEER_LOST.splitlines()).is_consequence
    found = find_evidence(OWN.splitlines())
    assert (found.error, found.is_consequence) == ("ValueError: no such class: 17", False)
    # The one that lost its peer may be seen first.
    failure = name_failure([death(0, PEER_LOST), death(1, OWN, time_s=0.1)], (0, 1), {})
    assert (failure.rank, failure.kind) == (1, FailureKind.CRASH)
    assert "no such class: 17" in failure.meaning


@pytest.mark.parametrize("code", [2, 3, 4, 5, 6])
def test_exit_codes_of_the_trainer_mean_nothing_of_a_script(code: int) -> None:
    """A failure of configuration, say, would not be tried again."""
    failure = name_failure([death(0, "", code)], (0,), {})
    assert failure.kind is FailureKind.CRASH
    assert f"exit code {code}" in failure.meaning


def test_a_command_that_is_not_there_is_a_failed_launch() -> None:
    assert name_failure([death(0, "", 127)], (0,), {}).kind is FailureKind.LAUNCH
