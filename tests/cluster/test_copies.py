"""Checkpoints on a second node: the loss of rank 0's node does not take the run along."""

from __future__ import annotations

import contextlib
import hashlib
import json

from launcher import client
from launcher.store import run_lock
from tests.cluster.hosts import HOME
from tests.cluster.lab import UNREACHABLE_S
from tests.cluster.test_first_node import knows_others
from tests.cluster.test_first_node import profile as first_node_profile

TWO = {"copies": 2, "keep": 50, "epochs": 500}
SPARE = {
    **TWO,
    "unreachable_s": UNREACHABLE_S,
    "spares": ("gamma",),
    "retry_nodes": "spare",
    "auto_resume": 2,
}


def copies(lab, root, node="beta"):
    """Step -> the copy on a node, of those that have a manifest."""
    folder = lab.node_file(root, node, "copies")
    found = {}
    for manifest in folder.glob("step-*.ckpt.manifest.json"):
        path = manifest.with_name(manifest.name.removesuffix(".manifest.json"))
        with contextlib.suppress(FileNotFoundError):  # old ones are deleted
            found[json.loads(manifest.read_text())["step"]] = path
    return found


def copied(lab, root, count=1):
    """The newest of that many copies."""
    lab.wait_for(root, "checkpoint_copied", count=count)
    return lab.events(root, "checkpoint_copied")[-1]


def is_whole(path):
    manifest = json.loads(path.with_name(path.name + ".manifest.json").read_text())
    return hashlib.sha256(path.read_bytes()).hexdigest() == manifest["sha256"]


def ends(lab, root):
    client.stop(root)
    lab.wait_for(root, "attempt_stopped")
    lab.until(lambda: not run_lock.is_supervised(root))
    lab.nothing_left()


def test_a_first_node_without_power_leaves_its_copies_and_a_spare_continues(lab):
    root = lab.start(**SPARE)
    event = copied(lab, root, 3)
    assert event["node"] == "beta"
    assert f"copied to beta: {HOME}/runs/{root.name}/copies/step-" in lab.card(root)
    lab.hosts["alpha"].power_off()
    lab.wait_for(root, "training_started", count=2)
    newest = max(e["step"] for e in lab.events(root, "checkpoint_copied") if e["attempt"] == 1)
    resume = lab.events(root, "attempt_started")[1]["resume"]
    assert (resume["step"], resume["path"].endswith(f"{newest:08d}.ckpt")) == (newest, True)
    assert "it is the copy on beta" in resume["why"]
    assert "gamma in the place of alpha" in resume["why"]
    # The new attempt's checkpoints are on gamma, and are copied as those before.
    lab.until(lambda: any(e["attempt"] == 2 for e in lab.events(root, "checkpoint_copied")))
    ends(lab, root)
    last = lab.events(root, "checkpoint_saved")[-1]["step"]
    assert max(copies(lab, root)) == last
    assert all(is_whole(path) for path in copies(lab, root).values())
    lab.check_steps(root, newest, lab.events(root, "attempt_stopped")[0]["step"], attempt=2)


def test_a_copy_that_is_damaged_on_disk_is_not_used(lab):
    root = lab.start(**SPARE)
    copied(lab, root, 2)
    lab.kill_supervisor(root)
    lab.until(lambda: not run_lock.is_supervised(root))
    lab.until(lambda: not any("launcher.node" in s.command for s in lab.left()["beta"]))
    lab.hosts["alpha"].power_off()
    newest, before = sorted(copies(lab, root), reverse=True)[:2]
    damaged = copies(lab, root)[newest]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:1000] + bytes(1000) + content[2000:])
    client.connect(root)
    lab.wait_for(root, "training_started", count=2)
    resume = lab.events(root, "attempt_started")[1]["resume"]
    assert resume["step"] == before
    assert "the newer one was passed over; it is the copy on beta" in resume["why"]
    ends(lab, root)


def test_a_copy_that_is_cut_leaves_nothing_half_and_the_next_one_is_whole(lab):
    root = lab.start(slots=1, nodes=("alpha", "beta", "gamma"), **TWO)
    copied(lab, root)
    # A checkpoint of 100 kB takes seconds then.
    lab.hosts["beta"].slow_down(150)
    folder = lab.node_file(root, "beta", "copies")
    sent = set(folder.glob(".step-*.part"))  # nearly whole, perhaps
    lab.until(lambda: set(folder.glob(".step-*.part")) - sent)
    lab.hosts["beta"].kill_sessions()
    lab.until(lambda: not list(folder.glob(".step-*.part")))
    assert all(is_whole(path) for path in copies(lab, root).values())
    lab.hosts["beta"].link_speed()
    cut = lab.wait_for(root, "checkpoint_not_copied")
    assert (cut["node"], "beta" in cut["why"]) == ("beta", True)
    lab.until(
        lambda: lab.events(root, "checkpoint_copied", "checkpoint_not_copied")[-1]["n"] > cut["n"]
    )
    assert not lab.events(root, "attempt_failed", "rank_exited")
    ends(lab, root)
    assert all(is_whole(path) for path in copies(lab, root).values())
    assert not list(folder.glob(".step-*.part"))


