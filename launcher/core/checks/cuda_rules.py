"""MindSpore 2.10's GPU back end: CUDA_HOME, nvcc's release, eight libraries, the driver, devices.

The loader's rules, from tests with MindSpore 2.10.0 and stand-ins for nvcc: it needs CUDA_HOME; for
releases 10.1, 11.0 and 12 it has no plugin; for 11.1 to 11.5 it opens the plugin for 11.1, which
needs ``libnvrtc.so.11.1``, and for 11.6 to 11.8 the one for 11.6.
"""

from __future__ import annotations

from collections.abc import Iterator

from launcher.core.checks.row import CheckResult, failed, ok, skipped, warning
from launcher.core.checks.toolkit_facts import CUDA_FIX, CUDA_LIBRARIES, GPU_PLUGIN, Backend, Cuda
from launcher.core.text.numbers import whole_number

LEAST = (11, 6)
BELOW = (12, 0)
DRIVER_CUDA = 11000
NEWEST_CUBIN = 8.6
CUDA_ERRORS = {
    3: "the driver is not initialised",
    34: "the driver is a stub, not the real one",
    100: "no device found",
    101: "the device is not valid",
    802: "the system is not ready: check that nvidia-fabricmanager is running",
    803: "library and kernel module have different versions: restart after the update",
    804: "this driver is too old for its library",
    999: "unknown error: check dmesg",
}
"""cuInit's results, by the names of cuda.h."""


def cuda_results(backend: Backend, cuda: Cuda) -> Iterator[tuple[str, CheckResult]]:
    """(check, result) in the order in which MindSpore's loader needs each part."""
    yield "back-end", _plugin(backend)
    yield "CUDA_HOME", _home(cuda)
    yield "nvcc", _nvcc(cuda)
    for library in cuda.libraries:
        package = CUDA_LIBRARIES.get(library.name, "it")
        yield library.name, library.result(f"--fix installs {package}.", CUDA_FIX)
    yield "driver", _driver(cuda)
    yield "devices", _devices(cuda)


def _plugin(backend: Backend) -> CheckResult:
    if GPU_PLUGIN not in backend.plugins and backend.architecture not in ("x86_64", "amd64"):
        text = f"MindSpore has no GPU back end for {backend.architecture}, only for x86_64"
        return failed(text, "Train on an x86-64 machine, or on Ascend or CPU.")
    return backend.plugin_result(GPU_PLUGIN)


def _home(cuda: Cuda) -> CheckResult:
    if cuda.home:
        return ok(cuda.home)
    text = "not set: without it MindSpore does not look for GPUs"
    if cuda.prepared:
        hint = f'Use what an earlier --fix made: setup = ["source {cuda.prepared}"] in the node.'
        return failed(text, hint)
    return failed(text, "Use --fix, or set it to an installed CUDA 11.6 to 11.8.", CUDA_FIX)


def _nvcc(cuda: Cuda) -> CheckResult:
    if not cuda.home:
        return skipped("needs CUDA_HOME")
    path = cuda.nvcc or f"{cuda.home}/bin/nvcc"
    if cuda.nvcc_problem:
        hint = "MindSpore gets the release from it. Use --fix: it installs an nvcc that prints it."
        return failed(cuda.nvcc_problem, hint, CUDA_FIX)
    parts = map(whole_number, cuda.release.split("."))
    numbers = [part for part in parts if part is not None]
    release = (numbers[0], numbers[1]) if len(numbers) > 1 else (0, 0)
    if release >= BELOW:
        text = f"{path} is release {cuda.release}; MindSpore 2.10 has no back end for CUDA 12"
        hint = "Use --fix: it adds CUDA 11.8's libraries; the driver stays as it is."
        return failed(text, hint, CUDA_FIX)
    if release < LEAST:
        text = f"{path} is release {cuda.release}; MindSpore's back end needs 11.6 to 11.8"
        return failed(text, "Use --fix: it installs 11.8's libraries.", CUDA_FIX)
    return ok(f"release {cuda.release}, {path}")


def _driver(cuda: Cuda) -> CheckResult:
    hint = "As root, install NVIDIA's driver 450.80.02 or newer; check it with nvidia-smi."
    if cuda.driver.problem:
        return failed(cuda.driver.problem, hint)
    if cuda.init:
        meaning = CUDA_ERRORS.get(cuda.init, "see cuda.h")
        return failed(f"cuInit returns {cuda.init}: {meaning}", hint)
    if cuda.driver_cuda is not None and cuda.driver_cuda < DRIVER_CUDA:
        text = f"the driver is for CUDA {cuda_version(cuda.driver_cuda)}, too old for 11"
        return failed(text, hint)
    version = cuda.devices.driver
    parts = [f"{version} " if version else "", f"({cuda.driver.path})"]
    if cuda.driver_cuda is not None:
        parts.append(f", up to CUDA {cuda_version(cuda.driver_cuda)}")
    return ok("".join(parts))


def _devices(cuda: Cuda) -> CheckResult:
    if cuda.driver.problem:
        return skipped("no driver")
    if cuda.gpu_count == 0:
        return failed(
            "the driver lists no GPU",
            "Check nvidia-smi, CUDA_VISIBLE_DEVICES, and whether the container was given GPUs.",
        )
    if cuda.devices.problem:
        return warning(
            f"{cuda.devices.problem}: memory and health of devices will not be shown",
            "Check the driver: nvidia-smi is part of it.",
        )
    known = [device.compute_capability for device in cuda.devices.devices]
    newer = [item for item in known if _is_newer(item)]
    if newer:
        return warning(
            f"{cuda.devices.summary}; compute capability {newer[0]} is newer than MindSpore's"
            " kernels (8.6)",
            "The driver compiles them at the first use, which can take minutes once;"
            " CUDA_MODULE_LOADING=LAZY makes it shorter.",
        )
    return ok(cuda.devices.summary)


def _is_newer(capability: str) -> bool:
    try:
        return float(capability) > NEWEST_CUBIN
    except ValueError:
        return False


def cuda_version(number: int) -> str:
    """12020 is 12.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
