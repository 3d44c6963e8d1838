"""What a notification says, and which events have one."""

from __future__ import annotations

import pytest

from launcher.core.diagnosis.notices import Notice, notice_of
from launcher.core.profile.model import NoticeKind
from launcher.core.run import events as e
from launcher.core.run.fold import apply
from launcher.core.run.state import RunState

FAILURE = e.Failure(
    e.FailureKind.OOM,
    "the kernel killed rank 1: the node ran out of memory",
    "Use a smaller batch_size.",
    rank=1,
    node="node-b",
    signal=9,
)
BEGIN = (
    e.RunCreated("r", "p", 2),
    e.SupervisorStarted(7),
    e.AttemptStarted(1, 2),
    e.RankStarted(1, 0, "node-a", 0, 0, 100),
    e.RankStarted(1, 1, "node-b", 0, 0, 101),
    e.TrainingStarted(1, 3, 10),
)


def notices(*events: e.Event) -> list[Notice]:
    """Of a run with these events after its begin, one second apart."""
    state, found = RunState(), []
    for n, event in enumerate((*BEGIN, *events), 1):
        object.__setattr__(event, "n", n)
        object.__setattr__(event, "t", 1000.0 + n)
        before, state = state, apply(state, event)
        notice = notice_of(event, before, state)
        found += [notice] if notice is not None else []
    return found


def test_a_failure_has_cause_advice_and_the_command() -> None:
    (notice,) = notices(e.RankExited(1, 1, "node-b", signal=9), e.AttemptFailed(1, FAILURE))
    assert notice.kind is NoticeKind.FAILED
    assert notice.id == "r#8"
    assert notice.title == "r: FAILED, rank 1 on node-b failed first: SIGKILL (oom)"
    assert "the node ran out of memory" in notice.text
    assert "Use a smaller batch_size." in notice.text
    assert notice.text.endswith("Resume: effnet-launch resume r")


def test_a_hang_is_one_notice_although_the_others_wait_for_it() -> None:
    silent = [e.RankSilent(1, rank, f"node-{'ab'[rank]}", "compute", 10.0) for rank in (1, 0)]
    back = [e.RankRecovered(1, rank, "node-a", "compute", 20.0) for rank in (0, 1)]
    found = notices(*silent, *back, e.RankSilent(1, 0, "node-a", "compute", 10.0))
    kinds = [notice.kind.value for notice in found]
    assert kinds == ["hung", "recovered", "hung"]
    assert "rank 1 on node-b is silent" in found[0].title
    assert "effnet-launch stacks r --rank 1" in found[0].text
    assert found[0].id != found[2].id


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        (e.GaveUp(1, "2 attempts saved no checkpoint"), "gave_up", "2 attempts saved no checkpoin"),
        (e.NodeUnreachable(1, "node-b", 5.0, "timed out"), "unreachable", "timed out"),
        (e.NodeReached(1, "node-b", 5.0), "recovered", "node-b answers again"),
        (e.DiskLow(1, "node-b", "/data", 10**8, 10**9), "disk_low", "954 MiB may be needed"),
        (e.DiskRecovered(1, "node-b", "/data"), "recovered", "enough space again on node-b"),
        (e.AttemptStopped(1, 14), "stopped", "effnet-launch resume r"),
        (e.AttemptFinished(1, 30), "finished", "finished after 4 s"),
    ],
)
def test_each_kind(event: e.Event, kind: str, words: str) -> None:
    (notice,) = notices(event)
    assert notice.kind.value == kind
    assert words.lower() in f"{notice.title}\n{notice.text}".lower()


def test_the_end_has_duration_attempts_and_the_best_accuracy() -> None:
    point = e.StartCheckpoint("c", 1, 10, "by itself, 1 of 1")
    failed, resumed, *_, finished = notices(
        e.AttemptFailed(1, FAILURE),
        e.AttemptStarted(2, 2, point),
        e.EvalFinished(2, top_1_acc=0.5),
        e.EvalFinished(2, top_1_acc=0.75),
        e.EvalFinished(2, top_1_acc=0.7),
        e.AttemptFinished(2, 30),
    )
    assert (failed.kind.value, resumed.kind.value) == ("failed", "resumed")
    assert "attempt 2 starts from step 10" in resumed.title
    assert finished.title == "r: finished at step 30"
    assert finished.lines == ("finished after 8 s in 2 attempts", "best top-1 75.00 %")


def test_what_goes_as_planned_has_no_notice() -> None:
    assert notices(e.EpochFinished(1, 1, 0.5), e.CheckpointWritten(1, 1, 10, "c")) == []
