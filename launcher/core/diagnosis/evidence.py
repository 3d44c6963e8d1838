"""Which of a rank's last lines show why it ended: one ranking, from the strongest sign down.

Sources of the patterns: MindSpore's FAQ and the texts in its wheel, CPython, glibc, and what
MindSpore 2.10 and PyTorch 2.13 printed when ranks were killed. CANN's codes are in `codes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from launcher.core.diagnosis.codes import CODE, OOM_TRY, PEER_CODES, Meaning, meaning_of
from launcher.core.diagnosis.tracebacks import Raised, raised_in
from launcher.core.run.events import FailureKind
from launcher.core.run.report import parse
from launcher.core.run.report_types import Fault
from launcher.core.run.script_lines import without_prefix

FAULT_KINDS: Mapping[str, tuple[FailureKind, str]] = {
    "loss": (FailureKind.LOSS, "lower lr_max, warm up longer, or resume with another seed"),
    "data": (FailureKind.DATA, "repair or remove the files that the message names"),
    "checkpoint": (FailureKind.CHECKPOINT, "resume from another checkpoint"),
    "config": (FailureKind.CONFIG, "correct the configuration and start again"),
    "device": (FailureKind.DEVICE, "run `effnet-launch doctor`, which lists what the node lacks"),
    "memory": (FailureKind.OOM, OOM_TRY),
    "other": (FailureKind.CRASH, "see its last lines"),
}

_HELD: Meaning = (
    FailureKind.DEVICE,
    "its device is held by another process, or has too little free memory",
    "find the process (npu-smi info, nvidia-smi) and end it; `effnet-launch clean` finds ours",
)
_LIBRARY: Meaning = (
    FailureKind.DEVICE,
    "a native library is missing or too old on its node",
    "run `effnet-launch doctor`, which names the driver and toolkit that the node needs",
)

_LIBRARY_NAME = re.compile(
    r"^.*?([\w.+-]+\.so[\d.]*(?=:)(?:: version `[\w.]+')?)"
    r"|(\blib(?:cu|nvinfer|ascendcl|hccl|mpi)\w*)"
)

PATTERNS: tuple[tuple[re.Pattern[str], Meaning], ...] = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (
            r"occupying this (card|device)"
            r"|\b([Dd]evices?|[Cc]ard|NPU|GPU)\b.{0,40}"
            r"((is|been) occupied|already (been )?used|used by (an)?other process|\bbusy\b)",
            _HELD,
        ),
        (
            r"\.so(\.\d+)*: cannot open shared object file"
            r"|(GLIBC|GLIBCXX|CXXABI|GCC|GOMP)_[\d.]+' not found"
            r"|undefined symbol: |cannot allocate memory in static TLS block"
            r"|wrong ELF class|invalid ELF header|cannot enable executable stack"
            r"|(libcu\w+|libnvinfer|libascendcl|libhccl|libmpi)\S*.{0,40}"
            r"(not found|could not be loaded|cannot be loaded|failed to load)",
            _LIBRARY,
        ),
        (
            r"[Aa]ddress already in use|EADDRINUSE"
            r"|(listen|bind).{0,40}\bport\b.{0,40}fail"
            r"|\bport\b.{0,40}(already|been) (bound|in use)",
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
            r"No space left on device|Disk quota exceeded",
            (FailureKind.DATA, "a disk of its node is full", "free space there, then resume"),
        ),
        (
            r"^MemoryError\b|std::bad_alloc|[Oo]ut of memory|[Mm]emory (not enough|isn't enough)"
            r"|Cannot allocate memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation",
            (FailureKind.OOM, "it ran out of memory", OOM_TRY),
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
    )
)
"""In this order: the text of a device that is held also says that memory is short."""

_PEER_LOST = re.compile(
    r"wait receiving \[[^\]]*\] failed"
    r"|(AllReduce|AllGather|ReduceScatter|Broadcast)\w*KernelMod launch failed"
    r"|another rank (of this machine )?is gone"  # effnet.distributed.group.PeerGone
    r"|Message receive timeout|MS_RECEIVE_MSG_TIMEOUT"
    r"|Kill this process with SIGTERM"
    r"|[Tt]he total number of timed out node"
    r"|[Hh]eartbeat.{0,40}(time ?out|timed out|[Ll]ost)"
    r"|Failed to (reconnect|connect) to the (meta server|scheduler)"
    r"|^(Connection\w*Error|BrokenPipeError)\b"
    # PyTorch: gloo's pair.cc, and ProcessGroupNCCL.
    r"|gloo/.*\b[Cc]onnection (closed|reset) by (remote )?peer"
    r"|Watchdog caught collective operation timeout|NCCL communicator was aborted"
    r"|ncclRemoteError|remote process exited or there was a network error"
    r"|gloo/.*\b(Read error|Write error|Broken pipe|[Tt]imed out|Connection refused)"
    r"|(TCPStore|DistStoreError).*([Tt]imed out|Connection reset|recvValue failed)"
)

# A RuntimeError of MindSpore says little itself: the reason is a code or a line near it.
_GENERAL = re.compile(
    r"^(RuntimeError|SystemError|DistributedError)\b.*"
    r"([Hh]ccl|HCCL|NCCL|[Aa]scend|[Kk]ernel|[Ll]aunch|[Ss]tream|[Gg]raph|[Dd]evice|\binit)"
)
_DETAIL_FOLLOWS = re.compile(r"^- Ascend Error Message:|^- C\+\+ Call Stack")

_NO_ERROR = re.compile(
    r"^\W*(?:\S+\s+){0,4}?\[?(?:WARNING|WARN|INFO|DEBUG|NOTICE)\b"
    r"|^[WID]\d{4} |\b\w*Warning: |^epoch: ?\["
)
_CHATTER = re.compile(r"\[(?:INFO|DEBUG)\] [A-Z_]+\(\d+,")
_KERNEL_OOM = re.compile(r"[Oo]ut of memory: Kill|oom-kill|[Mm]emory cgroup out of memory")

MAX_LINE = 2000


@dataclass(frozen=True)
class Evidence:
    """What the lines show. ``meaning`` ``None``: the rank raised ``error``, which nothing explains.

    ``is_consequence``: a peer was lost, so another rank probably failed first.
    """

    meaning: Meaning | None = None
    error: str = ""
    traceback: tuple[str, ...] = ()
    is_consequence: bool = False


@dataclass(frozen=True)
class _Lines:
    """A rank's last lines, read once: ``errors`` are those that may report an error."""

    all: tuple[str, ...]
    raised: Raised | None
    errors: tuple[str, ...]

    @property
    def error(self) -> str:
        return self.raised.error if self.raised else ""

    @property
    def is_general(self) -> bool:
        """The error itself names no reason: MindSpore's message continues on other lines."""
        if self.raised is None:
            return True
        below = self.all[self.raised.end : self.raised.end + 4]
        return bool(_GENERAL.search(self.error)) or any(map(_DETAIL_FOLLOWS.search, below))


