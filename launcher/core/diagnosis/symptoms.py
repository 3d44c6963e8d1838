"""What the last lines of a rank mean: fault lines, HCCL codes, MindSpore's and Python's errors.

Sources: Huawei's "HCCL Errors" reference (EI codes), MindSpore's FAQ, and what MindSpore 2.10 was
seen to print when ranks were killed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from launcher.core.run.events import FailureKind
from launcher.core.run.report import Fault, parse

Meaning = tuple[FailureKind, str, str]
"""Kind, what happened, what to try."""

OOM_TRY = "lower batch_size, or give the node more memory; look for other users of it"

FAULT_KINDS: Mapping[str, tuple[FailureKind, str]] = {
    "loss": (FailureKind.LOSS, "lower lr_max, warm up longer, or resume with another seed"),
    "data": (FailureKind.DATA, "mend or remove the files that are named"),
    "checkpoint": (FailureKind.CHECKPOINT, "resume from another checkpoint"),
    "config": (FailureKind.CONFIG, "mend the configuration and start again"),
    "device": (FailureKind.DEVICE, "run `effnet-launch doctor`, which finds what its node lacks"),
    "memory": (FailureKind.OOM, OOM_TRY),
    "other": (FailureKind.CRASH, "see its last lines"),
}

HCCL_CODES: Mapping[str, Meaning] = {
    "EI0001": (
        FailureKind.CONFIG,
        "an HCCL environment variable is wrong",
        "mend the variable that the message names",
    ),
    "EI0002": (
        FailureKind.HANG,
        "it waited too long for a peer in a collective operation",
        "look at the peer that the message names: it was slow, stuck or gone",
    ),
    "EI0003": (FailureKind.CONFIG, "a collective operation got a wrong argument", ""),
    "EI0004": (
        FailureKind.CONFIG,
        "HCCL refuses the rank table",
        "run `effnet-launch ranktable lint` on it",
    ),
    "EI0005": (
        FailureKind.CONFIG,
        "the ranks called a collective operation with different arguments",
        "check that all ranks run the same code and configuration",
    ),
    "EI0006": (
        FailureKind.NODE,
        "it could not connect to a peer's device in time",
        "check that the peer lives, the devices' network (hccn_tool -netdetect) and TLS settings",
    ),
    "EI0007": (FailureKind.DEVICE, "a device resource could not be had", "end other users of it"),
    "EI0008": (
        FailureKind.CONFIG,
        "the nodes have different versions of CANN or HCCL",
        "install the same version on every node",
    ),
    "EI0009": (
        FailureKind.DEVICE,
        "the device's network could not be set up",
        "check `hccn_tool -i N -link -g` and the device_ip",
    ),
    "EI0010": (FailureKind.DEVICE, "devices of one node can't reach each other", ""),
    "EI0011": (FailureKind.OOM, "the device has too little memory for HCCL", OOM_TRY),
    "EI0012": (FailureKind.DEVICE, "copying between devices failed (SDMA)", ""),
    "EI0013": (
        FailureKind.NODE,
        "the connection to a peer's device broke (RoCE)",
        "look whether the peer ended first, then at the devices' network",
    ),
    "EI0014": (
        FailureKind.CONFIG,
        "the rank table does not fit the devices, or is of another version than the chip's",
        "run `effnet-launch ranktable lint` on it",
    ),
    "EI0015": (
        FailureKind.NODE,
        "the ranks did not find together in time",
        "look for the rank that did not start",
    ),
    "EI0016": (FailureKind.CONFIG, "HCCL refuses its configuration", ""),
    "EI0017": (FailureKind.CONFIG, "HCCL refuses the rank table", ""),
    "EI0018": (FailureKind.DEVICE, "an operation between devices failed (UB)", ""),
    "EI0019": (
        FailureKind.LAUNCH,
        "a port that HCCL needs is taken",
        "end what holds it, or set HCCL_IF_BASE_PORT",
    ),
    "EI0020": (FailureKind.LAUNCH, "a port that HCCL needs is taken", ""),
}

FOLLOWER_CODES = frozenset({"EI0002", "EI0006", "EI0013", "EI0015"})
"""Codes of a rank that misses a peer: seldom the first to fail."""

_HCCL_CODE = re.compile(r"\bEI00[0-9]{2}\b")

_FOLLOWER_LINES = re.compile(
    r"wait receiving \[[^\]]*\] failed"
    r"|(AllReduce|AllGather|ReduceScatter|Broadcast)\w*KernelMod launch failed"
    r"|another rank of this machine is gone"  # effnet.distributed.shared_memory
    r"|Message receive timeout|MS_RECEIVE_MSG_TIMEOUT"
    r"|Kill this process with SIGTERM"
    r"|[Tt]he total number of timed out node"
    r"|[Hh]eartbeat.{0,40}(time ?out|timed out|[Ll]ost)"
    r"|Failed to (reconnect|connect) to the (meta server|scheduler)"
)

_KNOWN: tuple[tuple[re.Pattern[str], Meaning], ...] = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (
            r"[Aa]ddress already in use|EADDRINUSE",
            (FailureKind.LAUNCH, "its port is taken", "set master.port = 0 in the profile"),
        ),
        (
            r"^ModuleNotFoundError: No module named|^ImportError: ",
            (
                FailureKind.CONFIG,
                "a Python package is missing or broken on its node",
                "install the same environment on every node",
            ),
        ),
        (
            r"^MemoryError\b|std::bad_alloc|[Oo]ut of memory|[Mm]emory not enough"
            r"|Cannot allocate memory",
            (FailureKind.OOM, "it ran out of memory", OOM_TRY),
        ),
        (
            r"No space left on device|Disk quota exceeded",
            (FailureKind.DATA, "a disk of its node is full", "free space there, then resume"),
        ),
        (
            r"Got device count\[\d+\] and device id\[\d+\]",
            (
                FailureKind.CONFIG,
                "MindSpore counted devices of two nodes as one: they have the same host name",
                "give every node its own host name",
            ),
        ),
        (
            r"Too many open files",
            (FailureKind.LAUNCH, "it may not open more files", "raise `ulimit -n` on its node"),
        ),
        (
            r"device.{0,40}(is occupied|already (been )?used|busy)",
            (FailureKind.DEVICE, "its device is held by another process", "end that process"),
        ),
    )
)

_TRACEBACK = "Traceback (most recent call last):"
_OOM = re.compile(r"[Oo]ut of memory: Kill|oom-kill|[Mm]emory cgroup out of memory")
_ERROR_LINE = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning)?(: |$)")

MAX_LINE = 2000
MAX_TRACEBACK_LINES = 60


def symptom_in(lines: Sequence[str]) -> Meaning | None:
    """The surest known sign in a rank's last lines: its own fault line, a code, an error."""
    short = [line[:MAX_LINE] for line in lines]
    for line in reversed(short):
        report = parse(line) if line.startswith("fault: ") else None
        if isinstance(report, Fault):
            kind, try_next = FAULT_KINDS.get(report.kind, FAULT_KINDS["other"])
            return kind, report.text, try_next
    for line in short:
        code = _HCCL_CODE.search(line)
        if code and code[0] in HCCL_CODES:
            kind, meaning, try_next = HCCL_CODES[code[0]]
            return kind, f"{meaning} ({code[0]})", try_next
    for line in reversed(short):
        for pattern, known in _KNOWN:
            if pattern.search(line):
                return known
    return None


