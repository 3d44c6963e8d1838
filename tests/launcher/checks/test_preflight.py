"""A preflight of this machine: real packages, folders, ports; vendors' tools are faked."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import socket
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from launcher import client
from launcher.checks import wheel
from launcher.checks.preflight import login_rows, unanswered_row
from launcher.core.checks import machine_rules
from launcher.core.checks.facts import Question
from launcher.core.checks.row import Row, RowState
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Node, Profile
from launcher.errors import HostKeyError, LoginError, NodeError, NotInstalledError
from launcher.machine import devices as device_facts
from launcher.machine import environment, facts

FIXTURES = Path(__file__).parents[1] / "fixtures"
PROFILE = """\
name = "here"
device_target = "{target}"
start_method = "{method}"
data_path = "{data}"
{top}
[[nodes]]
address = "127.0.0.1"
slots = 2
{node}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / "data" / name).mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    # The disk of the machine that tests run on may be nearly full.
    monkeypatch.setattr(machine_rules, "LOW_FREE_BYTES", 0)


def profile(data: Path, target: str = "CPU", method: str = "cluster", **parts: str) -> Profile:
    values = {"top": "", "node": "", **parts}
    text = PROFILE.format(target=target, method=method, data=data, **values)
    return load_profile(text, "here.toml")


def rows_of(found: Profile, **options: object) -> dict[str, Row]:
    rows = client.preflight(found, **options)  # type: ignore[arg-type]
    assert {(row.check, row.node) for row in rows} == set(client.expected(found))
    return {row.check: row for row in rows}


def tool(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / name).chmod(0o755)


def on_path(folder: Path) -> str:
    return f'environment = {{ PATH = "{folder}:{os.environ["PATH"]}" }}'


def test_this_machine_is_ready_and_each_row_is_reported_once(data: Path) -> None:
    reported: list[Row] = []
    rows = rows_of(profile(data), on_row=reported.append)
    assert {row.state for row in rows.values()} == {RowState.OK}, rows
    assert sorted(reported, key=str) == sorted(rows.values(), key=str)
    assert "2 classes in train" in rows["data"].text


