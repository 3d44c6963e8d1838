"""Logs: any bytes, any length, growing, cut off, replaced."""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.errors import UsageError
from launcher.reading import log as log_module
from launcher.reading.log import MAX_LINE_BYTES, LogReader


def plain_lines(data: bytes) -> list[str]:
    """What the reader must show, the simple way."""
    parts = data.split(b"\n")
    if parts[-1] == b"":
        parts.pop()
    return [part[:MAX_LINE_BYTES].decode("utf-8", "replace") for part in parts]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.sampled_from([b"\n", b"a", b"bc", b"\xff\x00", "ö".encode(), b"x" * 9, b"\r"]),
        max_size=60,
    ),
    st.integers(1, 8),
    st.integers(0, 5),
    st.integers(1, 4),
)
def test_lines_are_those_of_the_file(
    tmp_path: Path, pieces: list[bytes], block: int, first: int, count: int
) -> None:
    path = tmp_path / "log"
    cut = len(pieces) // 2
    with mock.patch.object(log_module, "BLOCK_BYTES", block):
        path.write_bytes(b"".join(pieces[:cut]))
        reader = LogReader(path)
        reader.refresh()
        with path.open("ab") as file:
            file.write(b"".join(pieces[cut:]))
        while not reader.refresh(budget_bytes=3):
            pass
        data = b"".join(pieces)
        expected = plain_lines(data)
        assert reader.line_count == len(expected)
        shown = reader.lines(first, count)
        assert [line.text for line in shown] == expected[first : first + count]
        assert [line.index for line in shown] == list(range(first, first + len(shown)))
        for line in shown:
            assert reader.line_at(line.offset) == line.index
            end = data.find(b"\n", line.offset)
            assert line.is_whole == (end >= 0)
        whole = data.rfind(b"\n") + 1
        page = reader.read_from(0)
        assert page.next_offset == whole
        assert [line.text for line in page.lines] == plain_lines(data[:whole])
        tail = reader.tail(count)
        assert [line.text for line in tail.lines] == expected[-count:]
        indexed = reader.lines(max(0, len(expected) - count), count)
        assert [line.offset for line in tail.lines] == [line.offset for line in indexed]
        assert tail.next_offset == whole
        path.unlink()


def test_following_loses_and_duplicates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = LogReader(path)
    assert reader.read_from(0).lines == ()
    got: list[str] = []
    offset = 0
    with path.open("wb", buffering=0) as file:
        for number in range(300):
            file.write(f"line {number} ".encode())
            page = reader.read_from(offset, count=3)
            got += [line.text for line in page.lines]
            offset = page.next_offset
            file.write(b"end\n")
    while page := reader.read_from(offset, count=7):
        if not page.lines:
            break
        got += [line.text for line in page.lines]
        offset = page.next_offset
    assert got == [f"line {number} end" for number in range(300)]


def test_a_line_of_ten_megabytes_is_cut_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n" + b"x" * 10_000_000 + b"\nafter\n")
    reader = LogReader(path)
    assert reader.refresh()
    assert reader.line_count == 3
    start = time.process_time()
    line = reader.lines(1, 1)[0]
    assert (len(line.text), line.cut_bytes) == (MAX_LINE_BYTES, 10_000_000 - MAX_LINE_BYTES)
    assert reader.lines(2, 1)[0].text == "after"
    assert [item.text for item in reader.tail(1).lines] == ["after"]
    page = reader.read_from(7)
    assert [item.cut_bytes > 0 for item in page.lines] == [True]
    assert page.next_offset == 7 + 10_000_000 + 1
    assert reader.search("^after$").lines[0].index == 2
    assert time.process_time() - start < 5  # CPU


def test_a_line_without_an_end_is_shown_in_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 3_000_000)
    page = LogReader(path).read_from(0)
    assert len(page.lines) == 1
    assert not page.lines[0].is_whole
    assert page.next_offset == 3_000_000


def test_a_truncated_or_replaced_file_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthree\n")
    reader = LogReader(path)
    reader.refresh()
    assert (reader.line_count, reader.generation) == (3, 0)
    path.write_bytes(b"new\n")
    reader.refresh()
    assert (reader.line_count, reader.generation) == (1, 1)
    assert reader.lines(0, 9)[0].text == "new"
    other = tmp_path / "other"
    other.write_bytes(b"a\nb\nc\nd\ne\nf\n")
    os.replace(other, path)
    reader.refresh()
    assert (reader.line_count, reader.generation) == (6, 2)


def test_a_missing_file_is_an_empty_one(tmp_path: Path) -> None:
    reader = LogReader(tmp_path / "none")
    assert reader.refresh()
    assert (reader.line_count, reader.size_bytes) == (0, 0)
    assert reader.lines(0, 5) == ()
    assert reader.tail(5).lines == ()
    assert reader.search("x").next_offset is None


def test_search(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(50_000)))
    reader = LogReader(path)
    reader.refresh()
    found = reader.search(r"^LINE \d*999$", limit=3, ignore_case=True)
    assert [line.text for line in found.lines] == ["line 999", "line 1999", "line 2999"]
    assert [line.index for line in found.lines] == [999, 1999, 2999]
    assert found.next_offset is not None
    more = reader.search(r"^line \d*999$", found.next_offset, limit=1000)
    assert more.lines[0].text == "line 3999"
    assert more.next_offset is None
    assert len(more.lines) == 47
    budget = reader.search("nothing", budget_bytes=1000)
    assert budget.lines == ()
    assert budget.next_offset is not None
    with pytest.raises(UsageError, match="invalid regular expression"):
        reader.search("(")


def test_attaching_to_a_large_log_reads_little(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.truncate(20 * 1024**3)  # sparse: 20 GB without a line end
        file.seek(0, 2)
        file.write(b"\nlast line\n")
    start = time.process_time()
    reader = LogReader(path)
    assert not reader.refresh(budget_bytes=4 * 1024 * 1024)
    assert reader.tail(1).lines[0].text == "last line"
    assert time.process_time() - start < 5  # CPU
