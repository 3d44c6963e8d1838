"""The dynamic loss scale: MindSpore's formula; an overflow is skipped, also after a resume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from effnet.config import resolve
from effnet.optim import loss_scale
from effnet.train.steps.eager import TrainStep
from effnet.train.steps.graph import GraphStep, rates_of
from tests.effnet.graph_runs import Run, batch, config

pytestmark = pytest.mark.mindspore


def test_the_scale_is_adjusted_as_mindspores(monkeypatch: pytest.MonkeyPatch) -> None:
    import mindspore as ms

    monkeypatch.setattr(loss_scale, "WINDOW", 3)
    theirs = ms.amp.DynamicLossScaler(scale_value=4.0, scale_factor=2, scale_window=3)
    ours = loss_scale.first(4.0)
    for good in (1, 1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1):
        theirs.adjust(ms.Tensor(bool(good)))
        loss_scale.adjust(ours, bool(good))
        assert float(theirs.scale_value.asnumpy()) == ours[0]
        assert int(theirs.counter.asnumpy()) == ours[1]
    assert ours[2] == 5


def test_the_scale_has_a_limit_and_stays_above_it_when_it_was_set_so() -> None:
    for begin, end in ((2.0**24, 2.0**24), (2.0**23, 2.0**24), (2.0**30, 2.0**30)):
        state = np.array([begin, loss_scale.WINDOW - 1, 0], np.float32)
        loss_scale.adjust(state, is_finite=True)
        assert state.tolist() == [end, 0, 0]


def test_it_is_on_for_float16_and_off_for_float32() -> None:
    assert resolve("Ascend").config.dynamic_loss_scale
    assert not resolve("Ascend", sets=["amp_level=O0"]).config.dynamic_loss_scale
    assert not resolve("CPU").config.dynamic_loss_scale
    fixed = resolve("GPU", sets=["dynamic_loss_scale=false"])
    assert any("overflow in float16 are not detected" in note for note in fixed.notes)


@pytest.fixture
def injected(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run whose gradients overflow in step 1; and another that begins with a given state."""
    from tests.effnet.graph_runs import Run, batch, config

    def run(first: int, last: int, state: dict[str, np.ndarray] | None = None) -> Any:
        made = Run(config(mode="pynative", dynamic_loss_scale=True, loss_scale=1024.0))
        if state is not None:
            made.state.load(state)
        own, states = made.step._gradients, []

        def overflowing(*given: Any) -> Any:
            loss, gradients = own(*given)
            if len(states) + first == 1:
                gradients = (gradients[0] * float("inf"), *gradients[1:])
            return loss, gradients

        made.step._gradients = overflowing
        for step in range(first, last):
            made.step(batch(made, step), 1e-3, step)
            states.append(made.tensors())
        return states

    return run


