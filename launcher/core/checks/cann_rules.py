"""MindSpore 2.10's Ascend back end: driver, CANN's environment, its libraries, devices.

Versions and paths are those that MindSpore's own checker looks at (``run_check``).
"""

from __future__ import annotations

from collections.abc import Iterator

from launcher.core.checks.row import Row, RowState
from launcher.core.checks.toolkit_facts import ASCEND_PLUGIN, Backend, Cann, failed, ok, skipped

VERSIONS = ("8.2", "8.3", "8.5", "9.0", "9.1")
SET_ENV = "/usr/local/Ascend/ascend-toolkit/set_env.sh"


def cann_rows(node: str, backend: Backend, cann: Cann) -> Iterator[Row]:
    if ASCEND_PLUGIN in backend.plugins:
        yield ok("back-end", node, f"{ASCEND_PLUGIN} is in the package")
    else:
        yield failed(
            "back-end",
            node,
            f"{ASCEND_PLUGIN} is not in the package",
            f"{backend.python} -m pip install --force-reinstall --no-deps 'mindspore==2.10.*'",
        )
    yield _driver(node, cann)
    yield _environment(node, cann)
    yield _version(node, cann)
    for library in cann.libraries:
        if library.problem:
            hint = f"It is CANN's: source {_set_env(cann)} before Python starts."
            yield failed(library.name, node, library.problem, hint)
        else:
            yield ok(library.name, node, library.path or "loads")
    yield from _devices(node, cann)


def _driver(node: str, cann: Cann) -> Row:
    hint = "Install the Ascend driver and firmware (the .run files of the product); takes root."
    if cann.manager == "missing":
        return failed("driver", node, "there is no /dev/davinci_manager", hint)
    if cann.manager == "denied":
        return failed(
            "driver",
            node,
            "/dev/davinci_manager is not ours to open",
            "Add the user to the driver's group: usermod -aG HwHiAiUser USER, then log in again.",
        )
    return ok("driver", node, f"version {cann.driver}" if cann.driver else "/dev/davinci_manager")


def _environment(node: str, cann: Cann) -> Row:
    missing = [
        name
        for name, is_there in (
            ("ASCEND_HOME_PATH", bool(cann.home)),
            ("ASCEND_OPP_PATH", bool(cann.opp_path)),
            ("PYTHONPATH with CANN's opp/built-in/op_impl/ai_core/tbe", cann.has_tbe),
        )
        if not is_there
    ]
    if missing:
        return failed(
            "set_env.sh",
            node,
            f"not set: {', '.join(missing)}",
            f'Put it into the profile\'s node: setup = ["source {_set_env(cann)}"]',
        )
    return ok("set_env.sh", node, f"ASCEND_HOME_PATH is {cann.home}")


def _version(node: str, cann: Cann) -> Row:
    if not cann.home:
        return skipped("CANN", node, "no ASCEND_HOME_PATH")
    if not cann.version:
        return Row(
            "CANN",
            node,
            RowState.WARNING,
            f"{cann.home} does not say its version (compiler/version.info)",
            f"MindSpore 2.10 takes CANN {', '.join(VERSIONS)}.",
        )
    if ".".join(cann.version.split(".")[:2]) not in VERSIONS:
        return failed(
            "CANN",
            node,
            f"CANN {cann.version}, and MindSpore 2.10 takes {', '.join(VERSIONS)}",
            "Install one of these beside it and source its set_env.sh.",
        )
    return ok("CANN", node, cann.version)


def _devices(node: str, cann: Cann) -> Iterator[Row]:
    if cann.devices.problem:
        yield failed(
            "devices",
            node,
            cann.devices.problem,
            "npu-smi belongs to the driver, in /usr/local/bin or /usr/local/sbin.",
        )
        return
    found = cann.devices.devices
    faults = [f"device {item.device_id}: {item.fault}" for item in found if item.fault]
    if faults:
        yield failed("devices", node, "; ".join(faults), "npu-smi info -t health -i N says more.")
        return
    names = ", ".join(dict.fromkeys(device.name for device in found))
    yield ok("devices", node, f"{len(found)} × {names}")


def _set_env(cann: Cann) -> str:
    return cann.found_set_env or SET_ENV