_CHATTER = re.compile(r"\[(?:INFO|DEBUG)\] [A-Z_]+\(\d+,")


def is_follower(lines: Sequence[str]) -> bool:
    """Whether the lines say that a peer was missed, and name no cause of the rank's own."""
    short = [line[:MAX_LINE] for line in lines]
    if any(line.startswith("fault: ") for line in short):
        return False
    codes = {code for line in short for code in _HCCL_CODE.findall(line)}
    if codes:
        return codes <= FOLLOWER_CODES
    return any(_FOLLOWER_LINES.search(line) for line in short)


def telling(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines without what MindSpore says of its own connections; all, where that is all."""
    found = tuple(line for line in lines if not _CHATTER.match(line[:MAX_LINE]))
    return found or tuple(lines)


def is_oom(lines: Sequence[str]) -> bool:
    """Whether the lines hold the kernel's own words for an out-of-memory kill."""
    return any(_OOM.search(line[:MAX_LINE]) for line in lines)


def traceback_in(lines: Sequence[str]) -> tuple[str, ...]:
    """The last Python traceback, from its first line to the error's; empty when there is none."""
    starts = [index for index, line in enumerate(lines) if line.strip() == _TRACEBACK]
    if not starts:
        return ()
    start = starts[-1]
    for index in range(start + 1, len(lines)):
        line = lines[index]
        if line and not line[0].isspace() and _ERROR_LINE.match(line[:MAX_LINE]):
            return tuple(lines[start : index + 1])[-MAX_TRACEBACK_LINES:]
    return tuple(lines[start:])[:MAX_TRACEBACK_LINES]
