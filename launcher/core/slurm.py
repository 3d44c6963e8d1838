"""Jobs of Slurm, as its commands print them, and their words for people.

Only documented, stable outputs are parsed: ``squeue -h -o``, ``scontrol show job -o``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

QUEUE_FORMAT = "%i|%T|%r|%S"
"""For ``squeue -h -o``: job, state, reason, (expected) start."""

SUBMITTED_FORMAT = "%i|%T|%r|%V|%o"
"""The same: job, state, reason, when it was submitted, path of its script."""

WAITING = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
    }
)
LIVING = frozenset(
    {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)

REASONS: Mapping[str, str] = {
    "Priority": "jobs with a higher priority are before it",
    "Resources": "it waits for free nodes",
    "BeginTime": "its earliest start is later",
    "Dependency": "it waits for another job",
    "JobHeldUser": "you hold it; release it: scontrol release {job}",
    "JobHeldAdmin": "an administrator holds it",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition takes no jobs now",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows",
    "PartitionTimeLimit": "its time limit is longer than the partition allows",
    "ReqNodeNotAvail": "a node that it needs is not available",
    "AssocGrpNodeLimit": "your account uses all nodes that it may",
    "QOSMaxJobsPerUserLimit": "you run as many jobs as you may",
    "Licenses": "it waits for a license",
    "Reservation": "it waits for its reservation",
    "NodeDown": "a node that it needs is down",
    "launch failed requeued held": (
        "Slurm holds it because a node could not start it (sinfo -R says which one and why);"
        " release it: scontrol release {job}"
    ),
}

HELD = frozenset({"JobHeldUser", "JobHeldAdmin", "launch failed requeued held"})
"""Reasons with which a job waits for a person, whatever start Slurm prints."""

ENDED: Mapping[str, str] = {
    "CANCELLED": "was cancelled",
    "TIMEOUT": "reached its time limit",
    "NODE_FAIL": "ended because a node failed",
    "PREEMPTED": "was preempted by another job",
    "OUT_OF_MEMORY": "was ended by the OOM killer",
    "FAILED": "failed",
    "BOOT_FAIL": "ended because a node did not boot",
    "DEADLINE": "could not end before its deadline",
    "COMPLETED": "ended",
    "COMPLETING": "was ended by Slurm",
}

NO_FILE = "0:53"
"""The exit code of a job whose log could not be opened on its node."""


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue. ``start``: when Slurm expects it to begin, or empty."""

    job: str
    state: str
    reason: str = ""
    start: str = ""

    @property
    def is_waiting(self) -> bool:
        return self.state in WAITING

    @property
    def is_ending(self) -> bool:
        """Whether something of its last start may still be on a node."""
        return self.state == "COMPLETING"

    @property
    def words(self) -> str:
        """Why it waits, and until when."""
        if self.is_ending:
            return f"job {self.job} waits until Slurm has ended its last start on all nodes"
        name = self.reason.partition(",")[0].strip()
        name = name.replace("_", " ")  # newer versions write such a sentence as one word
        why = REASONS.get(name, f"Slurm says {name}" if name not in ("", "None") else "")
        start = "" if name in HELD else self.start
        when = f"expected to start {start.replace('T', ' ')}" if start else ""
        text = "; ".join(filter(None, (why.format(job=self.job), when)))
        return f"job {self.job} waits in the queue" + (f": {text}" if text else "")


def parse_queue(text: str) -> dict[str, QueuedJob]:
    """The jobs that ``squeue`` printed with `QUEUE_FORMAT`, by their number."""
    found = {}
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 4 and fields[0]:
            job, state, reason, start = fields
            found[job] = QueuedJob(job, state, reason, "" if start == "N/A" else start)
    return found


@dataclass(frozen=True)
class SubmittedJob(QueuedJob):
    """The same. ``submitted``: when, by Slurm; ``command``: the path of its script."""

    submitted: str = ""
    command: str = ""

    @property
    def words(self) -> str:
        """``job 12 waits in the queue: it waits for free nodes; submitted 2026-01-02 10:15:00``."""
        words = super().words if self.is_waiting else f"job {self.job} is {self.state.lower()}"
        return f"{words}; submitted {self.submitted.replace('T', ' ')}"


def parse_submitted(text: str) -> list[SubmittedJob]:
    """The jobs that ``squeue`` printed with `SUBMITTED_FORMAT`."""
    found = (line.strip().split("|", 4) for line in text.splitlines())
    return [
        SubmittedJob(job, state, reason, submitted=submitted, command=command)
        for job, state, reason, submitted, command in (x for x in found if len(x) == 5)
        if job
    ]


@dataclass(frozen=True)
class JobRecord:
    """What ``scontrol show job`` knows; it forgets a job some minutes after its end."""

    state: str
    reason: str = ""
    exit_code: str = ""
    restarts: int = 0
    nodes: str = ""

    @property
    def is_waiting(self) -> bool:
        return self.state in WAITING

    @property
    def is_over(self) -> bool:
        return self.state not in WAITING | LIVING

    def end_words(self, job: str) -> str:
        """How a job has ended."""
        if self.exit_code == NO_FILE:
            return f"job {job} failed: its node could not write into the run directory"
        words = ENDED.get(self.state, f"ended as {self.state}")
        code = self.exit_code if self.exit_code not in ("", "0:0") else ""
        shown = f" (exit code {code})" if code and self.state == "FAILED" else ""
        return f"job {job} {words}{shown}"


