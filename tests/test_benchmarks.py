"""`python -m benchmarks`: what parts print is recorded, once for each part."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__ as runner


@pytest.fixture
def page(tmp_path, monkeypatch):
    parts = {"one": "-c 'print(1)'", "two": "-c 'print(2)'", "bad": "-c 'print(3); exit(4)'"}
    monkeypatch.setattr(runner, "PARTS", parts)
    page = tmp_path / "page.md"
    page.write_text("# Benchmarks\n\nBy hand.\n")
    return page


def test_each_part_has_one_block_with_the_machine_and_the_newest_output(page, monkeypatch):
    assert runner.main(["two", "one"], page) == 0
    runner.PARTS["two"] = "-c 'print(22)'"
    assert runner.main(["two"], page) == 0
    text = page.read_text()
    assert text.startswith("# Benchmarks\n\nBy hand.\n\n## As printed\n\n### `one`\n\n2")
    assert text.count("### `two`") == text.count("## As printed") == 1
    assert "\n1\n```" in text
    assert "\n22\n```" in text
    assert "\n2\n```" not in text
    assert text.count(" cores, load ") == 2


def test_a_part_that_fails_is_reported_and_changes_nothing(page, capfd):
    before = page.read_text()
    assert runner.main(["bad"], page) == 1
    assert page.read_text() == before
    assert "failed: bad" in capfd.readouterr().err


def test_an_unknown_part_is_refused_with_the_known_ones(page, capsys):
    with pytest.raises(SystemExit):
        runner.main(["thre"], page)
    assert "no part thre; known: one, two, bad" in capsys.readouterr().err


def test_every_part_is_there():
    for arguments in runner.PARTS.values():
        script = arguments.split()[0]
        name = script if script != "-m" else arguments.split()[1].replace(".", "/") + ".py"
        assert (Path(runner.ROOT) / name).is_file()
