"""The new lines of a file that grows."""

from __future__ import annotations

from pathlib import Path

from launcher.reading.growing import GrowingLines


def test_lines_of_a_replaced_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one\ntw")
    lines = GrowingLines(path)
    assert lines.poll() == (False, [b"one"])
    path.write_bytes(b"c\n")
    assert lines.poll() == (True, [b"c"])


def test_a_torn_line_that_its_writer_cuts_off_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one\nto")
    lines = GrowingLines(path)
    assert lines.poll() == (False, [b"one"])
    path.write_bytes(b"one\nwhole\n")
    assert lines.poll() == (False, [b"whole"])
    assert lines.poll() == (False, [])
