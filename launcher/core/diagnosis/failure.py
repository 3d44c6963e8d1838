"""Why an attempt failed: which death came first, its cause, and what to try."""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from launcher.core.diagnosis.codes import OOM_TRY
from launcher.core.diagnosis.evidence import Evidence, find_evidence, is_oom_kill, without_chatter
from launcher.core.diagnosis.mpirun import read_output
from launcher.core.diagnosis.words import signal_name
from launcher.core.run.events import Failure, FailureKind
from launcher.errors import NodeError

LAST_LINES = 20

AGENT = "node agent"
"""The role of an agent, whose death ends all ranks of its node."""
AGENT_LEAD_S = 1.0
"""Ranks of other nodes that lose their peers may be reported earlier than the agent's death."""

EXIT_KINDS: Mapping[int, tuple[FailureKind, str, str]] = {
    2: (FailureKind.CONFIG, "its configuration was refused", "correct what its last lines name"),
    3: (FailureKind.DATA, "its data can't be used", "check the data path on this node"),
    4: (FailureKind.LOSS, "the loss is no longer finite", "lower lr_max or warm up longer"),
    5: (FailureKind.CHECKPOINT, "it can't continue from the checkpoint", "see its last lines"),
    6: (FailureKind.DEVICE, "a device or library is missing", "run `effnet-launch preflight`"),
    126: (FailureKind.LAUNCH, "its program is not executable", "check `python` in the profile"),
    127: (FailureKind.LAUNCH, "its program was not found", "check `python` in the profile"),
}
"""Exit codes of ``python -m effnet`` (docs/report-format.md) and of a shell."""
OF_A_SHELL = 126

SIGNALS: Mapping[int, tuple[FailureKind, str, str]] = {
    signal.SIGKILL: (
        FailureKind.SIGNAL,
        "killed (SIGKILL): probably the OOM killer",
        "check `dmesg` on {node}",
    ),
    signal.SIGTERM: (
        FailureKind.SIGNAL,
        "ended with SIGTERM by another program or user",
        "resume the run; if it happens again, find what ends processes on {node}",
    ),
    signal.SIGINT: (FailureKind.SIGNAL, "interrupted (SIGINT)", "resume the run"),
    signal.SIGHUP: (FailureKind.SIGNAL, "its terminal closed (SIGHUP)", "resume the run"),
    signal.SIGSEGV: (
        FailureKind.CRASH,
        "segmentation fault (SIGSEGV) in native code",
        "compare the versions of driver, MindSpore and NumPy with those of the other nodes",
    ),
    signal.SIGBUS: (
        FailureKind.CRASH,
        "bus error (SIGBUS): /dev/shm or a disk is often full",
        "free space in /dev/shm and on the disks of {node}",
    ),
    signal.SIGABRT: (
        FailureKind.CRASH,
        "native code aborted (SIGABRT)",
        "see its last lines: an assertion or an uncaught C++ exception",
    ),
    signal.SIGILL: (
        FailureKind.CRASH,
        "its processor does not know an instruction (SIGILL)",
        "install builds that fit the processor of {node}",
    ),
    signal.SIGFPE: (FailureKind.CRASH, "an integer was divided by zero (SIGFPE)", ""),
    signal.SIGXCPU: (FailureKind.SIGNAL, "it used up its CPU time limit", "raise `ulimit -t`"),
    signal.SIGXFSZ: (FailureKind.SIGNAL, "it wrote too large a file", "raise `ulimit -f`"),
}
"""What each signal means and what to try; `{node}` stands for the name of the node."""

NO_OOM_KILL = (
    FailureKind.SIGNAL,
    "killed (SIGKILL), but not by the OOM killer: the kernel counted no OOM kill",
    "resume the run; if it happens again, look on {node} for a program, a person or a limit"
    " (`ulimit -t`) that ends processes",
)
"""Where the counts are sure. `systemd-oomd` and `earlyoom` are not the kernel's OOM killer."""

LAST_SIGNAL = 64


@dataclass(frozen=True)
class Death:
    """Something that ends an attempt, as one node saw it; ``time_s`` is on that node's clock.

    ``asked``: our agent had already requested its end. ``is_seen`` is false where mpirun ended, or
    lost, the parent of a rank. ``kind``, ``meaning`` and ``try_next`` are given where no process
    shows them: a hang, a node that is lost, a start that failed. ``kernel_lines`` are the kernel's
    about its pid. ``oom``: whether the kernel killed a process for memory in the minute before;
    None: not known, or not for sure.
    """

    node: str
    time_s: float
    rank: int | None = None
    role: str = "rank"
    exit_code: int | None = None
    signal: int | None = None
    asked: bool = False
    is_seen: bool = True
    oom: bool | None = None
    last_lines: tuple[str, ...] = ()
    kernel_lines: tuple[str, ...] = ()
    log: str | None = None
    log_offset: int | None = None
    kind: FailureKind | None = None
    meaning: str = ""
    try_next: str = ""
    runs_trainer: bool = True
    """False: a script of the user's, whose exit codes mean what it likes."""

    @property
    def who(self) -> str:
        return f"rank {self.rank}" if self.rank is not None else f"the {self.role}"


@dataclass(frozen=True)
class Cause:
    """What a death was.

    ``is_follower``: it died because another one had. ``host``: where mpirun says that it lost
    something, as OpenMPI names that node.
    """

    kind: FailureKind
    meaning: str
    try_next: str = ""
    traceback: tuple[str, ...] = ()
    is_follower: bool = False
    host: str | None = None


