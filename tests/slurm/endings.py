"""What can end a job of Slurm, at random moments; the same seed and number play the same.

    python -m tests.slurm.endings --count 50 --seed 1 [--only "node off"]

After each, the run is in the expected state, and no process of ours is left on any host. Needs
root.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.slurm.lab import AGAIN_S, SlurmLab, slurm_lab
from tests.slurm.scheduler import slurm_on


class Scene:
    """One run, until something ends its job."""

    def __init__(self, lab: SlurmLab, draws: random.Random) -> None:
        self.lab = lab
        self.slurm = lab.slurm
        self.random = draws
        self.root = Path()
        self.notes: list[str] = []

    def start(self, **changes: Any) -> None:
        """Returns at a random moment: while it starts, or in training."""
        self.root = self.lab.start(epochs=100_000, **changes)
        kind, most = self.random.choice((("attempt_started", 1), ("epoch_finished", 5)))
        count = self.random.randint(1, most)
        self.notes.append(f"after {kind} {count}")
        self.lab.wait_for(self.root, kind, count=count)

    @property
    def job(self) -> str:
        return self.lab.job(self.root)

    def nodes(self) -> list[str]:
        """Of the job; its supervisor is on the first one."""
        shown = self.slurm.call("squeue", "-h", "-j", self.job, "-o", "%N").strip()
        return self.slurm.call("scontrol", "show", "hostnames", shown).split()

    def status(self) -> str:
        return self.lab.command("status", self.root.name).stdout

    def says(self, *texts: str) -> None:
        """`effnet-launch status` comes to say each of these."""
        self.lab.until(
            lambda: all(text in self.status() for text in texts),
            why=lambda: f"{texts} not in: {self.status()}",
        )

    def is_stopped(self, by: str) -> None:
        assert self.lab.end_of(self.root)["kind"] == "attempt_stopped"
        self.says("stopped", by)

    def continues(self) -> int:
        """Another attempt of the same job trains; then it is stopped. -> its number."""

        def later() -> list[int]:
            begun = self.lab.events(self.root, "training_started")
            return [event["attempt"] for event in begun if event["attempt"] > 1]

        def why() -> str:
            return f"no other attempt: {self.lab.events(self.root)[-3:]} {self.status()}"

        self.lab.until(later, AGAIN_S, why)
        assert len({event["job"] for event in self.lab.events(self.root, "slurm_queued")}) == 1
        self.stop()
        return later()[0]

    def ours(self) -> list[str]:
        """What runs of our programs on any host."""
        left = [seen.command for found in self.lab.left().values() for seen in found]
        return [command for command in left if "launcher" in command or "effnet" in command]

    def stop(self) -> None:
        from launcher import client

        client.stop(self.root, client.StopRequest(save=False))
        attempts = len(self.lab.events(self.root, "attempt_started"))
        assert self.lab.end_of(self.root, attempt=attempts)["kind"] == "attempt_stopped"


def cancelled(scene: Scene) -> None:
    scene.start()
    scene.slurm.call("scancel", scene.job)
    scene.is_stopped("scancel")


def cancelled_in_the_queue(scene: Scene) -> None:
    scene.root = scene.lab.start(options=["--begin=now+1hour"])
    scene.says("pending", "its earliest start is later")
    scene.slurm.call("scancel", scene.job)
    scene.lab.command("attach", scene.root.name)
    scene.says("was cancelled")


def requeued(scene: Scene) -> None:
    scene.start()
    scene.slurm.call("scontrol", "requeue", scene.job)
    scene.continues()


def near_its_limit(scene: Scene) -> None:
    scene.start()
    scene.slurm.call("scancel", "--batch", "--signal=USR1", scene.job)
    scene.continues()


def preempted(scene: Scene) -> None:
    scene.start()
    argv = ["sbatch", "--parsable", "-p", "urgent", "-N3", "--exclusive", "--output=/dev/null"]
    other = scene.slurm.call(*argv, "--wrap", "sleep 600").strip()
    scene.says("pending", "it was preempted or requeued, or a node failed")
    scene.slurm.until(lambda: scene.slurm.job_state(other) == "RUNNING", "not preempted")
    scene.lab.until(lambda: not scene.ours())
    scene.slurm.call("scancel", other)
    scene.continues()


def node_off(scene: Scene) -> None:
    scene.start()
    node = scene.nodes()[1]
    scene.slurm[node].power_off()
    scene.continues()


def first_node_off(scene: Scene) -> None:
    """The supervisor's; n1 has slurmctld. With it the run's only other node is missing."""
    scene.start(options=["--exclude=n1"])
    scene.slurm[scene.nodes()[0]].power_off()
    scene.says("pending")
    scene.slurm.power_on()
    scene.continues()


def node_set_down(scene: Scene) -> None:
    scene.start()
    node = scene.nodes()[scene.random.randint(0, 1)]
    scene.notes.append(node)
    scene.slurm.call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    scene.continues()


def slurmd_killed(scene: Scene) -> None:
    scene.start()
    node = scene.nodes()[1]
    scene.slurm.kill(node, "slurmd")
    scene.continues()


def slurmctld_killed(scene: Scene) -> None:
    """The run trains on, and can be stopped."""
    scene.start()
    scene.lab.wait_for(scene.root, "training_started")
    scene.slurm.kill_slurmctld(scene.job)
    scene.says("Slurm does not answer")
    epochs = len(scene.lab.events(scene.root, "epoch_finished"))
    scene.lab.wait_for(scene.root, "epoch_finished", count=epochs + 1)
    scene.stop()
    scene.slurm.power_on()


def node_lost_at_launch(scene: Scene) -> None:
    """The job's second node, before Slurm notices; then an administrator sets it down."""
    with scene.slurm.patient():
        scene.root = scene.lab.start(epochs=100_000, options=["--hold"])
        how = scene.random.choice(("power", "slurmd"))
        scene.notes.append(how)
        if how == "power":
            scene.slurm["n2"].power_off()
        else:
            scene.slurm.kill("n2", "slurmd")
        scene.slurm.call("scontrol", "release", scene.job)
        failure = scene.lab.end_of(scene.root)["failure"]
        assert (failure["kind"], failure["node"]) == ("node", "n2"), failure
        scene.says("pending", "queued again because n2 was lost while the agents started")
        scene.slurm.call("scontrol", "update", "nodename=n2", "state=down", "reason=off")
        # Slurm may have started it on that node once more before it was set down.
        attempt = scene.continues()
        assert set(scene.lab.nodes(scene.root, attempt).values()) == {"n1", "n3"}