def parse_job(text: str) -> JobRecord | None:
    """The one line of ``scontrol show job -o``; None when there is none."""
    fields = dict(re.findall(r"(?:^|\s)([A-Za-z/]+)=(\S*)", text))
    if "JobState" not in fields:
        return None
    restarts = fields.get("Restarts", "")
    return JobRecord(
        fields["JobState"],
        fields.get("Reason", ""),
        fields.get("ExitCode", ""),
        int(restarts) if restarts.isdigit() else 0,
        fields.get("NodeList", ""),
    )


LOST_STATES = frozenset(
    {"DOWN", "FAIL", "ERROR", "NOT_RESPONDING", "POWERED_DOWN", "REBOOT_ISSUED"}
)
"""Base states and flags of a node whose processes are gone, or that does not answer."""
NO_LAUNCH = LOST_STATES | {"DRAIN", "MAINTENANCE"}
"""The same for one on which no step starts any more, while others may still run."""

LOST_WORDS = (
    "Communication connection failure",
    "Communication send failure",
    "Communication receive failure",
    "Communication shutdown failure",
    "Zero Bytes were transmitted or received",
    "Socket timed out on send/recv operation",
    "Node failure on",
    "Node not responding",
    "Required node not available (down, drained or reserved)",
    "Job prolog failed",
    "Prolog failed",
    "Unable to contact slurm daemon",
    "Invalid job credential",
)
"""What srun prints about a node that no step can be started on.

Source: slurm_errno.c and srun's launch.c and allocate.c of Slurm 22.05.
"""


def is_lost_words(line: str) -> bool:
    """Whether a line of srun is about a node that is lost; a program's own end is not."""
    return line.startswith("srun: error: ") and any(words in line for words in LOST_WORDS)


@dataclass(frozen=True)
class NodeRecord:
    """What ``scontrol show node`` says: the base state and the flags, and an administrator's or
    Slurm's own ``reason``.
    """

    states: frozenset[str]
    reason: str = ""

    @property
    def is_lost(self) -> bool:
        return bool(self.states & LOST_STATES)

    @property
    def may_launch(self) -> bool:
        return not self.states & NO_LAUNCH

    @property
    def words(self) -> str:
        """``down, not responding (Not responding)``."""
        names = ", ".join(sorted(self.states & NO_LAUNCH)).lower().replace("_", " ")
        return f"{names} ({self.reason})" if self.reason else names


def parse_nodes(text: str) -> dict[str, NodeRecord]:
    """The lines of ``scontrol show node -o``, by the name of the node."""
    found = {}
    for line in text.splitlines():
        fields = dict(re.findall(r"(?:^|\s)(NodeName|State)=(\S+)", line))
        if len(fields) != 2:
            continue
        states = fields["State"]
        flags = {"NOT_RESPONDING"} if "*" in states else set()
        reason = re.search(r"\sReason=(.*?)(?: \[\S+@\S+\])?\s*$", line)
        names = frozenset(re.findall(r"[A-Z_]+", states)) | flags
        found[fields["NodeName"]] = NodeRecord(names, reason.group(1) if reason else "")
    return found


def parse_address(text: str) -> str:
    """``NodeAddr`` in the line of ``scontrol show node -o``; empty when there is none."""
    found = re.search(r"(?:^|\s)NodeAddr=(\S+)", text)
    return found.group(1) if found else ""


@dataclass(frozen=True)
class PartitionState:
    """The nodes of a partition that are in one state."""

    name: str
    is_default: bool
    is_up: bool
    time_limit: str
    nodes: int
    state: str

    @property
    def is_usable(self) -> bool:
        """Whether these nodes take jobs, now or later."""
        return self.state.rstrip("*~#!%$@^-") in ("idle", "alloc", "mix", "comp", "plnd", "resv")


def parse_partition(text: str) -> list[PartitionState]:
    """The lines of ``sinfo -h -o '%P|%a|%l|%D|%t'``."""
    found = []
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 5 and fields[3].isdigit():
            name, available, limit, nodes, state = fields
            is_default = name.endswith("*")
            part = name.rstrip("*"), is_default, available == "up", limit, int(nodes), state
            found.append(PartitionState(*part))
    return found


def partition_words(states: Sequence[PartitionState]) -> str:
    """``partition train: up, 3 nodes (2 idle, 1 down), time limit infinite``."""
    first, total = states[0], sum(item.nodes for item in states)
    parts = ", ".join(f"{item.nodes} {item.state}" for item in states)
    available = "up" if first.is_up else "down"
    return (
        f"partition {first.name}: {available}, {total} nodes ({parts}),"
        f" time limit {first.time_limit}"
    )
