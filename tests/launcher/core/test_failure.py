"""Cause and followers."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.diagnosis.codes import CODES
from launcher.core.diagnosis.failure import Death, explain, name_failure
from launcher.core.run.events import FailureKind

FOLLOWER = (
    "[ERROR] DISTRIBUTED: Ring ReduceScatter wait receiving [1,1255] failed",
    "Traceback (most recent call last):",
    '  File "train.py", line 3, in <module>',
    "RuntimeError: AllReduceCPUKernelMod launch failed",
)
TRACEBACK = (
    "epoch: [  0/  1], step:[    1/    1], loss:[1/1], time:[1], lr:[0.1]",
    "Traceback (most recent call last):",
    '  File "a.py", line 1, in <module>',
    "    raise ValueError(1)",
    "ValueError: first",
    "During handling of the above exception, another exception occurred:",
    "Traceback (most recent call last):",
    '  File "b.py", line 2, in f',
    "KeyError: 'x'",
    "",
)


def test_the_first_death_is_the_cause() -> None:
    deaths = [
        Death("a", 100.0, 0, exit_code=1, last_lines=TRACEBACK),
        Death("b", 99.0, 1, signal=9),
    ]
    failure = name_failure(deaths, range(4))
    assert (failure.rank, failure.node, failure.time) == (1, "b", 99.0)
    assert failure.followers == (0, 2, 3)
    assert failure.signal == 9


def test_a_follower_is_not_the_cause_even_if_it_ends_first() -> None:
    deaths = [
        Death("a", 100.0, 0, exit_code=143, last_lines=("Kill this process with SIGTERM",)),
        Death("a", 100.2, 2, exit_code=1, last_lines=FOLLOWER),
        Death("b", 101.0, 1, exit_code=4, last_lines=("fault: kind:[loss], text:[nan at 7]",)),
    ]
    failure = name_failure(deaths)
    assert (failure.rank, failure.kind) == (1, FailureKind.LOSS)
    assert "nan at 7" in failure.meaning
    assert failure.followers == (0, 2)


@pytest.mark.parametrize("who", ["of this machine is gone", "is gone: rank 1 at 10.0.0.2"])
def test_a_rank_whose_peer_closed_its_socket_is_a_follower(who: str) -> None:
    line = f"error: another rank {who} (its socket is closed)"
    deaths = [
        Death("a", 100.0, 0, exit_code=1, last_lines=(line,)),
        Death("a", 100.1, 1, exit_code=1, last_lines=TRACEBACK),
    ]
    failure = name_failure(deaths)
    assert (failure.rank, failure.followers) == (1, (0,))


def test_a_process_that_we_ended_is_never_the_cause() -> None:
    deaths = [Death("a", 1.0, 0, signal=15, asked=True), Death("a", 2.0, 1, signal=11)]
    failure = name_failure(deaths)
    assert (failure.rank, failure.kind) == (1, FailureKind.CRASH)


def test_a_rank_is_named_before_a_helper_at_the_same_moment() -> None:
    deaths = [Death("a", 1.0, None, "scheduler", 1), Death("a", 1.0, 3, signal=9)]
    assert name_failure(deaths).rank == 3


@pytest.mark.parametrize(
    ("death", "kind", "words"),
    [
        (Death("n", 0, 0, signal=9, oom=True), "oom", "out of memory"),
        (
            Death("n", 0, 0, signal=9, last_lines=("Memory cgroup out of memory: Killed",)),
            "oom",
            "out of memory",
        ),
        (Death("n", 0, 0, signal=9), "signal", "probably the OOM killer"),
        (Death("n", 0, 0, signal=9, oom=False), "signal", "no OOM kill"),
        (Death("n", 0, 0, exit_code=137), "signal", "SIGKILL"),
        (Death("n", 0, 0, signal=7), "crash", "/dev/shm"),
        (Death("n", 0, 0, signal=64), "signal", "SIGRTMAX"),
        (Death("n", 0, 0, exit_code=2), "config", "refused"),
        (Death("n", 0, 0, exit_code=3), "data", "data"),
        (Death("n", 0, 0, exit_code=5), "checkpoint", "checkpoint"),
        (Death("n", 0, 0, exit_code=6), "device", "device"),
        (Death("n", 0, 0, exit_code=127), "launch", "not found"),
        (Death("n", 0, 0, exit_code=1, last_lines=TRACEBACK), "crash", "raised KeyError: 'x'"),
        (
            Death("n", 0, 0, exit_code=1, last_lines=("x", "EI0006: Getting socket times out")),
            "node",
            "EI0006",
        ),
        (
            Death("n", 0, 0, exit_code=1, last_lines=("ModuleNotFoundError: No module named 'x'",)),
            "config",
            "Python package",
        ),
        (
            Death("n", 0, 0, exit_code=1, last_lines=("OSError: No space left on device",)),
            "data",
            "disk",
        ),
        (
            Death("n", 0, 0, exit_code=1, last_lines=("Got device count[8] and device id[9]",)),
            "config",
            "host name",
        ),
        (Death("n", 0, 0, exit_code=0), "crash", "before the others"),
        (Death("n", 0, 0, exit_code=77), "crash", "exit code 77"),
        (Death("n", 0, None, "scheduler", 1), "crash", "the scheduler"),
        (Death("n", 0, None, "agent", kind=FailureKind.NODE), "node", "the agent on n is gone"),
    ],
)
def test_causes(death: Death, kind: str, words: str) -> None:
    cause = explain(death)
    assert cause.kind == FailureKind(kind)
    text = f"{cause.meaning} {cause.try_next}"
    assert words in text or signal.Signals(64).name in text


def test_the_traceback_is_the_last_complete_one() -> None:
    assert explain(Death("n", 0, 0, exit_code=1, last_lines=TRACEBACK)).traceback == TRACEBACK[6:9]
    cut = TRACEBACK[1:3]
    assert explain(Death("n", 0, 0, exit_code=1, last_lines=cut)).traceback == cut


def test_codes_have_a_meaning() -> None:
    for code, (kind, meaning, _) in CODES.items():
        found = explain(Death("n", 0, 0, exit_code=1, last_lines=(f"[ERROR] {code}: x",)))
        assert found.kind is kind
        assert meaning in found.meaning


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.builds(
            Death,
            node=st.sampled_from(["a", "b"]),
            time_s=st.floats(0, 1e9),
            rank=st.none() | st.integers(0, 5),
            exit_code=st.none() | st.integers(-300, 300),
            signal=st.none() | st.integers(-5, 200),
            asked=st.booleans(),
            oom=st.none() | st.booleans(),
            last_lines=st.lists(
                st.sampled_from([*FOLLOWER, *TRACEBACK, "EI0002", "fault: kind:[x], text:[y]"])
                | st.text(max_size=20),
                max_size=6,
            ).map(tuple),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_deaths_give_a_failure(deaths: list[Death]) -> None:
    failure = name_failure(deaths, range(6))
    assert failure.meaning
    assert failure.rank not in failure.followers
    if any(not death.asked for death in deaths):
        assert any(death.rank == failure.rank and not death.asked for death in deaths)


def test_no_death_gives_no_failure() -> None:
    with pytest.raises(ValueError, match="no death"):
        name_failure([])