KINDS: dict[str, Callable[[Scene], None]] = {
    "cancelled": cancelled,
    "cancelled in the queue": cancelled_in_the_queue,
    "requeued": requeued,
    "near its limit": near_its_limit,
    "preempted": preempted,
    "node off": node_off,
    "first node off": first_node_off,
    "node set down": node_set_down,
    "node lost at launch": node_lost_at_launch,
    "slurmd killed": slurmd_killed,
    "slurmctld killed": slurmctld_killed,
}


def draw(seed: int, number: int) -> str:
    """Each kind comes once before one comes twice."""
    deck = list(KINDS)
    turn, place = divmod(number, len(deck))
    random.Random(f"{seed}/{turn}").shuffle(deck)
    return deck[place]


def play(lab: SlurmLab, kind: str, seed: int = 1, number: int = 0) -> Scene:
    """Raises `AssertionError` where the run is not as expected, or something is left."""
    scene = Scene(lab, random.Random(f"{seed}/{number}/{kind}"))
    KINDS[kind](scene)
    lab.slurm.power_on()
    lab.no_job_left(scene.root)
    return scene


def main(argv: list[str] | None = None) -> int:
    from tests.cluster.hosts import cluster

    parser = argparse.ArgumentParser(prog="tests.slurm.endings")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=KINDS)
    arguments = parser.parse_args(argv)
    wrong = 0
    with cluster("n1", "n2", "n3") as hosts, slurm_on(hosts) as slurm:
        os.environ.update(slurm.environment)
        for number in range(arguments.first, arguments.first + arguments.count):
            kind, began_s = arguments.only or draw(arguments.seed, number), time.monotonic()
            slurm.repair()
            result, notes = "right", ""
            try:
                with slurm_lab(slurm) as lab:
                    notes = "; ".join(play(lab, kind, arguments.seed, number).notes)
            except Exception as error:  # noqa: BLE001 all are reported
                wrong, result = wrong + 1, f"WRONG: {type(error).__name__}: {error}"
            took_s = time.monotonic() - began_s
            print(f"{number:3} {kind:22} {took_s:5.0f} s  {notes:34} {result}", flush=True)
    print(f"{arguments.count} endings, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
