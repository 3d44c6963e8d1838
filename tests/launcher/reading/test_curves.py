"""Series: whatever is appended, and however it is asked for, they are what the records say."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.run.metrics import DeviceRecord, LoadRecord, pack, pack_device, pack_load
from launcher.core.run.paths import RunPaths
from launcher.core.run.report_types import StepReport
from launcher.reading.curves import Column, Curves

Record = tuple[int, float | None, int | None]

records = st.tuples(
    st.integers(0, 12),
    st.none() | st.sampled_from([0.5, 1.5, 2.5]),
    st.none() | st.integers(1, 3),
)
pieces = st.lists(st.lists(records, max_size=6), max_size=6)


def write(folder: Path, attempt: int, piece: list[Record], start_s: int) -> None:
    path = RunPaths(folder).attempt(attempt).rank(0).metrics
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for at, (step, loss, memory) in enumerate(piece):
            report = StepReport(
                epoch=0, epochs=1, step=step, steps=1, loss=loss, memory_bytes=memory
            )
            file.write(pack(report, start_s + at))


def expected(attempts: list[list[Record]], field: int) -> list[tuple[int, float]]:
    """The newest record of a step counts, and removes all records of later steps."""
    points: dict[int, float] = {}
    for written in attempts:
        for record in written:
            step, value = record[0], record[field]
            points = {known: of for known, of in points.items() if known < step}
            if value is not None:
                points[step] = value
    return sorted(points.items())


def points(curves: Curves, field: str, attempts: tuple[int, ...]) -> list[tuple[int, float]]:
    series = curves.series(0, field, attempts)
    assert len(series.times_s) == len(series.steps)
    return list(zip(series.steps, series.values, strict=True))


@given(pieces)
def test_series_equal_the_records_after_every_poll(pieces: list[list[Record]]) -> None:
    with TemporaryDirectory() as folder:
        root, written, views = Path(folder), list[Record](), []
        curves = Curves(RunPaths(root))
        for number, piece in enumerate(pieces):
            write(root, 1, piece, 100 * number)
            written += piece
            for at, field in enumerate(("loss", "memory_bytes"), 1):
                assert points(curves, field, (1,)) == expected([written], at)
            views.append((curves.series(0, "loss", (1,)), expected([written], 1)))
        for series, then in views:  # what was given out stays as it was
            assert list(zip(series.steps, series.values, strict=True)) == then


def in_order(piece: list[Record]) -> list[Record]:
    return sorted({record[0]: record for record in piece}.values(), key=lambda record: record[0])


@given(pieces)
def test_attempts_are_joined_while_they_grow(pieces: list[list[Record]]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        curves = Curves(RunPaths(root))
        attempts: list[list[Record]] = []
        for number, piece in enumerate(map(in_order, pieces)):
            for record in piece:
                if not attempts or record is piece[0]:
                    attempts.append([])
                attempts[-1].append(record)
                write(root, len(attempts), [record], 100 * number)
                known = tuple(range(1, len(attempts) + 1))
                joined = [of for of in attempts if any(one[1] is not None for one in of)]
                found = points(curves, "loss", known)
                assert found == _cut_by_first_points(joined)


def _cut_by_first_points(attempts: list[list[Record]]) -> list[tuple[int, float]]:
    joined: list[tuple[int, float]] = []
    for attempt in attempts:
        known = [(step, loss) for step, loss, _ in attempt if loss is not None]
        joined = [point for point in joined if point[0] < known[0][0]] + known
    return joined


def test_the_same_object_when_nothing_is_new(tmp_path: Path) -> None:
    curves = Curves(RunPaths(tmp_path))
    for attempts in ((1,), (1, 2)):
        write(tmp_path, attempts[-1], [(at, 1.0, None) for at in range(3)], 0)
        first = curves.series(0, "loss", attempts)
        assert curves.series(0, "loss", attempts) is first
        write(tmp_path, attempts[-1], [(3, 1.0, None)], 0)
        assert curves.series(0, "loss", attempts) is not first


def test_a_replaced_file_is_read_from_its_start(tmp_path: Path) -> None:
    curves = Curves(RunPaths(tmp_path))
    write(tmp_path, 1, [(0, 1.0, 2), (1, 2.0, None), (2, 3.0, 2)], 0)
    assert points(curves, "loss", (1,)) == [(0, 1.0), (1, 2.0), (2, 3.0)]
    assert points(curves, "memory_bytes", (1,)) == [(0, 2), (2, 2)]
    RunPaths(tmp_path).attempt(1).rank(0).metrics.unlink()
    write(tmp_path, 1, [(0, 7.0, 4)], 0)
    assert points(curves, "loss", (1,)) == [(0, 7.0)]
    assert points(curves, "memory_bytes", (1,)) == [(0, 4)]


def test_a_view_of_a_column_is_read_only_and_costs_no_copy() -> None:
    column = Column("q")
    column.extend(range(1000))
    before = column.view
    column.extend([1000])
    assert len(before) == 1000
    with pytest.raises(TypeError):
        before[0] = 5  # type: ignore[index]
    # The same memory: nothing was moved for one number more.
    assert before.obj is column.view.obj  # type: ignore[attr-defined]
    column.cut(10)
    column.extend([-1])
    assert list(before) == list(range(1000))
    assert list(column.view) == [*range(10), -1]


def sample(folder: Path, attempt: int, at_s: float, **load: float) -> None:
    paths = RunPaths(folder).attempt(attempt).rank(0)
    with paths.device.open("ab") as device, paths.load.open("ab") as file:
        device.write(pack_device(DeviceRecord(at_s, 1 << 20, None, at_s)))
        file.write(pack_load(LoadRecord(at_s, **load)))


def test_samples_are_at_the_step_of_the_report_before_them(tmp_path: Path) -> None:
    curves = Curves(RunPaths(tmp_path))
    (tmp_path / "attempts/001/ranks/0000").mkdir(parents=True)
    sample(tmp_path, 1, 5, cpu_percent=50)
    assert points(curves, "cpu_percent", (1,)) == []  # before the first report
    write(tmp_path, 1, [(0, 1.0, None), (1, 1.0, None)], start_s=10)
    sample(tmp_path, 1, 10.5, cpu_percent=60, power_w=300)
    assert points(curves, "cpu_percent", (1,)) == [(0, 50), (0, 60)]
    assert points(curves, "power_w", (1,)) == [(0, 300)]
    sample(tmp_path, 1, 12, power_w=310)
    assert points(curves, "power_w", (1,)) == [(0, 300), (1, 310)]
    assert points(curves, "device_use_percent", (1,)) == [(0, 5), (0, 10.5), (1, 12)]
    assert curves.series(0, "power_w", (1,)) is curves.series(0, "power_w", (1,))


def test_samples_of_steps_that_were_trained_again_are_those_of_the_later_attempt(
    tmp_path: Path,
) -> None:
    write(tmp_path, 1, [(step, 1.0, None) for step in range(4)], start_s=10)
    for at in range(4):
        sample(tmp_path, 1, 10.5 + at, power_w=100 + at)
    write(tmp_path, 2, [(2, 1.0, None)], start_s=100)
    sample(tmp_path, 2, 100.5, power_w=200)
    curves = Curves(RunPaths(tmp_path))
    assert points(curves, "power_w", (1, 2)) == [(0, 100), (1, 101), (2, 200)]


def test_a_run_without_load_samples_is_read(tmp_path: Path) -> None:
    write(tmp_path, 1, [(0, 1.0, None)], start_s=10)
    assert points(Curves(RunPaths(tmp_path)), "power_w", (1,)) == []
