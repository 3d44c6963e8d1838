"""Tail: partial lines, rotation, huge lines."""

from __future__ import annotations

from launcher.core.run.report import MAX_LINE_BYTES
from launcher.store.tail import Tail


def lines_of(tail: Tail) -> list[tuple[int, bytes]]:
    """All lines that are there, with the offsets that the tail's rule gives them."""
    found = []
    while True:
        offset, lines = tail.read(1000)
        for line in lines:
            found.append((offset, line))
            offset += len(line) + 1
        if tail.at_end():
            return found


def test_a_tail_keeps_partial_lines_and_handles_rotation(tmp_path):
    path = tmp_path / "log.txt"
    tail = Tail(path)
    assert lines_of(tail) == []
    path.write_bytes(b"one\ntwo\npa")
    assert lines_of(tail) == [(0, b"one"), (4, b"two")]
    with path.open("ab") as file:
        file.write(b"rt\n\n")
    assert lines_of(tail) == [(8, b"part"), (13, b"")]
    path.rename(tmp_path / "log.1")
    with (tmp_path / "log.1").open("ab") as file:
        file.write(b"late\n")
    path.write_bytes(b"new\n")
    assert lines_of(tail) == [(14, b"late")]
    tail.read()
    assert lines_of(tail) == [(0, b"new")]
    path.write_bytes(b"c\n")
    tail.read()
    assert lines_of(tail) == [(0, b"c")]
    tail.close()


def test_a_tail_finds_the_end_of_a_huge_line(tmp_path):
    path = tmp_path / "log.txt"
    size = 3 * MAX_LINE_BYTES
    path.write_bytes(b"x" * size + b"\nafter\n")
    tail = Tail(path)
    assert lines_of(tail)[-1] == (size + 1, b"after")
    tail.close()
