"""The environment that a rank would have on this machine."""

from __future__ import annotations

import os

from launcher.core.checks.facts import Question
from launcher.core.profile.secrets import redact, reveal
from launcher.process import tools

MARK = "-- effnet environment --"


def after_setup(question: Question) -> tuple[dict[str, str], tuple[str, ...]]:
    """(environment, problems): this process's, the profile's, then the lines of `setup`."""
    setup, hidden = question.setup, question.secrets
    base = {**os.environ, **reveal(question.environment, hidden)}
    if not setup:
        return base, ()
    lines = []
    for number, line in enumerate(setup):
        lines += [line, f'effnet_code=$?; [ $effnet_code = 0 ] || echo "{number} $effnet_code" >&9']
    # On another file descriptor: stdout of the lines must not get into the result.
    script = "\n".join(["exec 9>&1 1>&2", *lines, f"echo '{MARK}' >&9", "env -0 >&9"])
    try:
        done = tools.run(["/bin/bash", "-c", script], base)
    except OSError as error:
        return base, (f"setup cannot be run: {error}",)
    codes, mark, rest = done.stdout.partition(f"{MARK}\n")
    errors = done.stderr.strip().splitlines()
    last = f": {redact(errors[-1], hidden.values())}" if errors else ""
    if not mark:
        return base, (f"setup ends the shell with {done.exit_code}{last}",)
    failed = (text.split() for text in codes.splitlines())
    problems = tuple(f"`{setup[int(number)]}` ends with {code}{last}" for number, code in failed)
    return dict(item.partition("=")[::2] for item in rest.split("\0") if "=" in item), problems
