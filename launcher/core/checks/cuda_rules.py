"""MindSpore 2.10's GPU back end: CUDA_HOME, nvcc's release, eight libraries, the driver, devices.

What its loader does was seen with MindSpore 2.10.0 and stand-ins for nvcc: without CUDA_HOME it
does not look; for releases 10.1, 11.0 and 12 it has no plugin; from 11.1 to 11.5 it opens that for
11.1, which wants ``libnvrtc.so.11.1``, and from 11.6 to 11.8 that for 11.6.
"""

from __future__ import annotations

from collections.abc import Iterator

from launcher.core.checks.row import Row, RowState
from launcher.core.checks.toolkit_facts import (
    CUDA_FIX,
    CUDA_LIBRARIES,
    GPU_PLUGIN,
    Backend,
    Cuda,
    failed,
    ok,
    skipped,
)
from launcher.core.text.numbers import whole_number

LEAST = (11, 6)
BELOW = (12, 0)
DRIVER_CUDA = 11000
NEWEST_CUBIN = 8.6
CUDA_ERRORS = {
    3: "the driver is not initialised",
    34: "the driver is a stub, not the real one",
    100: "it finds no device",
    101: "the device is not valid",
    802: "the system is not ready: is nvidia-fabricmanager running?",
    803: "library and kernel module are of different versions: restart after the update",
    804: "this driver is too old for its library, and the device allows no other",
    999: "an unknown error: look into dmesg",
}
"""cuInit's results, by the names of cuda.h."""


def cuda_rows(node: str, backend: Backend, cuda: Cuda) -> Iterator[Row]:
    yield _plugin(node, backend)
    yield _home(node, cuda)
    yield _nvcc(node, cuda)
    for library in cuda.libraries:
        if library.problem:
            yield failed(
                library.name,
                node,
                library.problem,
                f"--fix installs {CUDA_LIBRARIES.get(library.name, 'it')}.",
                CUDA_FIX,
            )
        else:
            yield ok(library.name, node, library.path or "loads")
    yield _driver(node, cuda)
    yield from _devices(node, cuda)


def _plugin(node: str, backend: Backend) -> Row:
    if GPU_PLUGIN in backend.plugins:
        return ok("back-end", node, f"{GPU_PLUGIN} is in the package")
    if backend.architecture not in ("x86_64", "amd64"):
        text = f"MindSpore has no GPU back end for {backend.architecture}, only for x86_64"
        return failed("back-end", node, text, "Train on an x86-64 machine, or with Ascend or CPU.")
    return failed(
        "back-end",
        node,
        f"{GPU_PLUGIN} is not in the package",
        f"{backend.python} -m pip install --force-reinstall --no-deps 'mindspore==2.10.*'",
    )


def _home(node: str, cuda: Cuda) -> Row:
    if cuda.home:
        return ok("CUDA_HOME", node, cuda.home)
    if cuda.prepared:
        hint = f'An earlier --fix has prepared it: setup = ["source {cuda.prepared}"] in the node.'
    else:
        hint = "--fix makes one; or set it to an installed CUDA 11.6 to 11.8."
    text = "it is not set, and without it MindSpore does not look for GPUs"
    return failed("CUDA_HOME", node, text, hint, "" if cuda.prepared else CUDA_FIX)


def _nvcc(node: str, cuda: Cuda) -> Row:
    if not cuda.home:
        return skipped("nvcc", node, "looked for in $CUDA_HOME/bin")
    path = cuda.nvcc or f"{cuda.home}/bin/nvcc"
    if cuda.nvcc_problem:
        return failed(
            "nvcc",
            node,
            cuda.nvcc_problem,
            "MindSpore asks it for the release; --fix makes one that answers.",
            CUDA_FIX,
        )
    parts = map(whole_number, cuda.release.split("."))
    numbers = [part for part in parts if part is not None]
    release = (numbers[0], numbers[1]) if len(numbers) > 1 else (0, 0)
    if release >= BELOW:
        text = (
            f"{path} is release {cuda.release}, and MindSpore 2.10 has no back end for CUDA 12 on"
        )
        return failed(
            "nvcc",
            node,
            text,
            "CUDA 11.6 to 11.8 beside it will do: --fix brings 11.8's libraries; the driver stays.",
            CUDA_FIX,
        )
    if release < LEAST:
        text = f"{path} is release {cuda.release}; MindSpore's back end wants 11.6 to 11.8"
        return failed("nvcc", node, text, "--fix brings 11.8's libraries.", CUDA_FIX)
    return ok("nvcc", node, f"release {cuda.release}, {path}")


def _driver(node: str, cuda: Cuda) -> Row:
    hint = "Install NVIDIA's driver, 450.80.02 or newer; that takes root. nvidia-smi tells whether."
    if cuda.driver.problem:
        return failed("driver", node, cuda.driver.problem, hint)
    if cuda.init:
        meaning = CUDA_ERRORS.get(cuda.init, "see cuda.h")
        return failed("driver", node, f"cuInit says {cuda.init}: {meaning}", hint)
    if cuda.driver_cuda is not None and cuda.driver_cuda < DRIVER_CUDA:
        text = f"the driver is for CUDA {cuda_version(cuda.driver_cuda)}, too old for 11"
        return failed("driver", node, text, hint)
    version = cuda.devices.driver
    parts = [f"{version} " if version else "", f"({cuda.driver.path})"]
    if cuda.driver_cuda is not None:
        parts.append(f", up to CUDA {cuda_version(cuda.driver_cuda)}")
    return ok("driver", node, "".join(parts))


def _devices(node: str, cuda: Cuda) -> Iterator[Row]:
    if cuda.driver.problem:
        yield skipped("devices", node, "no driver")
        return
    if cuda.gpu_count == 0:
        yield failed(
            "devices",
            node,
            "the driver lists no GPU",
            "Look at nvidia-smi, CUDA_VISIBLE_DEVICES, and whether a container was given GPUs.",
        )
        return
    if cuda.devices.problem:
        yield Row(
            "devices",
            node,
            RowState.WARNING,
            f"{cuda.devices.problem}; memory and health of devices will not be shown",
            "nvidia-smi belongs to the driver.",
        )
        return
    names = ", ".join(dict.fromkeys(device.name for device in cuda.devices.devices))
    text = f"{len(cuda.devices.devices)} × {names}"
    newer = [item for item in cuda.compute_capabilities if _is_newer(item)]
    if newer:
        yield Row(
            "devices",
            node,
            RowState.WARNING,
            f"{text}; compute capability {newer[0]} is newer than MindSpore's kernels (8.6)",
            "The driver compiles them at the first use, which may take minutes once;"
            " CUDA_MODULE_LOADING=LAZY makes it less.",
        )
        return
    yield ok("devices", node, text)


def _is_newer(capability: str) -> bool:
    try:
        return float(capability) > NEWEST_CUBIN
    except ValueError:
        return False


def cuda_version(number: int) -> str:
    """12020 is 12.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
