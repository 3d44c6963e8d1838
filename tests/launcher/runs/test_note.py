"""Why a run was made: given at its start or resume, shown, and changed later."""

from __future__ import annotations

import json

from launcher import client
from launcher.store import run_lock


def notes(lab, name: str) -> tuple[str, str]:
    """As `status --json` and `runs --json` have it."""
    status = json.loads(lab.command("status", name, "--json").stdout)
    runs = json.loads(lab.command("runs", "--json").stdout)
    return status["info"]["start"]["note"], runs[0]["note"]


def test_a_note_of_a_start_is_kept_by_a_resume_unless_it_has_its_own(lab) -> None:
    profile = str(lab.profile({"rank": 1, "step": 14, "do": "kill", "attempt": 1}))
    done = lab.command("start", profile, "--no-preflight", "--note", "try [/] a lower rate")
    name = done.stdout.split()[1]
    root = lab.runs / name
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: not run_lock.is_supervised(root))
    assert notes(lab, name) == ("try [/] a lower rate",) * 2
    assert "note: try [/] a lower rate" in lab.command("status", name).stdout
    assert "try [/]" in lab.command("runs").stdout
    # A list that is kept open sees a change although the run is over.
    runs = client.RunList()
    assert runs.poll()[0].note == "try [/] a lower rate"
    request = client.ResumeRequest(note="node-b was repaired", preflight=False)
    client.resume(root, request)
    assert lab.command("note", name, "node-b has a new disk").returncode == 0
    assert notes(lab, name) == ("node-b has a new disk",) * 2
    assert lab.command("note", name, "node-b was repaired").returncode == 0
    lab.wait_for(root, "attempt_finished")
    assert notes(lab, name) == ("node-b was repaired",) * 2
    assert runs.poll()[0].note == "node-b was repaired"
    assert "--note" in request.command(name)
