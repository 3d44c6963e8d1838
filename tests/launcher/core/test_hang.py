"""The hang rule."""

from __future__ import annotations

import dataclasses

from launcher.core.diagnosis.hang import (
    RankSight,
    limit_s,
    silent_ranks,
    usual_interval_s,
)
from launcher.core.profile.model import Limits
from launcher.core.run.heartbeat import Heartbeat, Phase
from launcher.core.run.metrics import pack, unpack
from launcher.core.run.report_types import StepReport

LIMITS = Limits()


def sight(
    rank: int, phase: Phase, quiet_s: float, steps: int = 7, state: str = "S", ahead_s: float = 0.0
) -> RankSight:
    beat = Heartbeat(1000.0 - quiet_s + ahead_s, phase, steps, 0, 1)
    return RankSight(rank, f"n{rank}", 0.0, beat, state, ahead_s)


def silent(*sights: RankSight, interval_s: float | None = 1.0, sees_all: bool = True) -> list[int]:
    found = silent_ranks(sights, 1000.0, LIMITS, interval_s, sees_all=sees_all)
    return [item.rank for item in found]


def test_the_silent_rank_is_the_one_its_peers_wait_for() -> None:
    found = silent_ranks(
        [
            sight(0, Phase.REDUCE, 11),
            sight(1, Phase.COMPUTE, 12),
            sight(2, Phase.REDUCE, 11),
        ],
        1000.0,
        LIMITS,
        1.0,
    )
    (rank,) = found
    assert (rank.rank, rank.node, rank.phase) == (1, "n1", Phase.COMPUTE)
    assert "2 peers wait" in rank.why


def test_limits_follow_the_learned_step_time() -> None:
    assert silent(sight(0, Phase.REDUCE, 9), sight(1, Phase.DATA, 9)) == []
    assert silent(sight(0, Phase.REDUCE, 14), sight(1, Phase.DATA, 14), interval_s=3.0) == []
    assert silent(sight(0, Phase.REDUCE, 16), sight(1, Phase.DATA, 16), interval_s=3.0) == [1]


def test_compile_checkpoint_and_eval_have_limits_of_their_own() -> None:
    waiting = sight(0, Phase.REDUCE, 100)
    for phase in (Phase.COMPILE, Phase.CHECKPOINT, Phase.EVAL, Phase.INIT):
        assert silent(waiting, sight(1, phase, 100)) == []
        assert silent(waiting, sight(1, phase, 4000)) == [1]
    assert limit_s(Phase.DONE, LIMITS, 1.0) is None


def test_before_the_first_steps_a_step_may_compile() -> None:
    assert silent(sight(0, Phase.REDUCE, 99), sight(1, Phase.COMPUTE, 99), interval_s=None) == []


def test_a_rank_without_any_sign_has_the_launch_limit() -> None:
    mute = RankSight(1, "n", started_s=1000.0 - 500)
    assert silent(sight(0, Phase.REDUCE, 500), mute) == []
    late = RankSight(1, "n", started_s=1000.0 - 700)
    assert silent(sight(0, Phase.REDUCE, 500), late) == [1]


def test_a_stopped_process_is_the_cause() -> None:
    found = silent(
        sight(0, Phase.REDUCE, 11), sight(1, Phase.REDUCE, 12, state="T"), sight(2, Phase.DATA, 11)
    )
    assert found == [1]


def test_a_stopped_process_is_silent_in_any_phase() -> None:
    for phase in Phase:
        held = dataclasses.replace(sight(1, phase, 12, state="T"), stopped_s=1000.0 - 11)
        expected = [] if phase is Phase.DONE else [1]
        assert silent(sight(0, Phase.REDUCE, 11), held) == expected
        assert silent(sight(0, Phase.REDUCE, 11), held, interval_s=None) == expected
        # A debugger that looks in for a moment is no news, however long the phase lasts.
        held = dataclasses.replace(held, stopped_s=1000.0 - 1)
        if phase in (Phase.COMPILE, Phase.CHECKPOINT, Phase.EVAL, Phase.INIT):
            assert silent(sight(0, Phase.REDUCE, 11), held) == []
    ahead = dataclasses.replace(held, clock_ahead_s=500.0, stopped_s=1500.0 - 11)
    assert ahead.stopped_for_s(1000.0) in (0.0, 11.0)


def test_all_in_the_reduction_is_the_network_unless_others_are_elsewhere() -> None:
    sights = [sight(0, Phase.REDUCE, 11), sight(1, Phase.REDUCE, 11)]
    assert silent(*sights) == [0, 1]
    assert silent(*sights, sees_all=False) == []


def test_a_rank_left_behind_in_a_reduction() -> None:
    assert silent(sight(0, Phase.REDUCE, 11, steps=8), sight(1, Phase.REDUCE, 12, steps=7)) == [1]


def test_a_rank_whose_peers_have_just_left_the_reduction_is_not_left_behind() -> None:
    """All waited long for one that compiled; the first of them to wake is a step ahead."""
    late = sight(1, Phase.REDUCE, 60, steps=7)
    for phase in (Phase.DATA, Phase.COMPUTE, Phase.REDUCE):
        assert silent(sight(0, phase, 0.1, steps=8), late) == []


def test_ranks_are_not_silent_when_their_last_peer_has_just_arrived() -> None:
    """It compiled while the others waited: the reduction starts now."""
    waited = sight(0, Phase.REDUCE, 60)
    assert silent(waited, sight(1, Phase.REDUCE, 0.1)) == []
    assert silent(waited, sight(1, Phase.REDUCE, 0.1), sight(2, Phase.REDUCE, 60)) == []
    assert silent(waited, sight(1, Phase.REDUCE, 11)) == [0, 1]


def test_a_rank_for_which_no_peer_waits_is_silent_too() -> None:
    (rank,) = silent_ranks([sight(0, Phase.COMPUTE, 60)], 1000.0, LIMITS, 1.0)
    assert "no peer waits for it" in rank.why


def test_clocks_are_corrected() -> None:
    late = sight(1, Phase.DATA, 12, ahead_s=500.0)
    assert silent(sight(0, Phase.REDUCE, 11), late) == [1]


def test_the_interval_is_learned_without_the_first_step() -> None:
    def records(*times_ms: float, steps: int = 1) -> list[object]:
        data = b"".join(
            pack(StepReport(0, i, 1, 99, step_time_ms=ms, steps=steps), 0.0)
            for i, ms in enumerate(times_ms)
        )
        return list(unpack(data))

    assert usual_interval_s(records(30_000, 1000)) is None  # type: ignore[arg-type]
    assert usual_interval_s(records(30_000, 1000, 1200)) == 1.1  # type: ignore[arg-type]
    assert usual_interval_s(records(9, 100, 100, 100, steps=10)) == 1.0  # type: ignore[arg-type]
