"""The doctor's rules: what an interpreter and its machine say in, rows out, in loading order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.core.checks.row import Row, RowState
from launcher.core.checks.toolkit_facts import (
    ASCEND_LIBRARIES,
    ASCEND_PLUGIN,
    CUDA_FIX,
    CUDA_LIBRARIES,
    DRIVER,
    GPU_PLUGIN,
    Backend,
    Cann,
    Cuda,
    Library,
)
from launcher.core.checks.toolkit_rules import doctor_rows, toolkit_rows
from launcher.core.devices.model import Device, Devices


def gpus(name: str, capability: str) -> Devices:
    device = Device(0, name, compute_capability=capability)
    return Devices("nvidia-smi", "", "535.129.03", (device,))


def cuda(**changes: object) -> Backend:
    plain = Cuda(
        home="/usr/local/cuda-11.6",
        nvcc="/usr/local/cuda-11.6/bin/nvcc",
        release="11.6",
        libraries=tuple(Library(name, f"/lib/{name}") for name in CUDA_LIBRARIES),
        driver=Library(DRIVER, "/lib/libcuda.so.1"),
        init=0,
        driver_cuda=12020,
        gpu_count=1,
        devices=gpus("NVIDIA A100", "8.0"),
    )
    return backend("GPU", cuda=replace(plain, **changes))  # type: ignore[arg-type]


def cann(**changes: object) -> Backend:
    plain = Cann(
        home="/usr/local/Ascend/ascend-toolkit/latest",
        version="8.5.0.1.101",
        opp_path="/opp",
        has_tbe=True,
        driver="24.1.0",
        manager="ok",
        libraries=tuple(Library(name, f"/lib/{name}") for name in ASCEND_LIBRARIES),
        devices=Devices("npu-smi", "", "24.1.0", (Device(0, "910B3"),)),
    )
    return backend("Ascend", cann=replace(plain, **changes))  # type: ignore[arg-type]


def backend(target: str, **changes: object) -> Backend:
    plain = Backend(target, "/env/bin/python", "2.10.0", "x86_64", (ASCEND_PLUGIN, GPU_PLUGIN))
    return replace(plain, **changes)  # type: ignore[arg-type]


def by_check(found: Backend) -> dict[str, Row]:
    return {row.check: row for row in doctor_rows("alpha", found)}


def test_rows_have_the_order_of_the_loader() -> None:
    rows = doctor_rows("alpha", cuda())
    wanted = ["mindspore", "back-end", "CUDA_HOME", "nvcc", *CUDA_LIBRARIES, "driver", "devices"]
    assert [row.check for row in rows] == wanted
    assert {row.state for row in rows} == {RowState.OK}
    assert {row.state for row in doctor_rows("alpha", cann())} == {RowState.OK}


@pytest.mark.parametrize(
    ("changes", "check", "text", "fix"),
    [
        ({"home": "", "release": ""}, "CUDA_HOME", "not set", CUDA_FIX),
        ({"home": "", "prepared": "/e/env.sh"}, "CUDA_HOME", "not set", ""),
        ({"nvcc_problem": "there is no /x/bin/nvcc"}, "nvcc", "there is no /x", CUDA_FIX),
        ({"release": "12.4"}, "nvcc", "no back end for CUDA 12", CUDA_FIX),
        ({"release": "13.0"}, "nvcc", "no back end for CUDA 12", CUDA_FIX),
        ({"release": "11.1"}, "nvcc", "needs 11.6 to 11.8", CUDA_FIX),
        ({"driver": Library(DRIVER, "", "libcuda.so.1: cannot open")}, "driver", "cannot", ""),
        ({"init": 803}, "driver", "different versions", ""),
        ({"driver_cuda": 10020}, "driver", "for CUDA 10.2, too old", ""),
        ({"gpu_count": 0}, "devices", "lists no GPU", ""),
    ],
)
def test_missing_parts_of_a_gpu(
    changes: dict[str, object], check: str, text: str, fix: str
) -> None:
    row = by_check(cuda(**changes))[check]
    assert row.state is RowState.FAILED
    assert text in row.text
    assert row.fix == fix
    assert row.hint


@pytest.mark.parametrize("release", ["11.6", "11.7", "11.8"])
def test_supported_releases(release: str) -> None:
    assert by_check(cuda(release=release))["nvcc"].state is RowState.OK


def test_a_library_that_is_missing_names_its_package() -> None:
    libraries = tuple(
        Library(name, "", "cannot open" if name == "libcudnn.so.8" else "")
        for name in CUDA_LIBRARIES
    )
    rows = by_check(cuda(libraries=libraries))
    red = [row for row in rows.values() if row.state is RowState.FAILED]
    assert [row.check for row in red] == ["libcudnn.so.8"]
    assert "nvidia-cudnn-cu11==8.9.6.50" in red[0].hint


def test_a_newer_gpu_is_a_warning() -> None:
    row = by_check(cuda(devices=gpus("NVIDIA H100", "9.0")))["devices"]
    assert row.state is RowState.WARNING
    assert "9.0" in row.text


def test_the_wheel_of_another_architecture_has_no_gpu_back_end() -> None:
    row = by_check(replace(cuda(), plugins=(), architecture="aarch64"))["back-end"]
    assert "only for x86_64" in row.text
    assert "not in the package" in by_check(replace(cuda(), plugins=()))["back-end"].text


@pytest.mark.parametrize(
    ("changes", "check", "text", "hint"),
    [
        ({"manager": "missing"}, "driver", "no /dev/davinci_manager", "driver"),
        ({"manager": "denied"}, "driver", "no permission to open", "HwHiAiUser"),
        ({"home": ""}, "set_env.sh", "ASCEND_HOME_PATH", "source /usr/local/Ascend"),
        ({"has_tbe": False, "found_set_env": "/o/set_env.sh"}, "set_env.sh", "tbe", "/o/set_env"),
        ({"version": "8.0.RC1"}, "CANN", "CANN 8.0.RC1; MindSpore 2.10 supports 8.2", "beside"),
        ({"devices": Devices("npu-smi", "there is no npu-smi")}, "devices", "no npu-smi", "driver"),
        (
            {"devices": Devices("npu-smi", devices=(Device(2, "910", "health Alarm"),))},
            "devices",
            "device 2: health Alarm",
            "npu-smi",
        ),
        (
            {"libraries": (Library("libascendcl.so", "", "cannot open"),)},
            "libascendcl.so",
            "cannot open",
            "set_env.sh",
        ),
    ],
)
def test_missing_parts_of_an_ascend_node(
    changes: dict[str, object], check: str, text: str, hint: str
) -> None:
    row = by_check(cann(**changes))[check]
    assert row.state is RowState.FAILED
    assert text in row.text
    assert hint in row.hint


def test_a_cpu_needs_little() -> None:
    found = backend("CPU", cpu_libraries=(Library("libgomp.so.1", "/lib/x"),), cpu_count=4)
    assert {row.state for row in doctor_rows("alpha", found)} == {RowState.OK}
    found = backend("CPU", mindspore="", cpu_libraries=(Library("libgomp.so.1", "", "no"),))
    rows = by_check(found)
    assert {rows["mindspore"].state, rows["libgomp.so.1"].state} == {RowState.FAILED}
    assert "2.7.1" in by_check(backend("CPU", mindspore="2.7.1"))["mindspore"].text


def test_a_preflight_has_one_row_of_it_and_holds_nodes_to_the_first() -> None:
    rows = list(toolkit_rows("p", {"alpha": cuda(), "beta": cuda(release="11.8")}))
    assert [row.state for row in rows] == [RowState.OK, RowState.FAILED]
    assert "CUDA 11.8, but CUDA 11.6 on alpha" in rows[1].text
    rows = list(toolkit_rows("p", {"alpha": cuda(home="", release="")}))
    assert "CUDA_HOME: not set" in rows[0].text
    assert "effnet-launch doctor p" in rows[0].hint
