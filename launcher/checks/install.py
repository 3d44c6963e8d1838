"""What `--fix` does on a node: only what takes nothing away and touches nobody else's packages."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from launcher.checks.wheel import make_wheel
from launcher.core.profile.model import Node
from launcher.errors import LaunchError, NodeError

if TYPE_CHECKING:
    # A node creates its own folders without knowing SSH.
    from launcher.remote.node_client import NodeClient


PIP_LIMIT_S = 300.0
INSTALL = """\
import sys
sys.path[:] = filter(None, sys.path)  # without the working directory
import os, subprocess, tempfile
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, sys.argv[1])
    with open(path, "wb") as file:
        file.write(sys.stdin.buffer.read())
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--force-reinstall"]
    pip += ["--disable-pip-version-check", path]
    sys.exit(subprocess.call(pip, stdin=subprocess.DEVNULL, cwd=folder))
"""
"""For the node's interpreter, which may have nothing but pip: the wheel comes on stdin."""


def install_wheel(node: Node, client: NodeClient | None) -> str:
    """Installs what runs here into the node's interpreter, and nothing beside it.

    -> what was done. Raises `NodeError` with pip's own last line.
    """
    try:
        name, content = make_wheel()
    except LaunchError as error:
        raise NodeError(node.label, error.message, error.hint) from error
    python = node.python or ("python3" if client is not None else sys.executable)
    argv = [python, "-c", INSTALL, name]
    if client is not None:
        result = client.connection().run(argv, content, PIP_LIMIT_S)
        code, said = result.exit_code, result.stdout + result.stderr
    else:
        try:
            done = subprocess.run(
                argv,
                input=content,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=PIP_LIMIT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NodeError(node.label, f"{python}: {error}") from error
        code, said = done.returncode, done.stdout
    if code:
        lines = said.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        why = next((line for line in lines if line.lower().startswith("error")), lines[-1])
        raise NodeError(
            node.label,
            f"pip of {python} ends with {code}: {why}",
            f"Install {name} there by hand, in an environment that you may write.",
        )
    return f"installed {name.partition('-py3')[0]} for {python}"
