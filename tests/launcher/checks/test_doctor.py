"""The doctor on faked nodes: no driver, CUDA 12 only, missing cuDNN, all there.

MindSpore's package, linker and pip are real; nvcc, nvidia-smi and the libraries are made.
"""

from __future__ import annotations

import _ctypes
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from launcher import client
from launcher.core.checks.row import Row, RowState
from launcher.core.checks.toolkit_facts import ASCEND_LIBRARIES, CUDA_LIBRARIES, DRIVER
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import DeviceTarget, Profile
from launcher.errors import LaunchError
from launcher.machine import cuda_setup, toolkit

SMALL = Path(_ctypes.__file__)
"""Any small shared library: the linker looks at names."""
GPU = "0, GPU-1, NVIDIA A100-SXM4-40GB, 535.129.03, 0, 8.0"


class FakeNode:
    """A folder that a node's environment points to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "cuda"
        self.libraries = folder / "libraries"
        self.libraries.mkdir(parents=True)

    def nvcc(self, release: str) -> None:
        self.tool(
            self.home / "bin/nvcc",
            f'echo "Cuda compilation tools, release {release}, V{release}.89"',
        )

    def cuda(self, *without: str) -> None:
        for name in CUDA_LIBRARIES:
            if name not in without:
                shutil.copy(SMALL, self.libraries / name)

    def driver(self) -> None:
        shutil.copy(SMALL, self.libraries / DRIVER)
        self.tool(
            self.folder / "bin/nvidia-smi",
            f"case \"$1\" in --query-gpu=*) echo '{GPU}';; *) ;; esac",
        )

    def tool(self, path: Path, script: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def profile(self, python: str = "") -> Profile:
        text = (
            'name = "faked"\ndevice_target = "GPU"\nstart_method = "cluster"\ndata_path = "/data"\n'
            f'[[nodes]]\naddress = "127.0.0.1"\nslots = 1\npython = "{python}"\n'
            "[nodes.environment]\n"
            f'LD_LIBRARY_PATH = "{self.libraries}"\nPATH = "{self.folder}/bin:{os.environ["PATH"]}"'
        )
        if self.home.exists():
            text += f'\nCUDA_HOME = "{self.home}"'
        return load_profile(text, "faked.toml")

    def red(self, **options: object) -> dict[str, Row]:
        rows = client.doctor(self.profile(), **options)  # type: ignore[arg-type]
        return {row.check: row for row in rows if row.state is RowState.FAILED}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    monkeypatch.delenv("CUDA_HOME", raising=False)
    return FakeNode(tmp_path / "a node")


def test_no_driver(node: FakeNode) -> None:
    node.nvcc("11.6")
    node.cuda()
    red = node.red()
    assert list(red) == ["driver"]
    assert "libcuda.so.1: cannot open shared object file" in red["driver"].text


def test_cuda_12_only(node: FakeNode) -> None:
    node.nvcc("12.4")
    node.driver()
    red = node.red()
    assert list(red) == ["nvcc", *CUDA_LIBRARIES]
    assert "release 12.4" in red["nvcc"].text
    assert {row.fix for row in red.values()} == {"cuda"}


def test_missing_cudnn(node: FakeNode) -> None:
    node.nvcc("11.8")
    node.cuda("libcudnn.so.8")
    node.driver()
    red = node.red()
    assert list(red) == ["libcudnn.so.8"]
    assert "nvidia-cudnn-cu11" in red["libcudnn.so.8"].hint


def test_nothing_is_missing(node: FakeNode) -> None:
    node.nvcc("11.6")
    node.cuda()
    node.driver()
    rows = {row.check: row for row in client.doctor(node.profile())}
    assert {row.state for row in rows.values()} == {RowState.OK}, rows
    assert rows["libcudnn.so.8"].text == str(node.libraries / "libcudnn.so.8")
    assert rows["devices"].text == "1 × NVIDIA A100-SXM4-40GB"
    row = next(r for r in client.preflight(node.profile()) if r.check == "toolkit")
    assert (row.state, row.text.startswith("release 11.6")) == (RowState.OK, True)


def test_an_nvcc_without_output_and_a_broken_library(node: FakeNode) -> None:
    node.tool(node.home / "bin/nvcc", "echo hello")
    node.cuda()
    node.driver()
    (node.libraries / "libcufft.so.10").write_text("not a library")
    red = node.red()
    assert list(red) == ["nvcc", "libcufft.so.10"]
    assert "release X.Y" in red["nvcc"].text
    assert "file too short" in red["libcufft.so.10"].text


def fake_wheel(folder: Path, requirement: str, library: str) -> None:
    """A wheel with the library where NVIDIA's have theirs."""
    project, _, version = requirement.partition("==")
    name = project.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    files = {
        f"nvidia/{name}/lib/{library}": SMALL.read_bytes(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)


def test_fix_installs_libraries_and_an_nvcc_into_the_environment(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for library, requirement in CUDA_LIBRARIES.items():
        fake_wheel(wheels, requirement, library)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    venv.create(tmp_path / "env")
    python = tmp_path / "env/bin/python"
    # It sees this environment's packages too, pip and, as one with it would, MindSpore.
    site = next((tmp_path / "env/lib").glob("python*")) / "site-packages"
    seen = [str(Path(client.__file__).parents[1]), *(p for p in sys.path if p)]
    (site / "seen.pth").write_text("\n".join(seen))
    node.driver()
    fixed: list[str] = []
    rows = client.doctor(node.profile(str(python)), fix=True, on_fix=fixed.append)
    assert {row.state for row in rows} == {RowState.OK}, (rows, fixed)
    script = tmp_path / "env/effnet-cuda/env.sh"
    assert any(f'setup = ["source {script}"]' in line for line in fixed), fixed
    command = f'. \'{script}\'; "$CUDA_HOME/bin/nvcc" --version; ls "$CUDA_HOME/lib64"'
    output = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=True
    ).stdout
    assert "release 11.8" in output
    assert set(CUDA_LIBRARIES) <= set(output.split())


def test_fix_without_an_index_shows_the_message_of_pip(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    fixed: list[str] = []
    red = node.red(fix=True, on_fix=fixed.append)
    assert "CUDA_HOME" in red
    assert any("pip of" in line and "nvidia-cuda-runtime-cu11" in line for line in fixed), fixed


def test_the_systems_python_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    monkeypatch.setattr(cuda_setup.sysconfig, "get_path", lambda name: str(tmp_path))
    assert cuda_setup.refusal() == ""  # a container's own, say
    (tmp_path / "EXTERNALLY-MANAGED").write_text("")
    assert cuda_setup.refusal() == "belongs to the system"
    with pytest.raises(LaunchError, match="environment of one's own"):
        cuda_setup.prepare()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "none"))
    assert cuda_setup.refusal() == "is not writable"


