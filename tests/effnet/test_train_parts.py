"""The parts of training that need no run: heartbeat, stop, meter, checkpoint folder."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from effnet.config import ConfigError
from effnet.contract import exit_codes
from effnet.contract.reporter import RECORD_BYTES, Heartbeat, StopRequest
from effnet.data import Batch, DataError
from effnet.distributed.group import Group
from effnet.errors import EffnetError
from effnet.evaluate.evaluator import count, sum_exactly
from effnet.optim.pieces import Pieces, aligned
from effnet.train.meter import Meter
from effnet.train.state.host import digest
from effnet.train.steps.eager import ema_decay

pytestmark = pytest.mark.mindspore


def drawn(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def test_chunks_are_read_as_one_array() -> None:
    arrays = [drawn(6, 1).reshape(2, 3), drawn(1, 2), drawn(9, 3)]
    pieces, whole = Pieces(arrays), np.concatenate([a.ravel() for a in arrays])
    for start in range(17):
        for stop in range(start, 17):
            found = np.full(stop - start, np.nan, np.float32)
            for place, piece in pieces.between(start, stop):
                assert np.shares_memory(piece, arrays[0]) or start + place.start >= 6
                found[place] = piece
            assert np.array_equal(found, whole[start:stop])


def test_aligned_arrays_begin_at_a_cache_line() -> None:
    kept = [aligned(size) for size in (1, 7, 1000, 1_000_001)]
    assert all(array.ctypes.data % 64 == 0 for array in kept)
    assert [len(array) for array in kept] == [1, 7, 1000, 1_000_001]


def test_a_new_average_decays_faster() -> None:
    assert ema_decay(0.9999, 0) == pytest.approx(0.1)
    assert ema_decay(0.9999, 90) == pytest.approx(0.91)
    assert ema_decay(0.9, 10_000) == 0.9


def test_the_heartbeat_is_one_whole_record_at_each_phase(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    heartbeat = Heartbeat(str(path))
    for phase in ("compile", "compute", "reduce"):
        heartbeat.done(97, 2)
        heartbeat.phase(phase)
        record = path.read_bytes()
        assert len(record) == RECORD_BYTES
        assert record.endswith(b"\n")
        version, _, written, step, epoch, pid = record.split()
        assert (version, written, step, epoch) == (b"1", phase.encode(), b"97", b"2")
        assert int(pid) == os.getpid()
    heartbeat.close()
    assert path.read_bytes().split()[2] == b"done"


def test_a_first_signal_requests_a_stop_and_restores_the_handlers(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest(str(tmp_path / "stop")) as stop:
        assert stop.reason is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.reason == "SIGTERM"
        assert signal.getsignal(signal.SIGTERM) == before
    with StopRequest(str(tmp_path / "stop")) as stop:
        (tmp_path / "stop").touch()
        assert stop.reason == "stop file"
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_meter_continues_from_the_part_of_an_epoch_before_a_resume() -> None:
    meter = Meter(images_per_step=32, loss_sum=6.0, steps=2)
    meter.add(1.0, 4.0)
    meter.add(2.0, 8.0)
    window = meter.pop_window()
    assert (window.steps, window.loss, window.wait_ms) == (2, 1.5, 6.0)
    assert window.mean_loss == pytest.approx(9.0 / 4)
    assert meter.steps == 0
    assert meter.whole().mean_loss == pytest.approx(9.0 / 4)


def test_right_answers_are_counted_with_ties_for_the_lower_class() -> None:
    logits = np.array(
        [[3, 1, 0, 0, 0, 0], [5, 5, 5, 5, 5, 5], [0, 1, 2, 3, 4, 5], [9, 0, 0, 0, 0, 0]], np.float32
    )
    labels = np.array([0, 1, 0, -1], np.int32)
    batch = Batch(
        step=0,
        images=np.empty(0),
        labels=labels,
        noise=np.empty(0),
        indices=np.array([0, 1, 2, 3]),
        valid=labels >= 0,
    )
    units, top_1, top_5, images, unreadable = count(logits, np.ones(4, np.float32), batch).tolist()
    assert (units, top_1, top_5, images, unreadable) == (3 * 2**20, 1, 2, 3, 1)


def test_sums_over_ranks_by_way_of_float32_lose_nothing() -> None:
    class Three(Group):
        """Three ranks that all say the same."""

        def sum(self, values: np.ndarray) -> np.ndarray:
            assert values.dtype == np.float32
            return values + values + values

    totals = np.array([2**45 + 12_345_677, 49_999, 50_000, 1, 0], np.int64)
    assert sum_exactly(totals, Three(0, 3)).tolist() == (3 * totals).tolist()


def test_errors_have_the_exit_codes_of_the_contract() -> None:
    assert exit_codes.of(EffnetError("x")) == 1
    assert exit_codes.of(ConfigError([])) == 2
    assert exit_codes.of(DataError("x")) == 3


def test_a_digest_is_equal_for_equal_bits_only() -> None:
    tensors = {"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.float32)}
    name = digest(tensors)
    assert len(name) == 16
    assert digest(dict(reversed(tensors.items()))) == name
    assert digest({**tensors, "a": -tensors["a"]}) != name
    assert digest({**tensors, "b": np.nextafter(tensors["b"], np.float32(2))}) != name
    assert digest({"a": tensors["a"], "c": tensors["b"]}) != name