def test_a_checkpoint_that_is_damaged_already_is_reported_and_not_copied(lab):
    damaged = {"rank": 0, "step": 20, "do": "half_checkpoint"}
    root = lab.start(damaged, slots=1, **{**TWO, "epochs": 4})
    failed = lab.wait_for(root, "checkpoint_not_copied")
    assert failed["step"] == 20
    assert "its sha256 is wrong" in failed["why"]
    lab.wait_for(root, "attempt_finished")
    lab.until(lambda: not run_lock.is_supervised(root))
    # Those before and after it have copies, also the last one.
    assert set(copies(lab, root)) == {10, 30, 40}
    assert all(is_whole(path) for path in copies(lab, root).values())


def test_a_disk_that_takes_no_copies_is_reported_once_and_ends_no_run(lab):
    root = lab.start(slots=1, **TWO)
    copied(lab, root)
    beta, folder = lab.hosts["beta"], f"{HOME}/runs/{root.name}/copies"

    def reports():
        # A copy that is being made meanwhile fails for another reason.
        found = lab.events(root, "checkpoint_not_copied")
        return [event for event in found if "Read-only file system" in event["why"]]

    beta.run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder)
    lab.until(reports)
    failed = reports()[0]
    assert failed["node"] == "beta"
    saved = len(lab.events(root, "checkpoint_saved"))
    lab.wait_for(root, "checkpoint_saved", count=saved + 4)
    assert failed["why"].splitlines()[0] in lab.card(root)
    assert reports() == [failed]
    beta.run("umount", "--lazy", folder)
    lab.until(lambda: lab.events(root, "checkpoint_copied")[-1]["n"] > failed["n"])
    lab.until(lambda: failed["why"] not in lab.card(root))
    ends(lab, root)
    assert not lab.events(root, "attempt_failed")


def test_copies_that_the_first_node_has_deleted_are_deleted_and_prune_removes_the_rest(lab):
    # A spare that never trains has them: it is the only other node.
    root = lab.start(nodes=("alpha",), **{**SPARE, "keep": 3, "step_s": 0.1})
    first = copied(lab, root)["step"]
    lab.until(lambda: first not in copies(lab, root, "gamma"))
    ends(lab, root)
    there = lab.node_file(root, "alpha", "checkpoint")
    assert len(copies(lab, root, "gamma")) == 3
    assert set(copies(lab, root, "gamma")) == {
        int(path.name.removeprefix("step-").removesuffix(".ckpt"))
        for path in there.glob("step-*.ckpt")
    }
    folder = lab.node_file(root, "gamma", ".")
    assert folder.is_dir()
    assert client.prune([root])[0] == [root.name]
    assert not folder.is_dir()


def test_a_folder_that_the_other_node_sees_is_not_copied(lab, shared):
    root = lab.start(checkpoints=shared, slots=1, **TWO)
    log = root / "supervisor.log"
    lab.until(lambda: "no copies of checkpoints: beta sees the folder" in log.read_text())
    ends(lab, root)
    assert not lab.events(root, "checkpoint_copied", "checkpoint_not_copied")
    assert not lab.node_file(root, "beta", "copies").exists()


def test_a_resume_by_hand_on_other_nodes_uses_the_copy(lab):
    root = lab.start(**TWO)
    copied(lab, root, 2)
    ends(lab, root)
    newest = lab.events(root, "checkpoint_saved")[-1]["step"]
    lab.hosts["alpha"].power_off()
    profile = lab.profile(nodes=("gamma", "beta"), **TWO)
    done = lab.command("resume", root.name, "--profile", str(profile), "--no-preflight")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "copy on beta" in done.stdout.replace("\n", " ")
    lab.wait_for(root, "training_started", count=2)
    assert lab.events(root, "attempt_started")[1]["resume"]["step"] == newest
    ends(lab, root)


def test_the_copies_outlive_a_supervisor_on_the_first_node(lab):
    knows_others(lab)
    profile = first_node_profile(lab, orphan_limit_s=3, stop_save_s=2, **TWO)
    done = lab.command("start", str(profile), "--json", "--no-preflight")
    root = lab.runs / json.loads(done.stdout)["run"]
    copied(lab, root)
    lab.hosts["alpha"].power_off()
    # Without a supervisor, the agents of the other nodes end their ranks.
    lab.until(lambda: not lab.left())
    newest = max(copies(lab, root))
    path = f"{HOME}/runs/{root.name}/copies/{copies(lab, root)[newest].name}"
    profile = lab.profile(nodes=("beta", "gamma"), **TWO)
    done = lab.command("start", str(profile), "--resume", path, "--json", "--no-preflight")
    assert done.returncode == 0, done.stdout + done.stderr
    second = lab.runs / json.loads(done.stdout)["run"]
    lab.wait_for(second, "checkpoint_saved")
    ends(lab, second)
    assert lab.steps(second, 0)[0] == newest
