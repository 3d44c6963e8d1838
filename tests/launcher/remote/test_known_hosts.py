"""Names and patterns of known_hosts."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from launcher.remote.known_hosts import known_keys, matches


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        ("*.lan", "a.lan", True),
        ("*.lan,!b.lan", "b.lan", False),
        ("[10.0.0.?]:2222", "[10.0.0.5]:2222", True),
        ("[10.0.0.5]:2222", "1", False),
        ("Alpha", "alpha", True),
        ("|1|AAAA|BBBB", "alpha", False),
        ("|1|", "alpha", False),
    ],
)
def test_patterns_of_known_hosts(patterns: str, name: str, expected: bool) -> None:
    assert matches(patterns, name) is expected


def test_hashed_names(tmp_path: Path) -> None:
    key = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x01x").decode()
    file = tmp_path / "known"
    file.write_text(f"alpha ssh-ed25519 {key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=False, capture_output=True)
    assert len(known_keys(["alpha"], [file]).keys) == 1
    assert not known_keys(["beta"], [file]).keys
