"""Every second of a run is in one class, whatever happened."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.diagnosis.goodput import CLASSES, NO_INPUT, NO_TIMES, goodput_of
from launcher.core.run import events as e
from launcher.core.run.fold import apply
from launcher.core.run.metrics import MetricRecord
from launcher.core.run.state import RunState

STEPS = 10
FAILURE = e.Failure(e.FailureKind.SIGNAL, "killed", rank=1)


class Story:
    """Makes up a run: what passes time notes in which class."""

    def __init__(self, *, records_times: bool = True, node_ahead_s: float = 0.0) -> None:
        self.now_s = self.began_s = 1000.0
        self.expected = dict.fromkeys(CLASSES, 0.0)
        self.state = RunState()
        self.reports: dict[int, list[MetricRecord]] = {}
        self.attempt = self.step = 0
        self._times, self._ahead_s = records_times, node_ahead_s
        self._steps: list[tuple[int, float, float]] = []
        self.add(e.RunCreated("r", "p", 2))

    def add(self, event: e.Event) -> None:
        line = e.to_json(event).replace('"n": 0', f'"n": {self.state.last_n + 1}', 1)
        self.state = apply(
            self.state, e.parse_event(line.replace('"t": 0.0', f'"t": {self.now_s}', 1))
        )

    def passes(self, name: str, seconds: float) -> None:
        self.expected[f"{name}_s"] += seconds
        self.now_s += seconds

    def start(
        self, launch_s: float = 3.0, compile_s: float = 2.0, resume: int | None = None
    ) -> None:
        self.attempt += 1
        self.reports[self.attempt] = []
        at = None if resume is None else e.StartCheckpoint("/c", resume // STEPS, resume)
        self.add(e.AttemptStarted(self.attempt, 2, at))
        if self.attempt > 1:
            for step, compute_s, wait_s in self._steps:
                if step >= (resume or 0):
                    self.expected["compute_s"] -= compute_s
                    self.expected["wait_s"] -= wait_s
                    self.expected["lost_s"] += compute_s + wait_s
            self._steps = [item for item in self._steps if item[0] < (resume or 0)]
        self.step = resume or 0
        self.passes("launch", launch_s)
        self.add(e.TrainingStarted(self.attempt, 20, STEPS))
        self.passes("compile", compile_s)

    def start_noted_late(self, late_s: float) -> None:
        """Training began, and steps are done, when the event is noted."""
        self.attempt += 1
        self.reports[self.attempt] = []
        self.add(e.AttemptStarted(self.attempt, 2, None))
        self.passes("launch", 3.0)
        self.now_s += late_s
        self.add(e.TrainingStarted(self.attempt, 20, STEPS))
        self.now_s -= late_s

    def train(self, steps: int, compute_s: float = 0.5, wait_s: float = 0.125) -> None:
        for _ in range(steps):
            self.passes("compute", compute_s)
            self.passes("wait", wait_s)
            self._steps.append((self.step, compute_s, wait_s))
            took_ms = (compute_s + wait_s) * 1000
            self.reports[self.attempt].append(
                MetricRecord(
                    *(self.now_s + self._ahead_s, self.step, self.step // STEPS, 1),
                    *(1.0, 1.0, took_ms, wait_s * 1000, 9.0, 0.1, None, None),
                )
            )
            self.step += 1

    def save(self, seconds: float = 1.0) -> None:
        self.passes("checkpoint", seconds)
        took_ms = seconds * 1000 if self._times else None
        self.add(e.CheckpointWritten(self.attempt, 0, self.step, "/c", 1, "a", took_ms))

    def evaluate(self, seconds: float = 4.0) -> None:
        self.passes("evaluation", seconds)
        took_ms = seconds * 1000 if self._times else None
        self.add(e.EvalFinished(attempt=self.attempt, took_ms=took_ms))

    def fail(self, notice_s: float = 0.5) -> None:
        self.passes(self._until_the_end("down"), notice_s)
        self.add(e.AttemptFailed(self.attempt, FAILURE))

    def _until_the_end(self, name: str) -> str:
        """An attempt without a step compiled until its end, as far as anybody knows."""
        return name if self.reports[self.attempt] else "compile"

    def stop(self, leave_s: float = 1.0) -> None:
        self.add(e.StopRequested("me"))
        self.passes(self._until_the_end("launch"), leave_s)
        self.add(e.AttemptStopped(self.attempt, self.step))

    def finish(self) -> None:
        self.passes("launch", 1.0)
        self.add(e.AttemptFinished(self.attempt, self.step))

    def found(self, now_s: float | None = None) -> dict[str, float]:
        found = goodput_of(self.state, self.reports, now_s)
        assert found.wall_s == pytest.approx(self.now_s - self.began_s, rel=1e-6)
        values = {name: getattr(found, name) for name in CLASSES}
        assert len(found.attempts) == len(self.state.attempts)
        for name in CLASSES if found.attempts else ():
            parts = sum(getattr(part, name) for part in found.attempts)
            assert parts == pytest.approx(values[name], rel=1e-6, abs=1e-6)
        return values

    def check(self) -> None:
        assert self.found() == pytest.approx(self.expected, rel=1e-6, abs=1e-3)


def test_each_attempt_has_its_own_time() -> None:
    story = Story()
    story.passes("queue", 7)
    story.start(launch_s=20)
    story.train(STEPS)
    story.save(2)
    story.train(4)
    story.fail()
    story.passes("down", 60)
    story.start(launch_s=5, resume=STEPS)
    story.train(6)
    story.finish()
    first, second = goodput_of(story.state, story.reports).attempts
    assert (first.queue_s, first.launch_s, first.checkpoint_s) == pytest.approx((7, 20, 2))
    assert first.down_s == pytest.approx(60.5)
    assert first.lost_s == pytest.approx(4 * 0.625)
    assert second.launch_s == pytest.approx(6)
    assert second.compute_s == pytest.approx(3)
    assert second.down_s == 0


@pytest.mark.parametrize("records_times", [True, False])
def test_known_times_are_in_their_classes(records_times: bool) -> None:
    story = Story(records_times=records_times)
    story.passes("queue", 7)
    story.start(launch_s=20, compile_s=15)
    story.train(STEPS)
    story.save(2)
    story.evaluate(5)
    story.passes("input", 3)
    story.train(STEPS)
    story.save(2)
    story.train(4)
    story.fail()
    story.passes("down", 60)
    story.start(resume=2 * STEPS)
    story.train(6)
    story.stop()
    story.passes("stopped", 600)
    story.start(resume=26)
    story.train(4)
    story.save()
    story.finish()
    story.check()
    assert story.expected["lost_s"] == 4 * 0.625
    notes = goodput_of(story.state, story.reports).notes
    assert notes == (() if records_times else (NO_TIMES,))


def test_steps_before_a_late_sign_of_training_are_no_launch() -> None:
    story = Story()
    story.start_noted_late(2.0)
    story.train(STEPS)
    story.finish()
    story.check()


def test_waiting_for_images_is_input_in_epochs_that_ended() -> None:
    story = Story()
    story.start()
    story.train(STEPS)
    story.add(e.EpochFinished(1, 1, 1.0, 1500.0))
    story.expected["input_s"], story.expected["compute_s"] = 1.5, STEPS * 0.5 - 1.5
    story.train(3)
    story.finish()
    story.check()
    story.add(e.EpochFinished(1, 2, 1.0))
    assert goodput_of(story.state, story.reports).notes == (NO_INPUT,)


def test_a_run_from_scratch_repeats_all_steps_of_the_failed_attempt() -> None:
    story = Story()
    story.start()
    story.train(9)
    story.fail()
    story.start()
    story.train(3)
    story.finish()
    story.check()


def test_a_checkpoint_within_an_epoch_is_no_compute() -> None:
    story = Story()
    story.start()
    story.train(3)
    before_s = story.now_s
    story.save(2)
    story.train(1)
    took_ms = (story.now_s - before_s) * 1000  # the trainer's window holds the save
    last = story.reports[1][-1]
    story.reports[1][-1] = MetricRecord(
        *(last.time_s, last.global_step, 0, 1, 1.0, 1.0, took_ms, 125.0, 9.0, 0.1, None, None)
    )
    story.finish()
    story.check()


def test_a_living_run_counts_to_now_and_a_hang_is_down() -> None:
    story = Story()
    story.start()
    story.add(e.RankStarted(1, 1, "n", 1, None, 4))
    story.train(5)
    story.passes("compute", 2)
    assert story.found(story.now_s) == pytest.approx(story.expected)
    story.passes("down", 30)
    story.add(e.RankSilent(1, 1, "n", "data", 30.0))
    story.passes("down", 8)
    assert story.found(story.now_s) == pytest.approx(story.expected)


def test_runs_that_never_trained_and_old_ones_without_an_end() -> None:
    story = Story()
    story.passes("queue", 2)
    assert story.found(story.now_s)["queue_s"] == 2
    story.add(e.AttemptStarted(1, 2))
    story.passes("launch", 9)
    story.add(e.AttemptFailed(1, FAILURE))
    story.attempt = 1
    story.check()
    story.passes("down", 5)
    story.start(resume=0)
    story.train(2)  # power cut: nobody wrote its end
    story.check()
    assert goodput_of(RunState(), {}).share is None


def random_story(seed: int) -> Story:
    chance = random.Random(seed)
    story = Story(records_times=chance.random() < 0.7)
    for _ in range(chance.randrange(1, 6)):
        is_new = story.attempt == 0
        at = None if is_new or chance.random() < 0.1 else chance.randrange(0, story.step + 1)
        story.start(chance.uniform(0, 30), chance.uniform(0, 20), at)
        for _ in range(chance.randrange(0, 5)):
            story.train(chance.randrange(2, 30))
            if chance.random() < 0.6:
                story.save(chance.uniform(0, 3))
            if chance.random() < 0.3:
                story.evaluate(chance.uniform(0, 9))
        how = chance.choice(("fail", "stop"))
        story.fail(chance.uniform(0, 9)) if how == "fail" else story.stop(chance.uniform(0, 9))
        story.passes("down" if how == "fail" else "stopped", chance.uniform(0, 500))
    story.start(resume=chance.randrange(0, story.step + 1))
    story.train(3)
    story.finish()
    return story


@pytest.mark.parametrize("seed", range(50))
def test_random_faults_and_resumes_land_in_their_classes(seed: int) -> None:
    story = random_story(seed)
    wall_s = story.now_s - story.began_s
    assert story.found() == pytest.approx(story.expected, abs=0.01 * wall_s)


@given(st.lists(st.floats(0, 1e9), max_size=12), st.floats(-1e6, 1e6), st.randoms())
def test_no_clock_and_no_record_makes_time_negative(
    times: list[float], ahead_s: float, chance: random.Random
) -> None:
    story = Story(node_ahead_s=ahead_s)
    story.start()
    story.train(4)
    story.fail()
    for time_s in times:
        record = MetricRecord(time_s, chance.randrange(9), 0, 3, *([None] * 8))
        story.reports[1].insert(chance.randrange(4), record)
    assert min(story.found().values()) >= 0
