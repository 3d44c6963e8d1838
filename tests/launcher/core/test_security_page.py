"""Each statement of SECURITY.md names tests, and these are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from launcher.core.checks.facts import Question
from launcher.machine.environment import after_setup

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
TESTS = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", TEXT)
STATEMENTS = re.findall(r"(?m)^- (?:.+\n(?:  .+\n)*)", TEXT)


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_names_a_test(statement):
    assert "`tests/" in statement or "has no test here" in statement


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_a_named_test_is_there(file, name):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in tree.body if isinstance(node, kinds)}


def test_the_page_has_statements():
    assert len(STATEMENTS) > 10
    assert len(TESTS) > 15


def test_setup_lines_are_executed(tmp_path):
    question = Question("CPU", setup=(f"touch {tmp_path}/made", "export SEEN=1"))
    environment, problems = after_setup(question)
    assert (environment["SEEN"], problems) == ("1", ())
    assert (tmp_path / "made").is_file()


def test_a_failing_setup_line_does_not_show_a_secret():
    secrets = {"HF_TOKEN": "mark-7d1e"}
    lines = ('echo "bad $HF_TOKEN" >&2; false',)
    environment, problems = after_setup(Question("CPU", {"HF_TOKEN": "(secret)"}, secrets, lines))
    assert environment["HF_TOKEN"] == "mark-7d1e"
    assert "ends with 1: bad (secret)" in problems[0]
