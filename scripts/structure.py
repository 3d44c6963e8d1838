"""Prints how the code is divided: modules, folders, import cycles, lines.

    python scripts/structure.py               this checkout
    python scripts/structure.py --root DIR    another one, to compare

Every import counts, also those under `TYPE_CHECKING` and inside functions. The limits are in
`tests/test_structure.py`.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PRODUCT = ("launcher", "tui", "effnet")
BESIDE = ("benchmarks", "scripts")

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Module:
    """One Python file; a package is its `__init__.py`."""

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @cached_property
    def text(self) -> str:
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


class Structure:
    """The modules of a checkout and what they import from each other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules = {module.name: module for top in PRODUCT for module in _modules(root, top)}

    @cached_property
    def imports(self) -> Graph:
        return {name: set(self._imports(module)) for name, module in self.modules.items()}

    def _imports(self, module: Module) -> Iterator[str]:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._base(module, node)
                wanted = [f"{base}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in wanted:
                found = name if name in self.modules else name.rpartition(".")[0]
                if found in self.modules and found != module.name:
                    yield found

    def _base(self, module: Module, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = module.name.split(".")
        parts = parts[: len(parts) - node.level + module.is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def folders(self) -> dict[str, list[Module]]:
        """Package -> its own modules, without `__init__.py`."""
        found: dict[str, list[Module]] = {}
        for module in self.modules.values():
            if not module.is_package:
                found.setdefault(module.name.rpartition(".")[0], []).append(module)
        return found

    def module_cycles(self) -> list[list[str]]:
        return cycles(self.imports)

    def package_cycles(self) -> list[list[str]]:
        """Members of one folder, packages and modules, that import each other."""
        containers = [module.name for module in self.modules.values() if module.is_package]
        found: list[list[str]] = []
        for container in containers:
            prefix, graph = container + ".", dict[str, set[str]]()
            for name, imported in self.imports.items():
                if name.startswith(prefix):
                    here = _member(name, prefix)
                    others = {_member(x, prefix) for x in imported if x.startswith(prefix)}
                    graph.setdefault(here, set()).update(others - {here})
            found += cycles(graph)
        return found

    def lines_of(self, package: str) -> int:
        return sum(
            module.lines
            for module in self.modules.values()
            if module.name == package or module.name.startswith(package + ".")
        )

    def members(self, package: str) -> list[str]:
        """The packages directly in a package."""
        return [
            module.name
            for module in self.modules.values()
            if module.is_package and module.name.rpartition(".")[0] == package
        ]


def _modules(root: Path, top: str) -> Iterator[Module]:
    for path in sorted((root / top).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        yield Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path)


def _member(name: str, prefix: str) -> str:
    return prefix + name[len(prefix) :].partition(".")[0]


def cycles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that reach each other, the largest first."""
    reached = {node: _reached(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in found if node in reached.get(other, ())))
        for node, found in reached.items()
    }
    return sorted((list(group) for group in groups if len(group) > 1), key=lambda g: (-len(g), g))


def _reached(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def code_lines(root: Path, folder: str) -> int:
    """Lines of the Python files and scripts of a folder, blank lines and comments included."""
    return sum(
        len(path.read_text("utf-8").splitlines())
        for path in (root / folder).rglob("*")
        if path.is_file() and path.suffix in (".py", ".sh", "") and "__pycache__" not in path.parts
    )


def report(structure: Structure) -> Iterator[str]:
    modules = [module for module in structure.modules.values() if not module.is_package]
    folder, largest = max(structure.folders().items(), key=lambda item: len(item[1]))
    longest = max(modules, key=lambda module: module.lines)
    yield f"modules              {len(modules)}"
    yield f"largest folder       {folder}: {len(largest)} modules"
    yield f"longest module       {longest.name}: {longest.lines} lines"
    yield from _listed("import cycles", map(", ".join, structure.module_cycles()))
    yield from _listed("cycles of packages", map(", ".join, structure.package_cycles()))
    yield "lines"
    for top in PRODUCT:
        yield f"  {top:<24} {structure.lines_of(top):6}"
        for member in structure.members(top):
            yield f"    {member:<22} {structure.lines_of(member):6}"
    product = sum(structure.lines_of(top) for top in PRODUCT)
    yield f"  {' + '.join(PRODUCT):<24} {product:6}"
    beside = {folder: code_lines(structure.root, folder) for folder in BESIDE}
    for folder, lines in beside.items():
        yield f"  {folder:<24} {lines:6}"
    yield f"  {'all':<24} {product + sum(beside.values()):6}"


def _listed(title: str, items: Iterable[str]) -> Iterator[str]:
    found = list(items)
    yield f"{title:<20} {len(found)}"
    for item in found:
        yield f"  {item}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--root", type=Path, default=PROJECT, help="another checkout")
    print("\n".join(report(Structure(parser.parse_args().root.resolve()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
