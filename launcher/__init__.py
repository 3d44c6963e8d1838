"""Starts, watches, stops and resumes runs, on one machine or on many."""

import os
import sys

# `python -m` puts the working directory first: a random.py there would replace Python's own.
if (
    sys.argv[:1] == ["-m"]
    and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False))
    and sys.path[0] != os.path.dirname(os.path.dirname(__file__))
):
    del sys.path[0]
