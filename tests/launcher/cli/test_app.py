"""The command line itself."""

from __future__ import annotations

import subprocess
import sys


def test_the_command_line_is_quick_to_load():
    code = "import sys, launcher.cli.app; print([m for m in "
    code += "('paramiko', 'pydantic', 'psutil', 'rich.console', 'textual') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
