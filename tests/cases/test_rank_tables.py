"""Rank tables of other kinds: recognised, with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.core.tables.rank_table_lint import lint_text

INPUTS = Path(__file__).parent / "inputs/025-rank-tables-of-other-kinds"
OLD = json.loads((INPUTS / "old-group-list.json").read_text())


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ((INPUTS / "v2.json").read_text(), "version 2.0, for Atlas 950", "cluster"),
        ((INPUTS / "old-group-list.json").read_text(), "old template", "ranktable make"),
        ('{"status": "initializing"}', "not complete yet", "wait until"),
        ('{"version": "2.0", "rank_count": "8"}', "version 2.0, for Atlas 950", "cluster"),
        (json.dumps({**OLD, "group_list": None}), "old template", "ranktable make"),
        (json.dumps(OLD["group_list"][0]), "one instance", "ranktable make"),
        ('{"topo_list": {}}', "topology", "ranktable make"),
    ],
    ids=["025-v2", "025-old-group-list", "status", "2.0 alone", "old head", "instance", "topology"],
)
def test_025_rank_tables_of_other_kinds(text: str, words: str, hint: str) -> None:
    (found,) = lint_text(text)
    assert words in found.text
    assert hint in found.hint


def test_text_that_is_not_a_table_is_refused() -> None:
    assert "server_list: expected a list" in lint_text("{}")[0].text