def test_the_preflight_loads_nothing_heavy(data: Path) -> None:
    code = (
        "import sys; from launcher import client\n"
        f"client.preflight({str(write(data))!r})\n"
        "print([m for m in ('mindspore', 'numpy', 'effnet', 'textual') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def write(data: Path, text: str = "") -> Path:
    path = data.parent / "here.toml"
    plain = PROFILE.format(target="CPU", method="cluster", data=data, top="", node="")
    path.write_text(text or plain)
    return path


def bind_outside(sock: socket.socket) -> int:
    """To a port that the kernel gives to no connection of the tests beside this one. -> it."""
    for port in random.sample(range(10_000, 20_000), 100):
        with contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("every one of 100 ports is in use")


def test_a_port_in_use_names_its_owner(data: Path) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        port = bind_outside(sock)
        sock.listen()
        row = rows_of(profile(data, top=f"master = {{ port = {port} }}"))["master-port"]
        assert row.state is RowState.FAILED
        assert f"127.0.0.1:{port} is used by process {os.getpid()}" in row.text
        # The side that closes first keeps its port in TIME_WAIT.
        with socket.create_connection(("127.0.0.1", port)) as other:
            sock.accept()[0].close()
            other.recv(1)
    free = rows_of(profile(data, top=f"master = {{ port = {port} }}"))["master-port"]
    assert free.state is RowState.OK


def test_a_refused_connection_proves_a_route() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        assert facts.route("127.0.0.1", port).from_address == "127.0.0.1"
        sock.listen()
        assert facts.route("127.0.0.1", port).problem == ""


def test_a_route_blocked_by_a_firewall(monkeypatch: pytest.MonkeyPatch) -> None:
    def say(error: OSError) -> None:
        def connect(*arguments: object) -> socket.socket:
            raise error

        monkeypatch.setattr(socket, "create_connection", connect)

    say(TimeoutError())
    assert facts.route("10.0.0.1", 0).is_dropped
    say(OSError(113, "No route to host"))
    found = facts.route("10.0.0.1", 0)
    assert (found.problem, found.is_dropped) == ("No route to host", False)


def test_data_that_is_missing_or_has_no_classes(data: Path, tmp_path: Path) -> None:
    assert "No such file" in rows_of(profile(tmp_path / "none"))["data"].text
    assert "no class folders" in rows_of(profile(data / "train/a"))["data"].text
    plain = rows_of(profile(data / "train"))["data"]
    assert (plain.state, plain.text.endswith(": 2 classes")) == (RowState.OK, True)
    row = rows_of(profile(data), settings=[("class_num", "7")])["data"]
    assert "class_num is 7" in row.text


def after_setup(*lines: str, **variables: str) -> tuple[dict[str, str], tuple[str, ...]]:
    return environment.after_setup(Question("CPU", environment=variables, setup=lines))


def test_setup_is_run_as_for_a_rank_and_a_failing_line_is_named(tmp_path: Path) -> None:
    script = tmp_path / "set env.sh"
    script.write_text("echo noise; export FROM_SETUP='a\nb'; PATH=/there:$PATH\n")
    found, problems = after_setup(f"source '{script}'", "echo more", OWN="1")
    assert problems == ()
    assert (found["OWN"], found["FROM_SETUP"], found["PATH"][:7]) == ("1", "a\nb", "/there:")
    found, problems = after_setup("true", "source /none.sh", "export X=1")
    assert len(problems) == 1
    assert problems[0].startswith("`source /none.sh` ends with 1: ")
    assert found["X"] == "1"
    assert "ends the shell with 3" in after_setup("exit 3")[1][0]


def test_the_version_of_mpirun(data: Path, tmp_path: Path) -> None:
    tool(tmp_path / "bin", "mpirun", "echo 'mpirun (Open MPI) 5.0.3'")
    found = profile(data, method="mpirun", node=on_path(tmp_path / "bin"))
    assert "OpenMPI 5.0.3, but the profile has 4" in rows_of(found)["openmpi"].text
    none = profile(data, method="mpirun", top='mpirun = { program = "/none/mpirun" }')
    assert rows_of(none)["openmpi"].state is RowState.FAILED


def test_ascend_devices_from_npu_smi_and_hccn_tool(data: Path, tmp_path: Path) -> None:
    text = (FIXTURES / "npu-smi-910B.txt").read_text()
    (tmp_path / "output").write_text(text)
    tool(tmp_path / "bin", "npu-smi", f'[ "$1" = info ] && cat "{tmp_path}/output"')
    tool(
        tmp_path / "bin",
        "hccn_tool",
        'case "$3" in\n'
        "-ip) echo ipaddr:192.168.100.10$2; echo netmask:255.255.255.0;;\n"
        "-link) echo 'link status: UP';;\n"
        "-net_health) [ $2 = 1 ] && echo 'net health status: Fault' ||"
        " echo 'net health status: Success';;\nesac",
    )
    known = device_facts.of_npus(device_facts.parse_info(text))
    ids = [device.device_id for device in known.devices]
    assert len(ids) >= 2
    listed = ", ".join(f"{{ device_id = {number} }}" for number in ids)
    found = profile(
        data, "Ascend", node=f"{on_path(tmp_path / 'bin')}\ndevices = [{listed}]"
    ).model_copy()
    found = found.model_copy(update={"nodes": (found.nodes[0].model_copy(update={"slots": 0}),)})
    rows = rows_of(found)
    assert rows["devices"].state is RowState.OK
    assert rows["device-health"].state is RowState.OK
    assert "device 1: net health Fault" in rows["device-network"].text
    held = [device for device in known.devices if device.holders]
    assert (rows["device-free"].state is RowState.FAILED) == bool(held)
    asked = Question("Ascend", environment=found.nodes[0].environment)
    assert device_facts.devices(asked).devices[0].ip == "192.168.100.100"


GPUS = """\
0, GPU-11111111-2222-3333-4444-555555555555, NVIDIA A100-SXM4-40GB, 535.129.03, 0, 8.0
1, GPU-66666666-7777-8888-9999-000000000000, NVIDIA A100-SXM4-40GB, 535.129.03, 3, 8.0
"""


def test_gpus_from_nvidia_smi_and_the_processes_on_them(data: Path, tmp_path: Path) -> None:
    me = os.getpid()
    tool(
        tmp_path / "bin",
        "nvidia-smi",
        f"case \"$1\" in\n--query-gpu=*) cat <<'END'\n{GPUS}END\n;;\n"
        "--query-compute-apps=*) echo"
        f" 'GPU-11111111-2222-3333-4444-555555555555, {me}, /usr/bin/python3.11, 4321';;\nesac",
    )
    rows = rows_of(profile(data, "GPU", node=on_path(tmp_path / "bin")))
    assert rows["devices"].text.startswith("2 × NVIDIA A100-SXM4-40GB, driver 535.129.03")
    assert rows["device-health"].text == "device 1: 3 uncorrected memory errors"
    assert f"device 0: process {me} (python3.11) of " in rows["device-free"].text
    tool(tmp_path / "bin", "nvidia-smi", "echo 'Driver/library version mismatch' >&2; exit 18")
    rows = rows_of(profile(data, "GPU", node=on_path(tmp_path / "bin")))
    assert "mismatch" in rows["devices"].text


def test_another_interpreter_of_this_machine_reports_about_itself(
    data: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env/bin/python"
    rows = rows_of(profile(data, node=f'python = "{python}"'))
    # It has none of our packages, and its own error says so.
    assert rows["effnet-tui"].state is RowState.FAILED
    assert rows["effnet-tui"].fix == "wheel"
    assert rows["data"].state is RowState.SKIPPED
    here = f"{Path(client.__file__).parents[1]}{os.pathsep}{os.pathsep.join(sys.path)}"
    tool(tmp_path / "bin", "python", f'PYTHONPATH="{here}" exec {python} "$@"')
    rows = rows_of(profile(data, node=f'python = "{tmp_path}/bin/python"'))
    assert rows["python"].state is RowState.OK
    assert rows["data"].state is RowState.OK
    rows = rows_of(profile(data, node='python = "/none/python"'))
    assert "cannot be run" in rows["python"].text


def test_the_wheel_has_the_files_that_run_here() -> None:
    name, content = wheel.make_wheel()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = set(archive.namelist())
        assert archive.read("launcher/client.py") == Path(client.__file__).read_bytes()
    assert name.endswith("-py3-none-any.whl")
    wanted = {"effnet/__main__.py", "tui/app.tcss", "cluster_profiles/local-cpu.toml"}
    assert wanted < names
    assert not any("__pycache__" in item for item in names)


def test_fix_installs_this_version_and_touches_nothing_else(data: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    freeze = [str(python), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    before = json.loads(subprocess.run(freeze, capture_output=True, check=True).stdout)
    working = tmp_path / "to be made"
    text = PROFILE.format(
        target="CPU", method="cluster", data=data, top="",
        node=f'python = "{python}"\nworking_directory = "{working}"',
    )  # fmt: skip
    path = write(data, text)
    fixed: list[str] = []
    rows = client.preflight(str(path), fix=True, on_fix=fixed.append)
    assert fixed
    assert f"installed effnet_tui-{facts.package_version('effnet-tui')}" in fixed[0]
    after = json.loads(subprocess.run(freeze, capture_output=True, check=True).stdout)
    assert [item for item in after if item["name"] != "effnet-tui"] == before
    found = {row.check: row for row in rows}
    # Its dependencies are named, not installed.
    assert "not its dependencies" in found["effnet-tui"].text
    assert found["effnet-tui"].fix == ""


def test_fix_makes_working_directories(data: Path, tmp_path: Path) -> None:
    working = tmp_path / "to be made"
    found = profile(data, node=f'working_directory = "{working}"')
    assert rows_of(found)["folders"].fix == f"folder {working}"
    fixed: list[str] = []
    rows = rows_of(found, fix=True, on_fix=fixed.append)
    assert working.is_dir()
    assert rows["folders"].state is RowState.OK
    assert fixed == [f"127.0.0.1: created {working}"]


@pytest.mark.parametrize(
    ("error", "check", "fix", "hint"),
    [
        (NodeError("n", "python3 -m … ended: Killed"), "effnet-tui", "", ""),
        (NotInstalledError("n", "there is no python3", "Set `python`."), "python", "", "`python`"),
        (
            NotInstalledError("n", "no module launcher.node", "", "launcher.node"),
            "effnet-tui", "wheel", "--fix",
        ),
        (NotInstalledError("n", "no module pydantic", "", "pydantic"), "effnet-tui", "", "pip"),
    ],
)  # fmt: skip
def test_a_node_that_does_not_answer_is_reported(
    error: NodeError, check: str, fix: str, hint: str
) -> None:
    row = unanswered_row(Node(address="10.0.0.1", name="n"), error)
    assert (row.check, row.state, row.fix) == (check, RowState.FAILED, fix)
    assert hint in row.hint


def test_a_failed_login_reports_the_last_step() -> None:
    node = Node(address="10.0.0.1", name="n")
    for error, red in (
        (HostKeyError("n", "the host key has changed"), "host-key"),
        (LoginError("n", "accepts none of your keys"), "user"),
        (NodeError("n", "no route"), "reachable"),
    ):
        rows = login_rows(node, error)
        assert [row.check for row in rows if row.state is RowState.FAILED] == [red]


def test_a_node_of_another_version_is_reported(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, but not what this version understands."""
    reply = json.dumps({"type": "reply", "ok": True, "value": {"host": 3}}, separators=(",", ":"))
    tool(tmp_path / "bin", "python", f"echo '{reply}'")
    rows = rows_of(profile(data, node=f'python = "{tmp_path}/bin/python"'))
    assert rows["effnet-tui"].fix == "wheel"
    assert "does not understand" in rows["effnet-tui"].text


def test_this_machine_is_checked_without_starting_a_process(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps a start on this machine as quick as it was."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert {row.state for row in client.preflight(profile(data))} == {RowState.OK}
