"""The rows of a doctor's visit, in the order in which MindSpore's loader comes to each thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from launcher.core.checks.cann_rules import cann_rows
from launcher.core.checks.cuda_rules import cuda_rows
from launcher.core.checks.row import Row, RowState
from launcher.core.checks.toolkit_facts import Backend, failed, ok

MINDSPORE = "2.10"


def doctor_rows(node: str, backend: Backend) -> tuple[Row, ...]:
    """What is there and what is missing for the target on this node."""
    return tuple(_rows(node, backend))


def toolkit_rows(profile: str, backends: Mapping[str, Backend]) -> Iterator[Row]:
    """One row a node, for a preflight; the first node's version is what others are held to."""
    first = next(iter(backends), "")
    for node, backend in backends.items():
        row = toolkit_row(profile, node, doctor_rows(node, backend))
        ours, theirs = _version(backend), _version(backends[first])
        if row.state is RowState.OK and ours != theirs:
            text = f"{ours}, and {theirs} on {first}"
            yield failed("toolkit", node, text, "Install the same version on every node.")
        else:
            yield row


def _version(backend: Backend) -> str:
    if backend.cuda is not None:
        return f"CUDA {backend.cuda.release}"
    return "" if backend.cann is None else f"CANN {backend.cann.version}"


def toolkit_row(profile: str, node: str, rows: tuple[Row, ...]) -> Row:
    """All of a doctor's visit as the one row that a preflight has of it."""
    red = [row for row in rows if row.state is RowState.FAILED]
    if red:
        more = f" (and {len(red) - 1} more)" if len(red) > 1 else ""
        return Row(
            "toolkit",
            node,
            RowState.FAILED,
            f"{red[0].check}: {red[0].text}{more}",
            f"effnet-launch doctor {profile} lists all problems and their fixes.",
        )
    versions = [row.text for row in rows if row.check in ("nvcc", "CANN")]
    return Row("toolkit", node, RowState.OK, versions[0] if versions else "all is there")


def _rows(node: str, backend: Backend) -> Iterator[Row]:
    if backend.setup_problems:
        yield failed("setup", node, "; ".join(backend.setup_problems), "Fix `setup` of the node.")
    yield _mindspore(node, backend)
    if backend.cuda is not None:
        yield from cuda_rows(node, backend, backend.cuda)
    elif backend.cann is not None:
        yield from cann_rows(node, backend, backend.cann)
    else:
        yield from _cpu(node, backend)


def _mindspore(node: str, backend: Backend) -> Row:
    if not backend.mindspore:
        return failed(
            "mindspore",
            node,
            f"MindSpore is not installed for {backend.python}",
            f"{backend.python} -m pip install 'effnet-tui[train]'",
        )
    if not backend.mindspore.startswith(f"{MINDSPORE}."):
        return failed(
            "mindspore",
            node,
            f"MindSpore {backend.mindspore}, and effnet wants {MINDSPORE}",
            f"{backend.python} -m pip install 'mindspore=={MINDSPORE}.*'",
        )
    return ok("mindspore", node, f"{backend.mindspore} for {backend.python}")


def _cpu(node: str, backend: Backend) -> Iterator[Row]:
    for library in backend.cpu_libraries:
        if library.problem:
            yield failed(
                library.name,
                node,
                library.problem,
                "Install it there (Debian: apt install libgomp1).",
            )
        else:
            yield ok(library.name, node, library.path or "loads")
    yield ok("cpus", node, f"{backend.cpu_count} that ranks may use")
