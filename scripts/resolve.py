"""Do the requirements resolve for another Python than this one? Downloads nothing but metadata.

python scripts/resolve.py 3.10
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXTRAS = ("train", "dev", "docs", "web", "notify", "tensorboard", "metrics")


def main() -> int:
    version = sys.argv[1]
    pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text("\n".join(wanted) + "\n")
        # pip wants a place to install to when it works for another Python, dry run or not.
        command = [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"),
            *("--disable-pip-version-check", "--ignore-installed", "--only-binary=:all:"),
            *("--python-version", version, "--target", str(Path(folder, "site"))),
            *("-r", str(requirements)),
        ]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