def test_the_command(lab) -> None:
    done = lab.command("doctor", "--target", "CPU")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ mindspore" in done.stdout
    done = lab.command("doctor", "--target", "Ascend", "--json")
    assert done.returncode == 6
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert [row["check"] for row in found["rows"]][:3] == ["mindspore", "back-end", "driver"]
    assert "no target" in lab.command("doctor", "--target", "TPU").stderr


def test_an_ascend_node_with_cann_and_one_with_another_version(
    node: FakeNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CANN's own set_env.sh leaves a shell; the driver's device file is made."""
    cann, fixture = tmp_path / "cann", Path(__file__).parents[1] / "fixtures/npu-smi-910B.txt"
    (cann / "compiler").mkdir(parents=True)
    version = cann / "compiler/version.info"
    version.write_text("Version=8.5.0.1.101\nversion_dir=8.5.0\n")
    for name in ASCEND_LIBRARIES:
        shutil.copy(SMALL, node.libraries / name)
    node.tool(node.folder / "bin/npu-smi", f"cat '{fixture}'")
    (tmp_path / "set_env.sh").write_text(
        f"export ASCEND_HOME_PATH='{cann}' ASCEND_OPP_PATH='{cann}/opp'\n"
        f"export PYTHONPATH='{cann}/opp/built-in/op_impl/ai_core/tbe'\n"
    )
    (tmp_path / "manager").touch()
    monkeypatch.setattr(toolkit, "MANAGER", tmp_path / "manager")
    profile = node.profile().model_copy(update={"device_target": DeviceTarget.ASCEND})
    first = profile.nodes[0].model_copy(update={"setup": (f"source '{tmp_path}/set_env.sh'",)})
    profile = profile.model_copy(update={"nodes": (first,)})
    rows = {row.check: row for row in client.doctor(profile)}
    assert rows["CANN"].text == "8.5.0.1.101"
    assert {row.state for row in rows.values()} == {RowState.OK}, rows
    version.write_text("Version=8.0.RC1\n")
    (tmp_path / "manager").unlink()
    (node.libraries / "libgraph.so").unlink()
    rows = {row.check: row for row in client.doctor(profile)}
    red = [row.check for row in rows.values() if row.state is RowState.FAILED]
    assert red == ["driver", "CANN", "libgraph.so"]
