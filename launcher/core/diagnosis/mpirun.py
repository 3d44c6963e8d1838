"""What mpirun and OpenMPI's daemons print when they end, of OpenMPI 4.1 and 5.0.

Texts: help-errmgr-base.txt, help-plm-base.txt and help-orterun.txt of OpenMPI 4.1.4; the same files
of the PRRTE in OpenMPI 5.0.11, with prterun's name; and those of OpenSSH's client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.core.run.events import FailureKind

MPIRUN, DAEMON = "mpirun", "OpenMPI daemon"
"""Roles of processes (`launcher.core.plan.model.Role`)."""


@dataclass(frozen=True)
class Told:
    """``host``: the node, as OpenMPI names it; None where none is named.

    ``is_follower``: something else ended first, which its own node reports.
    """

    kind: FailureKind
    meaning: str
    try_next: str
    host: str | None = None
    is_follower: bool = False


_LOST = re.compile(r"has lost communication with a remote daemon")
_LOST_HOST = re.compile(r"Remote daemon\s*:.* on node (\S+)")
_NO_ROUTE = re.compile(
    r"does not know how to route a message to the specified daemon"
    r"|unable to establish a communication connection to the"
    r"|[Dd]oes not know how to reach"
)
_NO_ROUTE_HOST = re.compile(r"target node:\s*(\S+)")
_NOT_STARTED = re.compile(
    r"unable to reliably start one or more daemons"
    r"|daemon failed to report back after being spawned"
    r"|daemon has unexpectedly failed after launch"
    r"|A daemon died unexpectedly"
)
_NOT_STARTED_HOST = re.compile(
    r"Remote host:\s*(\S+)"
    r"|mpirun_daemon on (\S+):"
    r"|[Cc]onnection to (\S+) closed"
    r"|[Cc]onnect to host (\S+) port"
    r"|[Cc]onnection (?:closed|reset) by (?:\S+@)?(\S+) port"
    r"|[Cc]ould not resolve hostname ([^\s:]+)"
    r"|^(?:\S+@)?([^\s@:]+): Permission denied"
    r"|[Tt]imeout, server (\S+) not responding"
)
_RANK_ENDED = re.compile(
    r"noticed that process rank \d+ with PID \d+ on node \S+ exited on signal"
    r"|detected that one or more processes exited with non-zero status"
)


def read_output(role: str, exit_code: int | None, lines: Sequence[str]) -> Told | None:
    """Why mpirun, or a daemon of OpenMPI, ended by itself; None when it does not say.

    ``exit_code`` is None where a signal ended it.
    """
    if exit_code is None:
        return None
    if role == DAEMON:
        # It ends so when it loses mpirun, too.
        meaning = f"the {DAEMON} ended with exit code {exit_code}"
        return Told(FailureKind.NODE, meaning, "see its log and mpirun.log", is_follower=True)
    if role != MPIRUN:
        return None
    if _has(_LOST, lines):
        host = _host(_LOST_HOST, lines)
        meaning = f"mpirun lost the {DAEMON} on {host or 'another node'}"
        return Told(FailureKind.NODE, meaning, "check {host}: `dmesg`, network; then resume", host)
    if _has(_NOT_STARTED, lines):
        host = _host(_NOT_STARTED_HOST, lines)
        meaning = f"mpirun could not start the {DAEMON} on {host or 'another node'}"
        try_next = "see mpirun.log; `effnet-launch preflight` tests ssh to {host} (mpi-ssh)"
        return Told(FailureKind.NODE, meaning, try_next, host)
    if _has(_NO_ROUTE, lines):
        host = _host(_NO_ROUTE_HOST, lines)
        meaning = f"mpirun can't reach the {DAEMON} on {host or 'another node'}"
        return Told(FailureKind.NODE, meaning, "check network and firewall of {host}", host)
    if _has(_RANK_ENDED, lines):
        said = next(line for line in lines if _RANK_ENDED.search(line))
        return Told(FailureKind.CRASH, said.strip(), "see the logs of the ranks", is_follower=True)
    return None


def _has(pattern: re.Pattern[str], lines: Sequence[str]) -> bool:
    return any(map(pattern.search, lines))


def _host(pattern: re.Pattern[str], lines: Sequence[str]) -> str | None:
    found = filter(None, map(pattern.search, lines))
    return next((next(filter(None, one.groups())).rstrip(".,") for one in found), None)
