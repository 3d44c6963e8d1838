"""The reference's eval.py, with its command line; the same as `python -m effnet eval`."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The package of this checkout, and not the scripts beside this one.
sys.path[:] = [str(HERE.parent), *(path for path in sys.path if path != str(HERE))]

from effnet.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