def find_evidence(lines: Sequence[str]) -> Evidence:
    """The strongest sign in a rank's last lines, by `RANKING`; an empty one without any."""
    short = tuple(without_prefix(line[:MAX_LINE]) for line in lines)
    raised = raised_in(short)
    skipped = raised.inner if raised else frozenset()
    errors = tuple(
        line
        for index, line in enumerate(short)
        if index not in skipped and not _NO_ERROR.search(line[:200])
    )
    read = _Lines(short, raised, errors)
    traceback = raised.lines if raised else ()
    for sign, is_consequence in RANKING:
        if (found := sign(read)) is not None:
            if is_consequence and raised is not None and raised.handled_end:
                own = find_evidence(short[: raised.handled_end])
                if not own.is_consequence:
                    return own
            meaning = None if found == _RAISED else found
            return Evidence(meaning, read.error, traceback, is_consequence)
    return Evidence(error=read.error, traceback=traceback)


_RAISED: Meaning = (FailureKind.CRASH, "", "")


def _fault(read: _Lines) -> Meaning | None:
    for line in reversed(read.all):
        report = parse(line) if line.startswith("fault: ") else None
        if isinstance(report, Fault):
            kind, try_next = FAULT_KINDS.get(report.kind, FAULT_KINDS["other"])
            return kind, report.text, try_next
    return None


def _specific_error(read: _Lines) -> Meaning | None:
    if read.raised is None or read.is_general or _PEER_LOST.search(read.error):
        return None
    return _RAISED


def _known_line(read: _Lines) -> Meaning | None:
    found = (_match(line) for line in reversed(read.errors))
    return next((meaning for meaning in found if meaning is not None), None)


def _peer_lost(read: _Lines) -> Meaning | None:
    if not any(map(_PEER_LOST.search, read.errors)):
        return None
    return _RAISED if read.raised else (FailureKind.CRASH, "it ended because a peer was gone", "")


RANKING: tuple[tuple[Callable[[_Lines], Meaning | None], bool], ...] = (
    # The trainer itself says what went wrong.
    (_fault, False),
    # The exception that ended the rank is of a known kind, or names its own reason.
    (lambda read: _match(read.error), False),
    (_specific_error, False),
    # The exception is MindSpore's general one, or there is none: codes, then known texts.
    (lambda read: _code(read, lambda code: code not in PEER_CODES), False),
    (_known_line, False),
    # Only now what follows from another rank's end.
    (lambda read: _code(read, lambda code: code in PEER_CODES), True),
    (_peer_lost, True),
    (lambda read: _RAISED if read.raised else None, False),
)
"""Each kind of sign, the strongest first, and whether it is a consequence of another failure."""


def _match(line: str) -> Meaning | None:
    found = next((meaning for pattern, meaning in PATTERNS if pattern.search(line)), None)
    if found is _LIBRARY and (name := _LIBRARY_NAME.search(line)):
        return found[0], f"{found[1]}: {name[1] or name[2]}", found[2]
    return found


def _code(read: _Lines, wanted: Callable[[str], bool]) -> Meaning | None:
    """The first wanted code; an internal error (E.9...) only where no other code is."""
    internal: Meaning | None = None
    for index, line in enumerate(read.errors):
        for found in CODE.finditer(line):
            code = found[1] or found[2]
            if not wanted(code):
                continue
            text = line[found.end() :]
            if "inner error" in text.lower():
                text = next((item.strip() for item in read.errors[index + 1 :] if item.strip()), "")
            if code[2] != "9":
                return meaning_of(code, text)
            internal = internal or meaning_of(code, text)
    return internal


def without_chatter(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines without MindSpore's messages about its connections; all if no other is left."""
    found = tuple(line for line in lines if not _CHATTER.match(line[:MAX_LINE]))
    return found or tuple(lines)


def is_oom_kill(lines: Sequence[str]) -> bool:
    """Whether the lines hold the kernel's report of an out-of-memory kill."""
    return any(_KERNEL_OOM.search(line[:MAX_LINE]) for line in lines)
