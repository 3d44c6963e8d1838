"""Hostfiles of public reports, and a sample of generated ones that a real mpirun reads too."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from launcher.core.plan.make import make_plan
from launcher.core.plan.model import Role, RunContext
from launcher.core.profile.load import load_profile
from launcher.core.tables.hostfile import lint_hostfile, slots_of
from launcher.remote.connection import HostKey
from launcher.remote.mpirun_ssh import ssh_files
from tests.cases.hostfiles import by_lint, by_mpirun, differences, parse_hostfile, version_of

INPUTS = Path(__file__).parent / "inputs"
MPIRUN = shutil.which("mpirun")
needs_mpirun = pytest.mark.skipif(MPIRUN is None, reason="mpirun is not installed")

CASES = [
    # case, file, is it refused, words of the first finding
    ("001-fqdn-hosts-mpirun", "hostfile", True, "keep_fqdn_hostnames"),
    ("001-fqdn-hosts-mpirun", "fqdn", True, "keep_fqdn_hostnames"),
    ("001-fqdn-hosts-mpirun", "hostfile-two-names", False, ""),
    ("002-hostfile-double-count", "double", True, "already in line 1"),
    ("002-hostfile-double-count", "c_double_mixed", False, "adds one slot"),
    ("003-hostfile-crlf", "c_crlf", True, "CRLF"),
    ("004-hostfile-uppercase-key", "c_upper", True, "in lower case"),
    ("004-hostfile-uppercase-key", "c_lots", True, "unknown key"),
]


FURTHER = [
    # case, text, is it refused, words of the first finding
    ("001 of a service", "w.0.svc slots=1\nw.1.svc slots=1\n", True, "keep_fqdn_hostnames"),
    ("001 beside its short name", "gpu slots=2\ngpu.b.lan slots=2\n", True, "one host, 'gpu'"),
    ("001 with users", "me@gpu.a slots=2\nme@gpu.b slots=2\n", True, "one host, 'gpu'"),
    ("001 without counts", "w.1.net\nw.2.net\n", False, "drops the domain"),
    ("001 numbers first", "1.node.lan slots=2\n2.node.lan slots=2\n", False, ""),
    ("001 addresses", "10.0.0.1 slots=2\n10.0.0.2 slots=2\n", False, ""),
    ("002 bare line first", "alpha\nalpha slots=2\n", True, "already in line 1"),
    ("002 with another between", "a slots=2\nb slots=1\na slots=2\n", True, "already in line 1"),
    ("002 after max_slots", "alpha max_slots=2\nalpha slots=2\n", True, "already in line 1"),
    ("002 two users", "me@a slots=2\nyou@a slots=2\n", True, "already in line 1"),
    ("002 bare lines", "alpha\nalpha\nalpha\n", False, "adds one slot"),
    ("003 last line", "alpha slots=2\nbeta slots=2\r\n", True, "CRLF"),
    ("003 empty line", "alpha slots=2\n\r\nbeta slots=2\n", True, "CRLF"),
    ("003 without keys", "alpha\r\nbeta\r\n", True, "CRLF"),
    ("003 CR alone", "alpha slots=2\rbeta slots=2\r", True, "Unix line ends"),
    ("003 in a comment", "# nodes\r\nalpha slots=2\n", False, ""),
    ("003 Windows' byte order mark", "\ufeffalpha slots=2\n", True, "is not a host"),
    ("004 MAX_SLOTS", "alpha slots=2 MAX_SLOTS=2\n", True, "in lower case"),
    ("004 Max-Slots", "alpha slots=2 Max-Slots=2\n", True, "in lower case"),
    ("004 CPU", "alpha CPU=2\n", True, "in lower case"),
    ("004 of PBS", "alpha np=2\n", True, "unknown key"),
    ("004 one letter less", "alpha slot=2\n", True, "is not key=value"),
]
ALL = [
    *((f"{case} {name}", (INPUTS / case / name).read_bytes().decode(), *rest)
      for case, name, *rest in CASES),
    *FURTHER,
]  # fmt: skip
all_hostfiles = pytest.mark.parametrize(
    ("text", "is_refused", "words"), [item[1:] for item in ALL], ids=[item[0] for item in ALL]
)


@pytest.mark.parametrize("version", [4, 5])
@all_hostfiles
def test_the_lint(text: str, is_refused: bool, words: str, version: int) -> None:
    found = lint_hostfile(text, version)
    assert any(finding.is_error for finding in found) == is_refused
    if words:
        assert words in f"{found[0].text} {found[0].hint}"


@needs_mpirun
@all_hostfiles
def test_mpirun_judges_the_cases_so(text: str, is_refused: bool, words: str) -> None:
    assert MPIRUN is not None
    version = version_of(MPIRUN)
    assert by_mpirun(text, MPIRUN, version).is_refused == is_refused
    assert by_lint(text).is_refused == is_refused


def test_001_domains_are_kept_if_mpirun_keeps_them() -> None:
    text = (INPUTS / "001-fqdn-hosts-mpirun/hostfile").read_text()
    assert slots_of(parse_hostfile(text, keep_fqdn=True)) == {
        "gpu.rack1.lan": 2,
        "gpu.rack2.lan": 2,
    }


@needs_mpirun
def test_the_lint_agrees_with_mpirun_on_generated_files() -> None:
    assert MPIRUN is not None
    found = list(differences(25, 7, MPIRUN))
    assert found == []


@needs_mpirun
@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs ssh")
@pytest.mark.parametrize(
    "addresses",
    [
        ("gpu.rack1.lan", "gpu.rack2.lan"),
        ("gpu1.lan", "gpu2.lan"),
        ("w.0.svc.cluster.local", "w.1.svc.cluster.local", "v.0.svc.cluster.local"),
        ("gpu", "gpu.rack2.lan"),
        ("198.51.100.7", "198.51.100.8"),
    ],
    ids="-".join,
)
def test_001_mpirun_reaches_the_hosts_of_our_ssh_configuration(
    addresses: tuple[str, ...], tmp_path: Path
) -> None:
    """A real mpirun with the files and options of the plan, and a program in place of ssh."""
    text = (INPUTS / "001-fqdn-hosts-mpirun/cluster.toml").read_text()
    head, tail = text[: text.index("[[nodes]]")], text[text.index("[mpirun]") :]
    nodes = "".join(f'[[nodes]]\naddress = "{address}"\nport = 2222\n' for address in addresses)
    master = '[master]\naddress = "192.0.2.9"\n'
    profile = load_profile(head + master + nodes + tail, "cluster.toml")
    config, calls, agent = tmp_path / "ssh_config", tmp_path / "calls", tmp_path / "agent"
    key = HostKey("ssh-ed25519", b"key")
    connection = SimpleNamespace(host_key=lambda: key)
    clients = [SimpleNamespace(node=n, connection=lambda: connection) for n in profile.nodes]
    config.write_text(ssh_files(cast(Any, clients), str(tmp_path / "known_hosts"))[0])
    agent.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n')
    agent.chmod(0o755)
    context = RunContext("r", str(tmp_path / "r"), ssh_config=str(config), master_port=5000)
    plan = make_plan(profile, context)
    (mpirun,) = (process for process in plan.processes if process.role is Role.MPIRUN)
    for file in plan.files:
        Path(file.path).parent.mkdir(parents=True, exist_ok=True)
        Path(file.path).write_text(file.content)
    program, *options = mpirun.argv
    calls.touch()
    with (tmp_path / "shown").open("wb") as shown_by_mpirun:
        process = subprocess.Popen(
            [program, "--mca", "plm_rsh_agent", str(agent), *options],
            env={**os.environ, "EFFNET_TOKEN": "r/001", "TMPDIR": str(tmp_path)},
            stdin=subprocess.DEVNULL, stdout=shown_by_mpirun, stderr=shown_by_mpirun,
            cwd=tmp_path, start_new_session=True,
        )  # fmt: skip
    try:
        # mpirun then waits for its daemons, which do not come.
        for _ in range(3000):
            called = [line.split()[2] for line in calls.read_text().splitlines()]
            if len(called) == len(addresses) or process.poll() is not None:
                break
            time.sleep(0.1)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert sorted(called) == sorted(addresses), (tmp_path / "shown").read_text()
    for name in called:
        words = ["ssh", "-F", str(config), "-G", name]
        shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        for expected in ("user train", "port 2222", "stricthostkeychecking true"):
            assert f"\n{expected}\n" in f"\n{shown}"
