"""The doctor of a Slurm profile, by a job on real nodes."""

from __future__ import annotations

import json
import shutil

from launcher.checks import slurm_doctor
from launcher.core.checks.row import SLURM
from launcher.reading.profiles import find_profile


def rows(lab, **environment):
    done = lab.command("doctor", str(lab.profile()), "--json")
    found = json.loads(done.stdout)
    return done.returncode, {
        (r["check"], r["node"]): (r["state"], r["text"]) for r in found["rows"]
    }


def test_the_doctor_looks_at_the_nodes_that_slurm_gives(lab):
    code, found = rows(lab)
    assert code == 0, found
    for node in ("n1", "n2"):
        assert found["python", node][0] == "ok"
        assert found["runs-folder", node][0] == "ok"
    assert found["proctrack", SLURM][0] == "warning"


def test_a_runs_folder_of_the_login_node_alone_is_found(lab, monkeypatch):
    # /tmp is each host's own.
    monkeypatch.setenv("EFFNET_RUNS_DIR", "/tmp/not-shared/" + lab.folder.name)
    code, found = rows(lab)
    shutil.rmtree("/tmp/not-shared/" + lab.folder.name)
    assert code != 0
    assert found["runs-folder", "n1"][0] == "failed"
    assert found["python", "n1"][0] == "ok"


def test_a_partition_without_free_nodes_is_not_waited_for(lab, monkeypatch):
    monkeypatch.setattr(slurm_doctor, "WAIT_S", 1)
    blocker = lab.fill_partition()
    found = slurm_doctor.examine(find_profile(str(lab.profile())), lambda row: None)
    lab.slurm.call("scancel", blocker)
    assert [row.check for row in found] == ["slurm", "proctrack", "nodes"]
    assert found[-1].state == "skipped"
