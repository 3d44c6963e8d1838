"""How the code is divided: no cycles, small folders and modules, one table of programs."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from launcher import programs

ROOT = Path(__file__).parents[1]
MAX_MODULES = 16
MAX_LINES = 400
FOR_PEOPLE = {"launcher.cli.__main__", "launcher.cli.app", "launcher.reference.__main__"}
"""Started by the console script and by the scripts of the reference, never by a process of ours."""


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("structure", ROOT / "scripts/structure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["structure"] = module
    spec.loader.exec_module(module)
    return module


structure = load()
HERE = structure.Structure(ROOT)
MODULES = list(HERE.modules.values())


def test_no_import_cycles_between_modules_or_packages() -> None:
    assert HERE.module_cycles() == []
    assert HERE.package_cycles() == []


def test_no_folder_has_too_many_modules() -> None:
    sizes = {folder: len(modules) for folder, modules in HERE.folders().items()}
    assert {folder: size for folder, size in sizes.items() if size > MAX_MODULES} == {}


def test_no_module_is_too_long() -> None:
    assert {m.name: m.lines for m in MODULES if m.lines > MAX_LINES} == {}


def test_every_package_says_in_one_sentence_what_it_is() -> None:
    wrong = {}
    for module in MODULES:
        if module.is_package and "." in module.name:
            text = ast.get_docstring(module.tree) or ""
            # "B0 to B7. A second sentence" has a full stop before a space; "B0.5" has not.
            if not text.endswith(".") or re.search(r"[.!?]\s", text):
                wrong[module.name] = text
    assert wrong == {}


def is_runnable(module: structure.Module) -> bool:
    """Whether `python -m` of it does something."""
    return module.path.name == "__main__.py" or any(
        isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        for node in module.tree.body
    )


def runnable(name: str) -> bool:
    found = HERE.modules.get(f"{name}.__main__") or HERE.modules.get(name)
    return found is not None and is_runnable(found)


def test_the_table_of_programs_is_complete() -> None:
    """Its modules can be started, and every module of the launcher that can be is in it."""
    assert [name for name in programs.ALL if not runnable(name)] == []
    named = {
        value for name, value in vars(programs).items() if isinstance(value, str) and name.isupper()
    }
    assert named == set(programs.ALL)
    started = set(programs.ALL) | {f"{name}.__main__" for name in programs.ALL} | FOR_PEOPLE
    here = {m.name for m in MODULES if m.name.startswith("launcher.") and is_runnable(m)}
    assert here - started == set()


def test_modules_are_started_by_their_name_in_the_table() -> None:
    """An argument list has a name of `launcher.programs` after `-m`, never one of ours as text."""
    wrong = []
    for module in MODULES:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.List | ast.Tuple):
                words = [ast.unparse(element) for element in node.elts]
                for flag, program in pairwise(words):
                    if flag == "'-m'" and program.strip("'").partition(".")[0] in structure.PRODUCT:
                        wrong.append(f"{module.name}:{node.lineno} {program}")
    assert wrong == []


def test_texts_name_programs_that_exist() -> None:
    """Docstrings and hints that say `python -m NAME`."""
    own = "|".join(structure.PRODUCT)
    wrong = []
    for module in MODULES:
        names = re.findall(rf"-m ((?:{own})(?:\.\w+)*)", module.text)
        wrong += [f"{module.name}: {name}" for name in names if not runnable(name)]
    assert wrong == []


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A checkout with a cycle under TYPE_CHECKING, and one in a function."""
    files = {
        "launcher/__init__.py": "",
        "launcher/low/__init__.py": "",
        "launcher/low/a.py": "if TYPE_CHECKING:\n    from launcher.low.b import B\n",
        "launcher/low/b.py": "from launcher.low import a\n",
        "launcher/low/c.py": "def f():\n    from ..high import d\n",
        "launcher/high/__init__.py": "",
        "launcher/high/d.py": "import launcher.low.c\n",
        "tui/__init__.py": "",
        "effnet/__init__.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_cycles_are_found(made: Path) -> None:
    found = structure.Structure(made)
    assert found.module_cycles() == [
        ["launcher.high.d", "launcher.low.c"],
        ["launcher.low.a", "launcher.low.b"],
    ]
    assert found.package_cycles() == [
        ["launcher.high", "launcher.low"],
        ["launcher.low.a", "launcher.low.b"],
    ]
    assert "import cycles        2" in list(structure.report(found))
