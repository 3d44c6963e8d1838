"""A preflight over real sshds: what is green, and what is red on one host only."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv

from launcher import client


def rows_of(lab, path, **options):
    rows = client.preflight(str(path), **options)
    return {(row.check, row.node): row for row in rows}


def red(rows):
    return {key for key, row in rows.items() if row.state is client.RowState.FAILED}


def test_sound_hosts_are_green_and_mpirun_reaches_them(lab):
    told = []
    path = lab.profile(method="mpirun", nodes=("alpha", "beta", "gamma"))
    rows = rows_of(lab, path, on_row=told.append)
    assert {row.state.value for row in rows.values()} == {"ok"}, rows
    assert len(told) == len(rows) == len(client.expected(client.find_profile(str(path))))
    assert rows["mpi-ssh", "alpha"].text == "reaches beta, gamma"
    assert rows["host-name", "gamma"].text == "gamma"
    assert "SHA256:" in rows["host-key", "beta"].text
    lab.nothing_left()


def test_a_host_that_is_away_does_not_hide_the_others(lab, hosts):
    hosts["beta"].kill_sshd()
    rows = rows_of(lab, lab.profile(method="mpirun"))
    assert red(rows) == {("reachable", "beta"), ("mpi-ssh", "alpha")}
    assert "Connection refused" in rows["reachable", "beta"].text
    assert rows["data", "alpha"].state is client.RowState.OK
    assert rows["data", "beta"].state is client.RowState.SKIPPED


def test_a_changed_host_key_and_a_key_that_is_not_taken(lab, hosts):
    known = hosts.home / ".ssh/known_hosts"
    alpha, beta = known.read_text().splitlines()[:2]
    other = f"{alpha.split()[0]} {beta.partition(' ')[2]}\n"
    known.write_text(f"{other}{beta}\n")
    rows = rows_of(lab, lab.profile())
    assert red(rows) == {("host-key", "alpha")}
    assert "has changed" in rows["host-key", "alpha"].text
    known.write_text(f"{alpha}\n{beta}\n")
    (hosts["beta"].home / ".ssh/authorized_keys").rename(hosts["beta"].home / "away")
    try:
        rows = rows_of(lab, lab.profile())
    finally:
        (hosts["beta"].home / "away").rename(hosts["beta"].home / ".ssh/authorized_keys")
    assert red(rows) == {("user", "beta")}
    assert "ssh-copy-id" in rows["user", "beta"].hint


def test_fix_sends_this_very_version_through_ssh(lab, hosts):
    home = hosts["alpha"].home
    venv.create(home / "env", with_pip=True)
    try:
        path = lab.profile(nodes=("alpha",))
        text = path.read_text().replace(json.dumps(sys.executable), '"/home/root/env/bin/python"')
        path.write_text(text.replace("PYTHONPATH", "SOME_PATH"))
        told = []
        rows = rows_of(lab, path, fix=True, on_fix=told.append)
        assert "installed effnet_tui-" in told[0], told
        assert "not its dependencies" in rows["effnet-tui", "alpha"].text
        freeze = [str(home / "env/bin/python"), "-m", "pip", "list", "--format=freeze"]
        found = subprocess.run(freeze, capture_output=True, text=True, check=True).stdout
        assert {line.partition("==")[0] for line in found.splitlines()} == {
            "effnet-tui", "pip", "setuptools",
        }  # fmt: skip
    finally:
        shutil.rmtree(home / "env")


def test_a_start_is_refused_by_a_red_row_and_not_by_one_that_is_named(lab, hosts):
    path = lab.profile()
    text = path.read_text()
    path.write_text(text.replace("[trainer]", "[trainer]\nclass_num = 77"))
    done = lab.command("start", str(path))
    assert done.returncode == 6
    assert "class_num is 77" in done.stderr
    assert not lab.runs.exists()
    done = lab.command("start", str(path), "--ignore", "data", "--follow")
    assert done.returncode == 0, done.stderr


def test_the_doctor_visits_every_node(lab):
    rows = client.doctor(str(lab.profile()), target="GPU")
    for node in ("alpha", "beta"):
        found = {row.check: row for row in rows if row.node == node}
        assert found["back-end"].state is client.RowState.OK
        assert found["CUDA_HOME"].state is client.RowState.FAILED
        assert "libcuda.so.1" in found["driver"].text
    rows = client.doctor(str(lab.profile()))
    assert {row.state.value for row in rows} == {"ok"}
    lab.nothing_left()


def test_a_firewall_before_the_masters_ports_shows(lab, hosts):
    """An alpha that beta's network does not lead to."""
    beta = hosts["beta"]
    beta.run("ip", "route", "add", "unreachable", f"{hosts['alpha'].address}/32")
    try:
        rows = rows_of(lab, lab.profile())
    finally:
        beta.run("ip", "route", "del", "unreachable", f"{hosts['alpha'].address}/32")
    assert red(rows) == {("route", "beta")}
    assert "No route to host" in rows["route", "beta"].text
