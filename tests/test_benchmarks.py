"""`python -m benchmarks`: what parts print replaces their blocks in the page, and nothing else."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as runner
from benchmarks import page as pages
from benchmarks import rows

PAGE = """\
# Benchmarks

By hand.

<!-- written by python -m benchmarks one -->
| old |
<!-- end -->

Between them.

<!-- written by python -m benchmarks bad -->
| kept |
<!-- end -->

## Next

More.
"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    parts = {
        "one": "-c \"print('| 1 |')\"",
        "two": "-c \"print('| 2 |')\"",
        "bad": "-c \"print('| 3 |'); exit('no such thing here')\"",
        "torch": f"-c \"import sys; print(f'| {{sys.argv[1]}} |')\" {runner.TORCH}",
    }
    monkeypatch.setattr(runner, "PARTS", parts)
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    return page


def test_a_parts_block_has_its_newest_output_and_the_machine_and_the_rest_stays(page):
    assert runner.main(["one"], page) == 0
    runner.PARTS["one"] = "-c \"print('| 11 |')\""
    assert runner.main(["one"], page) == 0
    before, block = (
        PAGE.split("| old |\n<!-- end -->")[0],
        r"\| 11 \|\n\n\d{4}-[^\n]+\n<!-- end -->",
    )
    text = page.read_text()
    found = re.search(re.escape(before) + block, text)
    assert found
    assert text[found.end() :] == PAGE.split("| old |\n<!-- end -->")[1]
    assert re.search(r" cores, load [\d.]+ before and [\d.]+ after; Python 3\.", found[0])


def test_a_part_without_a_block_gets_one_at_the_end_once(page):
    assert runner.main(["two"], page) == 0
    assert runner.main(["two"], page) == 0
    text = page.read_text()
    assert text.startswith(PAGE)
    assert text.count("<!-- written by python -m benchmarks two -->\n| 2 |\n") == 1


def test_a_part_that_fails_says_why_and_changes_nothing(page, capfd):
    assert runner.main(["bad", "one"], page) == 1
    assert "| kept |" in page.read_text()
    assert "| 1 |" in page.read_text()
    said = capfd.readouterr().err
    assert "no such thing here" in said
    assert "failed, not written: bad" in said


def test_the_python_with_pytorch_reaches_the_parts_that_need_it(page, capsys):
    assert runner.main(["torch", "--torch-python", "a b/python"], page) == 0
    assert "| a b/python |" in page.read_text()
    assert runner.main(["torch"], page) == 0
    assert f"| {sys.executable} |" in page.read_text()


def test_a_list_names_the_commands_and_writes_nothing(page, capsys):
    assert runner.main(["--list"], page) == 0
    assert page.read_text() == PAGE
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in listed] == list(runner.PARTS)


def test_an_unknown_part_is_refused_with_the_known_ones(page, capsys):
    with pytest.raises(SystemExit):
        runner.main(["thre"], page)
    assert "no part thre; known: one, two, bad" in capsys.readouterr().err


def test_a_block_without_an_end_is_not_guessed(page):
    page.write_text(PAGE.replace("<!-- end -->\n", ""))
    before = page.read_text()
    with pytest.raises(ValueError, match="nothing ends"):
        pages.write(page, "python -m benchmarks one", "| 1 |")
    assert page.read_text() == before


def test_every_part_has_a_script_and_one_block_in_the_page():
    text = runner.PAGE.read_text()
    for part, arguments in runner.PARTS.items():
        first, second = shlex.split(f"{arguments} -")[:2]
        name = first if first != "-m" else second.replace(".", "/") + ".py"
        assert (Path(runner.ROOT) / name).is_file()
        assert text.count(pages.mark(runner.program(part))) == 1, part
    marks = re.findall(r"<!-- (written by|end)", text)
    assert marks == ["written by", "end"] * len(runner.PARTS)


def test_tables_have_as_many_cells_in_every_line(capsys):
    rows.head("", "p50", "most")
    rows.row("a step", "1.0 ms", "")
    assert capsys.readouterr().out == "| | p50 | most |\n|---|---|---|\n| a step | 1.0 ms | |\n"
    assert rows.p95([3.0]) == 3.0
    assert rows.p95(range(101)) == 95