def name_failure(
    deaths: Sequence[Death],
    ranks: Collection[int] = (),
    nodes: Mapping[str, str] | None = None,
) -> Failure:
    """The failure of an attempt: the first death that did not follow another one.

    The deaths' times are on one clock; ``ranks`` are all of the attempt's; ``nodes`` are the names
    of nodes by address. Raises ValueError without a death.
    """
    if not deaths:
        raise ValueError("no death to name")
    causes = [(death, explain(death)) for death in deaths]
    agents = [death for death in deaths if death.role == AGENT]

    def follows_an_agent(death: Death) -> bool:
        return death.role != AGENT and any(
            agent.node != death.node and death.time_s > agent.time_s - AGENT_LEAD_S
            for agent in agents
        )

    def order(item: tuple[Death, Cause]) -> tuple[bool, bool, bool, float, int]:
        death, cause = item
        # A helper has no rank, and its end is seldom why a rank died at the same moment.
        number = 1_000_000 if death.rank is None else death.rank
        is_follower = cause.is_follower or follows_an_agent(death)
        # What mpirun lost is known better where it was.
        is_report = cause.host is not None
        return (death.asked, is_follower, is_report, death.time_s, number)

    first, cause = min(causes, key=order)
    everyone = set(ranks) | {death.rank for death, _ in causes if death.rank is not None}
    return Failure(
        kind=cause.kind,
        meaning=cause.meaning,
        try_next=cause.try_next,
        rank=first.rank,
        node=(nodes or {}).get(cause.host or "", first.node),
        exit_code=first.exit_code,
        signal=first.signal,
        time=first.time_s,
        last_lines=without_chatter(first.last_lines)[-LAST_LINES:],
        traceback=cause.traceback,
        log=first.log,
        log_offset=first.log_offset,
        kernel_lines=first.kernel_lines,
        followers=tuple(sorted(everyone - {first.rank})),
    )


def has_cause(deaths: Sequence[Death]) -> bool:
    """Whether one of them was more than the end of a rank that lost its peers."""
    return any(not death.asked and not explain(death).is_follower for death in deaths)


def launch_failure(error: Exception, time_s: float) -> Failure:
    """A failure before any process was there."""
    node = error.node if isinstance(error, NodeError) else None
    kind = FailureKind.LAUNCH if node is None else FailureKind.NODE
    return Failure(kind=kind, meaning=str(error), time=time_s, node=node)


def explain(death: Death) -> Cause:
    """What one death was, from the surest sign to the weakest. Never raises."""
    found = find_evidence(death.last_lines)
    trace = found.traceback
    is_killed = death.signal == signal.SIGKILL
    if death.kind is not None:
        return Cause(
            death.kind,
            death.meaning or f"{death.who} on {death.node} is gone",
            death.try_next,
            trace,
        )
    if death.oom or (is_killed and is_oom_kill((*death.kernel_lines, *death.last_lines))):
        meaning = f"the kernel killed {death.who} on {death.node}: the machine was out of memory"
        return Cause(FailureKind.OOM, meaning, OOM_TRY, trace)
    if (told := read_output(death.role, death.exit_code, death.last_lines)) is not None:
        try_next = told.try_next.format(host=told.host or "the other nodes")
        return Cause(told.kind, told.meaning, try_next, (), told.is_follower, told.host)
    # MindSpore does not kill itself with SIGKILL for a lost peer, whatever it printed before.
    if is_killed and found.is_consequence:
        found = Evidence()
    follows = found.is_consequence
    if found.meaning is not None:
        kind, meaning, try_next = found.meaning
        return Cause(kind, f"{death.who}: {meaning}", try_next, trace, follows)
    if not death.is_seen:
        meaning = f"{death.who}: mpirun ended the process that it had started for it"
        return Cause(FailureKind.SIGNAL, meaning, "see the end of mpirun.log", trace, True)
    by_exit = _by_exit(death)
    if found.error and (by_exit is None or by_exit[0] in (FailureKind.CRASH, FailureKind.SIGNAL)):
        meaning = f"{death.who} raised {found.error}"
        return Cause(FailureKind.CRASH, meaning, "", trace, follows)
    if by_exit is not None:
        kind, meaning, try_next = by_exit
        return Cause(
            kind, f"{death.who}: {meaning}", try_next.format(node=death.node), trace, follows
        )
    if death.exit_code is None:
        return Cause(FailureKind.CRASH, f"{death.who} on {death.node} is gone", "", trace, follows)
    if death.exit_code == 0:
        meaning = f"{death.who} ended before the others, with exit code 0"
    else:
        meaning = f"{death.who} ended with exit code {death.exit_code}"
    return Cause(FailureKind.CRASH, meaning, "see its last lines", trace, follows)


def _by_exit(death: Death) -> tuple[FailureKind, str, str] | None:
    number, code = death.signal, death.exit_code
    if number is None and code is not None and 128 < code <= 128 + LAST_SIGNAL:
        # A shell and mpirun report a signal so. 255 is no signal: ssh and `exit -1` end with it.
        number = code - 128
    if number is not None:
        if number == signal.SIGKILL and death.oom is False:
            return NO_OOM_KILL
        known = SIGNALS.get(number)
        return known or (FailureKind.SIGNAL, f"ended by {signal_name(number)}", "")
    if code is None or (not death.runs_trainer and code < OF_A_SHELL):
        return None
    return EXIT_KINDS.get(code)
