"""The back end that this interpreter's MindSpore would find, without loading MindSpore."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from launcher.core.checks.facts import Question
from launcher.core.checks.toolkit_facts import (
    ASCEND_LIBRARIES,
    CPU_LIBRARIES,
    CUDA_LIBRARIES,
    DRIVER,
    Backend,
    Cann,
    Cuda,
)
from launcher.core.devices import nvidia_smi
from launcher.core.profile.model import DeviceTarget
from launcher.machine import devices
from launcher.machine.cuda_setup import prepared_env
from launcher.machine.environment import after_setup
from launcher.machine.facts import package_folder, package_version
from launcher.machine.libraries import probe
from launcher.process.tools import output, program

RELEASE = re.compile(r"Cuda compilation tools, release (\d+\.\d+)")
VERSION = re.compile(r"^Version\s*=\s*(\S+)", re.MULTILINE)
PLUGIN_FOLDERS = ("plugin", "plugin/gpu", "plugin/gpu11.6", ".")
CUDA_DEFAULT = "/usr/local/cuda/lib64"
"""The last folder of the GPU plugin's RPATH."""
SET_ENVS = (
    "/usr/local/Ascend/ascend-toolkit/set_env.sh",
    "/usr/local/Ascend/cann/set_env.sh",
    "~/Ascend/ascend-toolkit/set_env.sh",
)
DRIVER_VERSION = Path("/usr/local/Ascend/driver/version.info")
MANAGER = Path("/dev/davinci_manager")


def backend(question: Question) -> Backend:
    """The back end of `question.target`, in the environment that a rank would have."""
    environment, problems = after_setup(question)
    target = question.target
    libraries, _ = probe(CPU_LIBRARIES, environment)
    mindspore = package_folder("mindspore")
    plugins = mindspore.glob("lib/plugin/libmindspore_*.so*") if mindspore is not None else ()
    found = Backend(
        target=target,
        python=sys.executable,
        mindspore=package_version("mindspore"),
        architecture=platform.machine(),
        plugins=tuple(sorted(path.name for path in plugins)),
        cpu_libraries=tuple(libraries.values()),
        cpu_count=len(os.sched_getaffinity(0)),
        setup_problems=problems,
    )
    if target == DeviceTarget.GPU.value:
        return replace(found, cuda=_cuda(environment))
    if target == DeviceTarget.ASCEND.value:
        return replace(found, cann=_cann(environment))
    return found


def target_of_machine() -> str:
    """The device target that this machine has devices or drivers for, else CPU."""
    environment = dict(os.environ)
    if MANAGER.exists() or program("npu-smi", environment):
        return DeviceTarget.ASCEND.value
    if Path("/dev/nvidiactl").exists() or program(nvidia_smi.TOOL, environment):
        return DeviceTarget.GPU.value
    return DeviceTarget.CPU.value


def _cuda(environment: Mapping[str, str]) -> Cuda:
    home = environment.get("CUDA_HOME", "")
    nvcc, release, problem = _nvcc(home, environment) if home else ("", "", "")
    folder = package_folder("mindspore")
    folders = [] if folder is None else [str(folder / "lib" / name) for name in PLUGIN_FOLDERS]
    names = (*CUDA_LIBRARIES, DRIVER)
    libraries, driver_facts = probe(names, environment, [*folders, CUDA_DEFAULT], DRIVER)
    driver = libraries.pop(DRIVER)
    return Cuda(
        home=home,
        nvcc=nvcc,
        release=release,
        nvcc_problem=problem,
        libraries=tuple(libraries.values()),
        driver=driver,
        init=driver_facts.get("init"),
        driver_cuda=driver_facts.get("driver_cuda"),
        gpu_count=driver_facts.get("gpu_count"),
        devices=devices.of_target(DeviceTarget.GPU.value, environment),
        prepared=prepared_env(),
    )


def _nvcc(home: str, environment: Mapping[str, str]) -> tuple[str, str, str]:
    path = Path(home, "bin", "nvcc")
    if not path.is_file():
        return "", "", f"there is no {path}"
    text, problem = output([str(path), "--version"], environment)
    if problem:
        return str(path), "", problem
    found = RELEASE.search(text)
    if found is None:
        return str(path), "", f"{path} prints no line `Cuda compilation tools, release X.Y`"
    return str(path), found[1], ""


def _cann(environment: Mapping[str, str]) -> Cann:
    home = environment.get("ASCEND_HOME_PATH", "")
    libraries, _ = probe(ASCEND_LIBRARIES, environment)
    found = [path for path in map(os.path.expanduser, SET_ENVS) if os.path.exists(path)]
    return Cann(
        home=home,
        version=_read_version(Path(home, "compiler/version.info")) if home else "",
        opp_path=environment.get("ASCEND_OPP_PATH", ""),
        has_tbe="opp/built-in/op_impl/ai_core/tbe" in environment.get("PYTHONPATH", ""),
        found_set_env=found[0] if found else "",
        driver=_read_version(DRIVER_VERSION),
        manager=_manager(),
        libraries=tuple(libraries.values()),
        devices=devices.of_target(DeviceTarget.ASCEND.value, environment),
    )


def _manager() -> str:
    if not MANAGER.exists():
        return "missing"
    return "ok" if os.access(MANAGER, os.R_OK | os.W_OK) else "denied"


def _read_version(path: Path) -> str:
    try:
        found = VERSION.search(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""
