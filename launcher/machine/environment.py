"""The environment that a rank would have on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

SETUP_LIMIT_S = 30.0
MARK = "-- effnet environment --"


def after_setup(
    environment: Mapping[str, str], setup: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """(environment, what went wrong): this process's, the profile's, then the lines of `setup`."""
    base = {**os.environ, **environment}
    if not setup:
        return base, ()
    lines = []
    for number, line in enumerate(setup):
        lines += [line, f'effnet_code=$?; [ $effnet_code = 0 ] || echo "{number} $effnet_code" >&9']
    # A file descriptor of its own: what the lines print must not get into the answer.
    script = "\n".join(["exec 9>&1 1>&2", *lines, f"echo '{MARK}' >&9", "env -0 >&9"])
    try:
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            env=base,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SETUP_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return base, (f"setup cannot be run: {error}",)
    codes, mark, rest = done.stdout.decode("utf-8", "replace").partition(f"{MARK}\n")
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    last = f": {said[-1]}" if said else ""
    if not mark:
        return base, (f"setup ends the shell with {done.returncode}{last}",)
    failed = (text.split() for text in codes.splitlines())
    problems = tuple(f"`{setup[int(number)]}` ends with {code}{last}" for number, code in failed)
    return dict(item.partition("=")[::2] for item in rest.split("\0") if "=" in item), problems
