"""What mpirun prints at its end names the node and what happened there."""

from __future__ import annotations

import signal

import pytest

from launcher.core.diagnosis.failure import Death, explain, name_failure

LOST = """\
--------------------------------------------------------------------------
{name} has lost communication with a remote daemon.

  HNP daemon   : [[64514,0],0] on node alpha
  Remote daemon: [[64514,0],1] on node 10.0.0.12

This is usually due to either a failure of the TCP network
connection to the node, or possibly an internal failure of
the daemon itself. We cannot recover from this failure, and
therefore will terminate the job.
--------------------------------------------------------------------------
"""
NOT_STARTED_4 = """\
{ssh}
--------------------------------------------------------------------------
ORTE was unable to reliably start one or more daemons.
This usually is caused by:

* not finding the required libraries and/or binaries on
  one or more nodes. Please check your PATH and LD_LIBRARY_PATH
  settings, or configure OMPI with --enable-orterun-prefix-by-default
"""
NOT_STARTED_5 = """\
------------------------------------------------------------
A daemon failed to report back after being spawned. This could
be due to several factors, including inability to find the
daemon executable, or the executable was unable to find its

  Local host:    alpha
  Remote host:   10.0.0.12
  Daemon exit status: 255
"""
NO_ROUTE = """\
ORTE does not know how to route a message to the specified daemon
located on the indicated node:

  my node:   alpha
  target node:  10.0.0.12
"""
RANK_ENDED = (
    "{name} noticed that process rank 2 with PID 0 on node beta exited on signal 9 (Killed)."
)
NODES = {"10.0.0.11": "alpha", "10.0.0.12": "beta"}


def mpirun(text: str, code: int = 1, time_s: float = 10.0) -> Death:
    lines = tuple(text.splitlines())
    return Death("alpha", time_s, None, "mpirun", exit_code=code, last_lines=lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LOST.format(name="ORTE"), "lost the OpenMPI daemon on 10.0.0.12"),
        (LOST.format(name="PRTE"), "lost the OpenMPI daemon on 10.0.0.12"),
        (NO_ROUTE, "can't reach the OpenMPI daemon on 10.0.0.12"),
        (NOT_STARTED_5, "could not start the OpenMPI daemon on 10.0.0.12"),
        *(
            (NOT_STARTED_4.format(ssh=ssh), "could not start the OpenMPI daemon on 10.0.0.12")
            for ssh in (
                "Connection to 10.0.0.12 closed by remote host.",
                "ssh: connect to host 10.0.0.12 port 22: Connection refused",
                "Connection closed by 10.0.0.12 port 22",
                "kex_exchange_identification: x\nConnection reset by 10.0.0.12 port 22",
                "root@10.0.0.12: Permission denied (publickey).",
                "ssh: Could not resolve hostname 10.0.0.12: Name or service not known",
                "Timeout, server 10.0.0.12 not responding.",
                "mpirun_daemon on 10.0.0.12: no agent of this run answers below /r",
            )
        ),
    ],
)
def test_the_node_that_mpirun_names_is_blamed(text: str, words: str) -> None:
    failure = name_failure([mpirun(text, 205)], range(4), NODES)
    assert (failure.kind.value, failure.node, failure.rank) == ("node", "beta", None)
    assert words in failure.meaning
    assert "10.0.0.12" in failure.try_next


def test_without_a_name_in_the_output_no_other_node_is_blamed() -> None:
    text = NOT_STARTED_4.format(ssh="Host key verification failed.")
    failure = name_failure([mpirun(text)], range(4), NODES)
    assert (failure.kind.value, failure.node) == ("node", "alpha")
    assert "on another node" in failure.meaning


def test_a_daemons_own_end_comes_before_what_mpirun_says_and_ranks_that_mpirun_ended() -> None:
    daemon = Death("beta", 10.2, None, "OpenMPI daemon", signal=signal.SIGKILL)
    rank = Death("alpha", 10.0, 0, signal=signal.SIGKILL, is_seen=False)
    report = mpirun(LOST.format(name="ORTE"), 205, 10.1)
    failure = name_failure([rank, report, daemon], range(4), NODES)
    assert (failure.node, failure.rank, failure.signal) == ("beta", None, signal.SIGKILL)
    assert "dmesg` on beta" in failure.try_next
    failure = name_failure([rank, report], range(4), NODES)
    assert (failure.node, failure.rank, failure.kind.value) == ("beta", None, "node")
    assert "OOM" not in f"{failure.meaning} {failure.try_next}"


@pytest.mark.parametrize("name", ["mpirun", "prterun"])
def test_a_rank_that_mpirun_reports_is_named_by_its_own_node(name: str) -> None:
    rank = Death("beta", 10.1, 2, exit_code=4)
    report = mpirun(RANK_ENDED.format(name=name), 137, 10.0)
    assert name_failure([report, rank], range(4), NODES).rank == 2
    assert "process rank 2" in explain(report).meaning


def test_a_daemon_that_lost_mpirun_is_a_follower() -> None:
    daemon = Death("beta", 9.9, None, "OpenMPI daemon", exit_code=1)
    killed = Death("alpha", 10.0, None, "mpirun", signal=signal.SIGKILL)
    failure = name_failure([daemon, killed], range(4), NODES)
    assert (failure.node, failure.signal) == ("alpha", signal.SIGKILL)
    assert "the mpirun" in failure.meaning
