"""Runs over SSH that go as they should: to the end, stopped, resumed."""

from __future__ import annotations

import json
import sys


def test_a_run_on_two_nodes_finishes_with_every_line_once(lab):
    root = lab.start({"rank": 3, "step": 3, "do": "lines", "count": 20000})
    assert lab.end_of(root)["kind"] == "attempt_finished"
    assert [
        e["node"] for e in sorted(lab.events(root, "rank_started"), key=lambda e: e["rank"])
    ] == [
        "alpha",
        "alpha",
        "beta",
        "beta",
    ]
    lab.nothing_left()
    lab.check_copies(root)
    assert lab.steps(root, 3) == list(range(30))
    assert b"burst 19999\n" in (root / "attempts/001/ranks/0003/log.txt").read_bytes()
    done = lab.command("logs", root.name, "--rank", "2")
    assert "plain 30" in done.stdout


def test_stop_saves_and_resume_goes_on_from_the_first_nodes_checkpoint(lab):
    profile = lab.profile(epochs=200, step_s=0.05)
    done = lab.command("start", str(profile), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    root = lab.runs / json.loads(done.stdout)["run"]
    lab.wait_for(root, "checkpoint_saved")
    done = lab.command("status", root.name)
    assert "running" in done.stdout
    assert lab.command("stop", root.name).returncode == 0
    stopped = lab.end_of(root)
    assert stopped["kind"] == "attempt_stopped"
    assert stopped["leftover"] == []
    lab.nothing_left()
    done = lab.command("resume", root.name, "--dry-run", "--json")
    choice = json.loads(done.stdout)["choice"]
    assert (choice["step"], choice["steps_lost"], choice["verified"]) == (stopped["step"], 0, True)
    newest = lab.node_file(root, "alpha", f"checkpoint/step-{stopped['step']:08d}.ckpt")
    newest.write_bytes(b"half")
    epochs = stopped["step"] // 10 + 2
    done = lab.command("resume", root.name, "--set", f"epoch_size={epochs}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" in done.stdout
    assert lab.end_of(root)["kind"] == "attempt_finished"
    assert lab.steps(root, 3, attempt=2)[-1] == epochs * 10 - 1
    lab.nothing_left()
    lab.check_copies(root, attempt=2)


def test_the_scheduler_stays_until_the_slowest_node_has_left(lab):
    """Longer than a scheduler gets whose ranks are all gone (`Limits.finish_s`)."""
    root = lab.start({"rank": 3, "step": 30, "do": "linger", "seconds": 14})
    assert lab.end_of(root)["kind"] == "attempt_finished"
    exits = {e["rank"]: e["t"] for e in lab.events(root, "rank_exited")}
    assert exits[3] - exits[0] > 10
    lab.nothing_left()


def test_what_login_shells_say_reaches_no_parser(lab):
    noise = 'echo welcome; echo \'{"type":"reply","ok":false}\'; printf \'no line end\'\n'
    files = [host.home / ".bashrc" for host in lab.hosts.hosts]
    for file in files:
        file.write_text(noise)
    try:
        root = lab.start()
        assert lab.end_of(root)["kind"] == "attempt_finished"
        lab.nothing_left()
        lab.check_copies(root)
    finally:
        for file in files:
            file.unlink()


def test_nodes_that_cannot_run_it_are_all_named_and_nothing_is_written(lab):
    text = lab.profile().read_text().replace(json.dumps(sys.executable), '"/usr/bin/no-python"')
    (lab.folder / "bad.toml").write_text(text)
    done = lab.command("start", str(lab.folder / "bad.toml"))
    assert done.returncode == 6, done.stderr
    assert "alpha" in done.stderr
    assert "beta" in done.stderr
    assert "no-python" in done.stderr
    assert not lab.runs.exists()