def test_an_overflow_is_skipped_and_training_continues_as_does_a_resume(
    injected: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    states = injected(0, 3)
    assert [state[loss_scale.NAME].tolist() for state in states] == [
        [1024, 1, 0],
        [512, 0, 1],
        [512, 1, 1],
    ]
    statistics = (".moving_mean", ".moving_variance")
    for name, before in states[0].items():
        if name != loss_scale.NAME and not (
            name.endswith(statistics) and not name.startswith("ema.")
        ):
            assert np.array_equal(before, states[1][name]), name
    assert not np.array_equal(states[1]["stem.weight"], states[2]["stem.weight"])
    assert "note: 1 step was skipped before step 2" in capsys.readouterr().out

    for begin in (1, 2):
        again = injected(begin, 3, states[begin - 1])
        for name, value in states[2].items():
            assert value.tobytes() == again[-1][name].tobytes(), name


def test_a_checkpoint_with_a_fixed_scale_continues_with_a_dynamic_one() -> None:
    from tests.effnet.graph_runs import Run, config

    fixed, dynamic = (
        Run(config(mode="pynative", dynamic_loss_scale=on, loss_scale=8.0)) for on in (False, True)
    )
    tensors = fixed.tensors()
    assert loss_scale.NAME not in tensors
    dynamic.state.load(tensors)
    assert dynamic.state.tensors()[loss_scale.NAME].tolist() == [8, 0, 0]
    fixed.state.load(dynamic.tensors())


@pytest.mark.slow
def test_a_graph_skips_the_same_steps(mode_restored: None) -> None:
    """The scale is so large that gradients overflow in float32, until it is halved often enough.

    The first scaled loss overflows as well, for any loss above 2: what is reported stays finite.
    Batch norm takes away that the stem's weights are small, and its gradients are large for that.
    """
    from tests.effnet.graph_runs import Run, config

    found, own = [], {"dynamic_loss_scale": True, "loss_scale": 2.0**127, "ema_decay": 0.0}
    for mode in ("graph", "pynative"):
        run = Run(config(mode=mode, bn_eps=1e-5, **own))
        stem = next(p for p in run.net.get_parameters() if p.name == "stem.weight")
        ops.assign(stem, stem / 8)
        assert 2 < run.take(0, 4)[0] < 10
        found.append(run.tensors())
    assert found[0][loss_scale.NAME].tolist() == found[1][loss_scale.NAME].tolist()
    scale, _, skipped = found[0][loss_scale.NAME].tolist()
    assert 0 < skipped < 4
    assert scale == 2.0 ** (127 - skipped)
    np.testing.assert_allclose(
        found[0]["classifier.weight"], found[1]["classifier.weight"], rtol=1e-3, atol=1e-6
    )


class Peer(nn.Cell):
    """In place of the all-reduce of two ranks: the other one has the same numbers but the last."""

    def __init__(self, is_finite: bool) -> None:
        super().__init__(auto_prefix=False)
        self.last = Tensor(np.array([float(is_finite)], np.float32))

    def construct(self, bucket: Tensor) -> Tensor:
        return ops.concat((bucket[:-1] * 2, bucket[-1:] + self.last))


def test_all_ranks_skip_a_step_that_one_ranks_register_reports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A 910A saturates: gradients are finite on both ranks, and each reads its own register."""
    made = Run(config(mode="graph", dynamic_loss_scale=True, loss_scale=1024.0, ema_decay=0.0))
    cell = GraphStep(made.net, made.state, made.config)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    before, one = made.tensors(), batch(made, 0)
    columns = (one.images, one.labels, one.noise, rates_of(made.config, 1e-3, 0))
    for mine, other in ((True, True), (True, False), (False, True)):
        made.state.load(before)
        cell.processes = cell.world_size = 2
        cell.all_reduce = Peer(other)
        monkeypatch.setattr(ms.amp, "all_finite", lambda gradients, mine=mine: Tensor(mine))
        cell(*map(Tensor, columns))
        after = made.tensors()
        is_taken = mine and other
        assert after[loss_scale.NAME].tolist() == ([1024, 1, 0] if is_taken else [512, 0, 1])
        for name in ("stem.weight", "classifier.weight", "mean_square.stem.weight"):
            assert np.array_equal(before[name], after[name]) is not is_taken
        assert cell.pop_progress()[1:] == (1, 1)


@pytest.mark.parametrize(("target", "is_skipped"), [("Ascend", True), ("CPU", False)])
def test_a_step_operator_by_operator_reads_the_register_of_an_ascend(
    target: str, is_skipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Run(config(mode="pynative", dynamic_loss_scale=True, loss_scale=1024.0))
    made.step._saturates = TrainStep.reads_register(replace(made.config, device_target=target))
    monkeypatch.setattr(ms.amp, "all_finite", lambda gradients: Tensor(False))
    before = made.tensors()
    made.step(batch(made, 0), 1e-3, 0)
    after = made.tensors()
    assert after[loss_scale.NAME].tolist() == ([512, 0, 1] if is_skipped else [1024, 1, 0])
    assert np.array_equal(before["stem.weight"], after["stem.weight"]) is is_skipped


def test_a_scale_at_its_least_names_what_to_set() -> None:
    state = loss_scale.first(2.0)
    notes = loss_scale.SkipNotes(state)
    loss_scale.adjust(state, is_finite=False)
    assert "loss_scale is 1 now (1 skipped in all); it is not lowered further: set amp_level" in (
        notes.note(state, 1)
    )
    loss_scale.adjust(state, is_finite=False)
    assert state[0] == 1
