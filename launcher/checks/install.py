"""What `preflight --fix` installs on a node: effnet-tui, and no other package."""

from __future__ import annotations

import sys

from launcher.checks.wheel import make_wheel
from launcher.core.profile.model import Node
from launcher.errors import LaunchError, NodeError
from launcher.machine.cuda_setup import pip_problem
from launcher.process import tools
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
"""Runs in the node's interpreter, which may have nothing but pip. The wheel is on stdin."""


def install_wheel(node: Node, client: NodeClient | None) -> str:
    """Installs this version of effnet-tui into the node's interpreter, and no other package.

    -> what was done. Raises `NodeError` with pip's error.
    """
    try:
        name, content = make_wheel()
    except LaunchError as error:
        raise NodeError(node.label, error.message, error.hint) from error
    python = node.python or ("python3" if client is not None else sys.executable)
    argv = [python, "-c", INSTALL, name]
    if client is not None:
        result = client.connection().run(argv, content, PIP_LIMIT_S)
        code, output = result.exit_code, (result.stderr + result.stdout).decode("utf-8", "replace")
    else:
        try:
            done = tools.run(argv, None, PIP_LIMIT_S, stdin=content)
        except OSError as error:
            raise NodeError(node.label, str(error)) from error
        code, output = done.exit_code, done.stderr + done.stdout
    if code:
        hint = f"Install {name} there by hand, in an environment that you may write."
        raise NodeError(node.label, pip_problem(python, code, output), hint)
    return f"installed {name.partition('-py3')[0]} for {python}"
