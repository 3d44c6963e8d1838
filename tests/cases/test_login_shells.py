"""Arguments of commands, as the login shells of a node read them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from launcher.remote.connection import quoted

ODD = [
    "a b",
    "",
    "'",
    '"',
    "$HOME",
    "`id`",
    "new\nline",
    "*",
    "~",
    "\\",
    "é",
    ";",
    "-n",
    "!x",
    "!!",
]
ODD += ["\\n", "%s", "100%", "a'b\\'c\n!", "{a,b}", "end\n\n", "\t", "(x)", "#", "\r", "\\\\"]


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "csh", "tcsh", "fish"])
def test_021_csh_login_shell(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    assert program is not None, f"{shell} is not installed: scripts/test installs it"
    for words in ([*ODD], *([word] for word in ODD)):
        command = quoted(["printf", "%s\\0", *words])
        done = subprocess.run(
            [program, "-c", command],
            capture_output=True,
            check=False,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        assert done.stdout.decode().split("\0")[:-1] == words, (command, done.stderr)


def test_021_plain_commands_stay_readable() -> None:
    assert quoted(["ls", "-l", "a b"]) == "ls -l 'a b'"
