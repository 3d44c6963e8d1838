"""The rows of doctor, in the order in which MindSpore's loader needs each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from launcher.core.checks.cann_rules import cann_results
from launcher.core.checks.cuda_rules import cuda_results
from launcher.core.checks.row import CheckResult, Row, RowState, failed, mindspore_problem, ok
from launcher.core.checks.toolkit_facts import Backend


def doctor_rows(node: str, backend: Backend) -> tuple[Row, ...]:
    """What the target's back end has and lacks on this node."""
    return tuple(Row(check, node, *result) for check, result in _results(backend))


def toolkit_rows(profile: str, backends: Mapping[str, Backend]) -> Iterator[Row]:
    """One row a node, for a preflight; all need the first node's version."""
    first = next(iter(backends), "")
    for node, backend in backends.items():
        result = _summary(profile, dict(_results(backend)))
        ours, first_version = _version(backend), _version(backends[first])
        if result.state is RowState.OK and ours != first_version:
            text = f"{ours}, but {first_version} on {first}"
            result = failed(text, "Install the same version on every node.")
        yield Row("toolkit", node, *result)


def _version(backend: Backend) -> str:
    if backend.cuda is not None:
        return f"CUDA {backend.cuda.release}"
    return "" if backend.cann is None else f"CANN {backend.cann.version}"


def _summary(profile: str, results: Mapping[str, CheckResult]) -> CheckResult:
    red = [f"{check}: {item.text}" for check, item in results.items() if item.is_failed]
    if red:
        more = f" (and {len(red) - 1} more)" if len(red) > 1 else ""
        hint = f"effnet-launch doctor {profile} lists all problems and their fixes."
        return failed(f"{red[0]}{more}", hint)
    version = results.get("nvcc") or results.get("CANN")
    return ok(version.text if version else "complete")


def _results(backend: Backend) -> Iterator[tuple[str, CheckResult]]:
    if backend.setup_problems:
        yield "setup", failed("; ".join(backend.setup_problems), "Fix `setup` of the node.")
    problem = mindspore_problem(backend.mindspore, backend.python)
    yield "mindspore", problem or ok(f"{backend.mindspore} for {backend.python}")
    if backend.cuda is not None:
        yield from cuda_results(backend, backend.cuda)
    elif backend.cann is not None:
        yield from cann_results(backend, backend.cann)
    else:
        for library in backend.cpu_libraries:
            hint = "Install it on the node (Debian: apt install libgomp1)."
            yield library.name, library.result(hint)
        yield "cpus", ok(f"ranks may use {backend.cpu_count}")
