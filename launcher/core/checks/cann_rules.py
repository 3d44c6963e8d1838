"""MindSpore 2.10's Ascend back end: driver, CANN's environment, its libraries, devices.

Versions and paths are those of MindSpore's own check (``run_check``).
"""

from __future__ import annotations

from collections.abc import Iterator

from launcher.core.checks.row import CheckResult, failed, ok, skipped, warning
from launcher.core.checks.toolkit_facts import ASCEND_PLUGIN, Backend, Cann

VERSIONS = ("8.2", "8.3", "8.5", "9.0", "9.1")
SET_ENV = "/usr/local/Ascend/ascend-toolkit/set_env.sh"


def cann_results(backend: Backend, cann: Cann) -> Iterator[tuple[str, CheckResult]]:
    """(check, result) in the order in which MindSpore needs each part."""
    set_env = cann.found_set_env or SET_ENV
    yield "back-end", backend.plugin_result(ASCEND_PLUGIN)
    yield "driver", _driver(cann)
    yield "set_env.sh", _environment(cann, set_env)
    yield "CANN", _version(cann)
    for library in cann.libraries:
        yield library.name, library.result(f"Run `source {set_env}` before Python starts.")
    yield "devices", _devices(cann)


def _driver(cann: Cann) -> CheckResult:
    if cann.manager == "missing":
        return failed(
            "there is no /dev/davinci_manager",
            "As root, install the Ascend driver and firmware (the .run files of the product).",
        )
    if cann.manager == "denied":
        return failed(
            "no permission to open /dev/davinci_manager",
            "Add the user to the driver's group: usermod -aG HwHiAiUser USER, then log in again.",
        )
    return ok(f"version {cann.driver}" if cann.driver else "/dev/davinci_manager")


def _environment(cann: Cann, set_env: str) -> CheckResult:
    found = {
        "ASCEND_HOME_PATH": cann.home,
        "ASCEND_OPP_PATH": cann.opp_path,
        "PYTHONPATH with CANN's opp/built-in/op_impl/ai_core/tbe": cann.has_tbe,
    }
    missing = [name for name, value in found.items() if not value]
    if missing:
        return failed(
            f"not set: {', '.join(missing)}",
            f'Add to the node in the profile: setup = ["source {set_env}"]',
        )
    return ok(f"ASCEND_HOME_PATH is {cann.home}")


def _version(cann: Cann) -> CheckResult:
    known = ", ".join(VERSIONS)
    if not cann.home:
        return skipped("no ASCEND_HOME_PATH")
    if not cann.version:
        return warning(
            f"{cann.home} has no version (compiler/version.info)",
            f"Check that it is CANN {known}: MindSpore 2.10 supports these.",
        )
    if ".".join(cann.version.split(".")[:2]) not in VERSIONS:
        return failed(
            f"CANN {cann.version}; MindSpore 2.10 supports {known}",
            "Install one of these beside it and source its set_env.sh.",
        )
    return ok(cann.version)


def _devices(cann: Cann) -> CheckResult:
    if cann.devices.problem:
        return failed(
            cann.devices.problem,
            "Check the driver: npu-smi is part of it (/usr/local/bin or /usr/local/sbin).",
        )
    if faults := cann.devices.faults():
        return failed("; ".join(faults), "See npu-smi info -t health -i N.")
    return ok(cann.devices.summary)
