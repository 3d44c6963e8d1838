"""Facts about MindSpore's back ends on one machine. Nodes send them as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from launcher.core.checks.row import CheckResult, failed, ok
from launcher.core.devices.model import Devices

GPU_PLUGIN = "libmindspore_gpu.so.11.6"
ASCEND_PLUGIN = "libmindspore_ascend.so.2"
CUDA_LIBRARIES = {
    "libcudart.so.11.0": "nvidia-cuda-runtime-cu11==11.8.89",
    "libcublas.so.11": "nvidia-cublas-cu11==11.11.3.6",
    "libcurand.so.10": "nvidia-curand-cu11==10.3.0.86",
    "libcudnn.so.8": "nvidia-cudnn-cu11==8.9.6.50",
    "libcusolver.so.11": "nvidia-cusolver-cu11==11.4.1.48",
    "libcufft.so.10": "nvidia-cufft-cu11==10.9.0.58",
    "libcusparse.so.11": "nvidia-cusparse-cu11==11.7.5.86",
    "libnvrtc.so.11.2": "nvidia-cuda-nvrtc-cu11==11.8.89",
}
"""What the GPU plugin is linked to (``readelf -d``), and the package on PyPI that contains it."""
DRIVER = "libcuda.so.1"
ASCEND_LIBRARIES = ("libascendcl.so", "libge_runner.so", "libgraph.so", "libmsprofiler.so")
CPU_LIBRARIES = ("libgomp.so.1",)


@dataclass(frozen=True)
class Library:
    """A shared library; ``problem`` is the dynamic linker's message."""

    name: str
    path: str = ""
    problem: str = ""

    def result(self, hint: str, fix: str = "") -> CheckResult:
        return failed(self.problem, hint, fix) if self.problem else ok(self.path or "loads")


@dataclass(frozen=True)
class Cuda:
    """``release`` is what nvcc prints, ``11.8``; ``init`` is cuInit's result."""

    home: str = ""
    nvcc: str = ""
    release: str = ""
    nvcc_problem: str = ""
    libraries: tuple[Library, ...] = ()
    driver: Library = field(default_factory=lambda: Library(DRIVER))
    init: int | None = None
    driver_cuda: int | None = None
    """The result of cuDriverGetVersion: 12020 is CUDA 12.2."""
    gpu_count: int | None = None
    devices: Devices = field(default_factory=lambda: Devices("nvidia-smi"))
    prepared: str = ""
    """The env.sh that an earlier ``--fix`` made for this interpreter; empty when there is none."""


@dataclass(frozen=True)
class Cann:
    """``version`` is of the toolkit at ``home``; the paths are those that set_env.sh sets."""

    home: str = ""
    version: str = ""
    opp_path: str = ""
    has_tbe: bool = False
    found_set_env: str = ""
    driver: str = ""
    manager: str = ""
    """``ok``, ``missing`` or ``denied``: /dev/davinci_manager."""
    libraries: tuple[Library, ...] = ()
    devices: Devices = field(default_factory=lambda: Devices("npu-smi"))


@dataclass(frozen=True)
class Backend:
    """One interpreter on one node; ``cuda`` and ``cann`` are set for their target."""

    target: str
    python: str
    mindspore: str
    architecture: str
    plugins: tuple[str, ...] = ()
    cpu_libraries: tuple[Library, ...] = ()
    cpu_count: int = 0
    cuda: Cuda | None = None
    cann: Cann | None = None
    setup_problems: tuple[str, ...] = ()

    def plugin_result(self, plugin: str) -> CheckResult:
        if plugin in self.plugins:
            return ok(f"{plugin} is in the package")
        hint = f"{self.python} -m pip install --force-reinstall --no-deps 'mindspore==2.10.*'"
        return failed(f"{plugin} is not in the package", hint)


CUDA_FIX = "cuda"
"""The fix that installs CUDA's libraries and the nvcc shim into the environment."""
