"""Hostfiles of public reports, and a sample of generated ones that a real mpirun reads too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from launcher.core.tables.hostfile import lint_hostfile, slots_of
from tests.cases.hostfiles import by_lint, by_mpirun, differences, parse_hostfile, version_of

INPUTS = Path(__file__).parent / "inputs"
MPIRUN = shutil.which("mpirun")
needs_mpirun = pytest.mark.skipif(MPIRUN is None, reason="mpirun is not installed")

CASES = [
    # case, file, is it refused, words of the first finding
    ("001-fqdn-hosts-mpirun", "hostfile", True, "keep_fqdn_hostnames"),
    ("001-fqdn-hosts-mpirun", "fqdn", True, "keep_fqdn_hostnames"),
    ("001-fqdn-hosts-mpirun", "hostfile-two-names", False, ""),
    ("002-hostfile-double-count", "double", True, "already in line 1"),
    ("002-hostfile-double-count", "c_double_mixed", False, "adds one slot"),
    ("003-hostfile-crlf", "c_crlf", True, "CRLF"),
    ("004-hostfile-uppercase-key", "c_upper", True, "in lower case"),
    ("004-hostfile-uppercase-key", "c_lots", True, "unknown key"),
]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(("case", "name", "is_refused", "words"), CASES)
def test_the_lint(case: str, name: str, is_refused: bool, words: str, version: int) -> None:
    text = (INPUTS / case / name).read_bytes().decode()
    found = lint_hostfile(text, version)
    assert any(finding.is_error for finding in found) == is_refused
    if words:
        assert words in f"{found[0].text} {found[0].hint}"


@needs_mpirun
@pytest.mark.parametrize(("case", "name", "is_refused", "words"), CASES)
def test_mpirun_judges_the_cases_so(case: str, name: str, is_refused: bool, words: str) -> None:
    assert MPIRUN is not None
    text = (INPUTS / case / name).read_bytes().decode()
    version = version_of(MPIRUN)
    assert by_mpirun(text, MPIRUN, version).is_refused == is_refused
    assert by_lint(text).is_refused == is_refused


def test_001_domains_are_kept_if_mpirun_keeps_them() -> None:
    text = (INPUTS / "001-fqdn-hosts-mpirun/hostfile").read_text()
    assert slots_of(parse_hostfile(text, keep_fqdn=True)) == {
        "gpu.rack1.lan": 2,
        "gpu.rack2.lan": 2,
    }


@needs_mpirun
def test_the_lint_agrees_with_mpirun_on_generated_files() -> None:
    assert MPIRUN is not None
    found = list(differences(25, 7, MPIRUN))
    assert found == []
