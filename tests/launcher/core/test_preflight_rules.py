"""The rules of a preflight: what nodes say in, rows out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.core.checks.device_rules import device_rows
from launcher.core.checks.expected import checks_of, expected, sorted_rows
from launcher.core.checks.facts import (
    Bind,
    Data,
    Folder,
    Interface,
    MachineFacts,
    Peer,
    Route,
    Split,
)
from launcher.core.checks.joint_rules import joint_rows, peer_row
from launcher.core.checks.machine_rules import machine_rows
from launcher.core.checks.questions import questions
from launcher.core.checks.row import CHECKS, Row, RowState, blocking, checked_names
from launcher.core.devices.model import Device, Devices, Holder
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import Profile
from launcher.errors import UsageError
from launcher.reading.profiles import list_profiles

TWO = """\
name = "two"
device_target = "CPU"
start_method = "{method}"
data_path = "/data"
{top}
[node_defaults]
slots = 2
[[nodes]]
name = "alpha"
address = "10.0.0.1"
{alpha}
[[nodes]]
name = "beta"
address = "10.0.0.2"
{beta}
"""


def two(method: str = "cluster", top: str = "", alpha: str = "", beta: str = "") -> Profile:
    return load_profile(TWO.format(method=method, top=top, alpha=alpha, beta=beta), "two.toml")


def machine(**changes: object) -> MachineFacts:
    plain = MachineFacts(
        host_name="alpha",
        user="train (uid 1000)",
        home="/home/train",
        python="/opt/effnet/bin/python",
        python_version="3.11.7",
        packages={"effnet-tui": "0.1.0", "mindspore": "2.10.0", "numpy": "1.26.4"},
        time_s=0.0,
        interfaces=(
            Interface("lo", ("127.0.0.1",), True),
            Interface("eth0", ("10.0.0.1", "10.0.0.2"), True),
        ),
        folders={"run": Folder("/home/train/runs", True, True, 50 << 30)},
        data=Data("/data", splits=(Split("train", 10, "aa"), Split("val", 10, "aa"))),
        bind=Bind(),
        route=Route(20001, "10.0.0.2"),
        openmpi="mpirun (Open MPI) 4.1.4",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def alone(profile: Profile, index: int = 0, **changes: object) -> dict[str, Row]:
    asked = questions(profile, "/here/runs")[index]
    return {row.check: row for row in machine_rows(profile, index, asked, machine(**changes))}


def together(profile: Profile, ahead_s: float = 0.0, **beta: object) -> dict[str, Row]:
    """The rows of beta beside a sound alpha."""
    machines = {"alpha": machine(), "beta": machine(**{"host_name": "beta", **beta})}
    rows = joint_rows(profile, "0.1.0", machines, {"alpha": 0.0, "beta": ahead_s})
    found = list(rows)
    assert all(row.state is RowState.OK for row in found if row.node == "alpha"), found
    return {row.check: row for row in found if row.node == "beta"}


def test_a_healthy_node_has_each_row_once_and_green() -> None:
    profile = two("mpirun")
    rows = [*alone(profile).values(), *together(profile).values()]
    assert {row.state for row in rows} == {RowState.OK}
    assert set(alone(profile)) | set(together(profile)) | {"reachable", "host-key", "mpi-ssh"} == (
        set(checks_of(profile, 0))
    )


@pytest.mark.parametrize(
    ("changes", "check", "text"),
    [
        ({"setup_problems": ("`source x` ends with 1",)}, "setup", "ends with 1"),
        ({"interfaces": ()}, "address", "10.0.0.1 is on none of its interfaces"),
        (
            {"interfaces": (Interface("eth0", ("10.0.0.1",), False),)},
            "address",
            "on eth0, which is down",
        ),
        ({"bind": Bind("in use", "process 7 (python)")}, "master-port", "used by process 7"),
        ({"bind": Bind("x", is_foreign_address=True)}, "master-port", "not one of this machine's"),
        ({"folders": {"run": Folder("/r", True, True, 1 << 20)}}, "disk", "1.0 MiB free at /r"),
        (
            {"folders": {"checkpoint": Folder("/c", True, False, 50 << 30)}},
            "folders",
            "cannot write the checkpoint folder /c",
        ),
        ({"openmpi": ""}, "openmpi", "there is no mpirun"),
        (
            {"openmpi": "mpirun (Open MPI) 5.0.3"},
            "openmpi",
            "OpenMPI 5.0.3, but the profile has 4",
        ),
        ({"openmpi": "HYDRA build details: Version: 4.1"}, "openmpi", "is not OpenMPI"),
    ],
)
def test_each_problem_of_a_node_is_red_with_a_hint(
    changes: dict[str, object], check: str, text: str
) -> None:
    profile = two("mpirun", alpha='setup = ["source x"]')
    row = alone(profile, **changes)[check]
    assert row.state is RowState.FAILED
    assert text in row.text
    assert row.hint


@pytest.mark.parametrize(
    ("route", "text"),
    [
        (Route(20001, problem="no answer", is_dropped=True), "no answer from 10.0.0.1"),
        (Route(20001, problem="Network is unreachable"), "10.0.0.1:20001 cannot be reached: Netw"),
    ],
)
def test_a_master_that_a_node_does_not_reach(route: Route, text: str) -> None:
    rows = alone(two(), 1, route=route)
    assert rows["route"].state is RowState.FAILED
    assert text in rows["route"].text
    assert alone(two(), 1)["route"].state is RowState.OK
    assert "route" not in alone(two(), 0, route=route)


def test_a_missing_working_directory_can_be_created() -> None:
    row = alone(two(), folders={"working": Folder("/work", False, True, 50 << 30)})["folders"]
    assert (row.state, row.fix) == (RowState.FAILED, "folder /work")


def test_little_space_is_a_warning_and_an_interface_must_be_there() -> None:
    low = {"run": Folder("/r", True, True, 5 << 30)}
    assert alone(two(), folders=low)["disk"].state is RowState.WARNING
    row = alone(two(alpha='interface = "ib0"'))["address"]
    assert (row.state, "ib0" in row.text, "eth0" in row.hint) == (RowState.FAILED, True, True)
    translated = alone(two(), 1, interfaces=())["address"]
    assert translated.state is RowState.WARNING


@pytest.mark.parametrize(
    ("changes", "check", "text", "fix"),
    [
        ({"python_version": "3.12.1"}, "python", "3.12.1, but 3.11.7 on alpha", ""),
        ({"python_version": "3.9.1"}, "python", "3.9.1", ""),
        ({"packages": {"effnet-tui": "0.0.9"}}, "effnet-tui", "0.0.9 there, 0.1.0 here", "wheel"),
        ({"packages": {"effnet-tui": "0.1.0"}}, "mindspore", "is not installed", ""),
        ({"packages": {"mindspore": "2.7.1"}}, "mindspore", "2.7.1; effnet needs 2.10", ""),
        ({"packages": {"mindspore": "2.10.1"}}, "mindspore", "2.10.1, but 2.10.0 on alpha", ""),
        ({"data": None}, "data", "no data folder", ""),
        ({"data": Data("/data", "/data: No such file")}, "data", "No such file", ""),
        (
            {"data": Data("/data", splits=(Split("train", 9, "bb"),))},
            "data",
            "9 classes in train; alpha has 10 classes in train, 10 classes in val",
            "",
        ),
        (
            {"data": Data("/data", splits=(Split("train", 10, "bb"), Split("val", 10, "bb")))},
            "data",
            "with other names",
            "",
        ),
    ],
)
def test_a_node_that_differs_is_red(
    changes: dict[str, object], check: str, text: str, fix: str
) -> None:
    row = together(two(), **changes)[check]
    assert row.state is RowState.FAILED
    assert text in row.text
    assert row.fix == fix
    assert row.hint


def test_equal_host_names_are_red_on_both() -> None:
    machines = {"alpha": machine(), "beta": machine()}
    rows = [r for r in joint_rows(two(), "0.1.0", machines, {}) if r.check == "host-name"]
    assert [row.state for row in rows] == [RowState.FAILED, RowState.FAILED]


@pytest.mark.parametrize(
    ("ahead_s", "state", "text"),
    [
        (0.4, RowState.OK, "within"),
        (-3.0, RowState.WARNING, "3.0 s behind alpha"),
        (90.0, RowState.FAILED, "90.0 s ahead of alpha"),
    ],
)
def test_clocks(ahead_s: float, state: RowState, text: str) -> None:
    row = together(two(), ahead_s)["clock"]
    assert row.state is state
    assert text in row.text


def test_the_number_of_classes_must_match_the_training() -> None:
    profile = two().model_copy(update={"trainer": {"class_num": 1000}})
    rows = joint_rows(profile, "0.1.0", {"alpha": machine()}, {})
    row = next(row for row in rows if row.check == "data")
    assert row.state is RowState.FAILED
    assert "class_num is 1000" in row.text
    assert "class_num = 10" in row.hint


def test_a_version_that_is_not_known_is_a_warning() -> None:
    packages = {"mindspore": "2.10.0", "numpy": "2.4.0"}
    rows = together(two(), packages=packages)
    assert rows["effnet-tui"].state is RowState.WARNING
    assert rows["mindspore"].state is RowState.WARNING
    assert "numpy 2.4.0" in rows["mindspore"].text


def ascend(name: str = "ascend-2x8") -> Profile:
    return next(e.profile for e in list_profiles() if e.name == name and e.profile is not None)


def eight(**changes: object) -> Devices:
    ips = [d.device_ip for d in ascend().nodes[0].devices]
    devices = [Device(i, "910B3", link="UP", net_health="Success", ip=ips[i]) for i in range(8)]
    devices[3] = replace(devices[3], **changes)  # type: ignore[arg-type]
    return Devices("npu-smi", "", "23.0", tuple(devices))


def test_healthy_devices_are_green() -> None:
    rows = list(device_rows(ascend(), 0, eight()))
    assert [row.check for row in rows] == list(CHECKS)[8:12]
    assert {row.state for row in rows} == {RowState.OK}


@pytest.mark.parametrize(
    ("changes", "check", "text"),
    [
        ({"fault": "health Alarm"}, "device-health", "device 3: health Alarm"),
        (
            {"holders": (Holder(77, "python", "eve"),)},
            "device-free",
            "device 3: process 77 (python) of eve",
        ),
        ({"link": "DOWN"}, "device-network", "device 3: link DOWN"),
        ({"net_health": "Fault"}, "device-network", "device 3: net health Fault"),
        (
            {"ip": "192.168.9.9"},
            "device-network",
            "device_ip is 192.168.9.9, but 192.168.103.101 in",
        ),
        ({"ip": ""}, "device-network", "device 3 has no address"),
        ({"device_id": 9}, "devices", "no device 3; npu-smi lists 0, 1, 2, 4, 5, 6, 7, 9"),
    ],
)
def test_problems_of_a_device(changes: dict[str, object], check: str, text: str) -> None:
    rows = {row.check: row for row in device_rows(ascend(), 0, eight(**changes))}
    assert rows[check].state is RowState.FAILED
    assert text in rows[check].text
    assert rows[check].hint


def test_a_device_held_by_our_run_names_how_to_stop_it() -> None:
    held = eight(holders=(Holder(77, "python", "me", "r-1"),))
    rows = {row.check: row for row in device_rows(ascend(), 0, held)}
    assert rows["device-free"].hint == "effnet-launch stop r-1"


def test_devices_that_cannot_be_listed_skip_the_other_checks() -> None:
    rows = list(device_rows(ascend(), 0, Devices("npu-smi", "there is no npu-smi")))
    assert [row.state for row in rows] == [RowState.FAILED, *[RowState.SKIPPED] * 3]


def test_the_row_of_mpiruns_ssh() -> None:
    profile = two("mpirun")
    assert peer_row(profile, [Peer("beta")]).state is RowState.OK
    denied = peer_row(profile, [Peer("beta", "Permission denied (publickey).")])
    assert "to beta: Permission denied" in denied.text
    assert "ssh-copy-id" in denied.hint
    lacking = peer_row(profile, [Peer("beta", lacks_daemon=True)])
    assert lacking.state is RowState.FAILED
    assert "orted is not on the PATH" in lacking.text


@pytest.mark.parametrize("entry", list_profiles(), ids=lambda entry: entry.name)
def test_every_shipped_profile_has_probes_and_rows(entry) -> None:
    assert entry.profile is not None
    rows = expected(entry.profile)
    assert len(rows) == len(set(rows))
    assert len(questions(entry.profile)) == len(entry.profile.nodes)


def test_red_rows_stop_a_start_unless_ignored() -> None:
    red = Row("clock", "beta", RowState.FAILED, "late")
    rows = [red, replace(red, node="alpha"), replace(red, check="disk", state=RowState.WARNING)]
    assert len(blocking(rows)) == 2
    assert blocking(rows, ["clock@beta"]) == (rows[1],)
    assert blocking(rows, ["clock"]) == ()
    assert [row.node for row in sorted_rows(two(), rows[:2])] == ["alpha", "beta"]
    assert checked_names(["clock", "disk@alpha"]) == ("clock", "disk@alpha")
    with pytest.raises(UsageError, match="no check 'clok'; did you mean 'clock'"):
        checked_names(["clok@beta"])


def test_probes_have_the_folders_of_each_node() -> None:
    profile = two(
        top='[checkpoint]\ndirectory = "/ckpt"',
        alpha='runs_directory = "~/runs"\nworking_directory = "/w"',
        beta='data_path = "/other"',
    )
    alpha, beta = questions(profile, "/here")
    assert (alpha.run_folder, alpha.checkpoint_folder, alpha.working_folder) == (
        "~/runs", "/ckpt", "/w",
    )  # fmt: skip
    assert (beta.run_folder, beta.checkpoint_folder) == ("/here", "")
    assert (alpha.data_path, beta.data_path) == ("/data", "/other")
    assert (alpha.bind_address, beta.bind_address) == ("10.0.0.1", "")
    assert [q.data_path for q in questions(profile, "", "/asked")] == ["/asked", "/asked"]
