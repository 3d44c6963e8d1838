"""Every public fault that was made small again has a test with its number."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
CASES = 26


def test_every_case_has_a_test_that_carries_its_number() -> None:
    text = "\n".join(path.read_text("utf-8") for path in HERE.parent.rglob("test_*.py"))
    numbers = re.findall(r"(?:def test_|[\"'/])(\d{3})[_-][A-Za-z]", text)
    known = {int(number) for number in numbers}
    assert set(range(1, CASES + 1)) - known == set()
    assert "test_fuzz_run_directories" in text


def test_no_input_is_without_a_test() -> None:
    text = "\n".join(path.read_text("utf-8") for path in HERE.glob("*.py"))
    inputs = [path.name for path in (HERE / "inputs").iterdir()]
    known = {int(number) for number in re.findall(r"def test_(\d{3})_", text)}
    unused = [name for name in inputs if name not in text and int(name[:3]) not in known]
    assert unused == []
