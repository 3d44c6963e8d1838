"""A real Slurm on namespace hosts: slurmctld on the first one, slurmd on each, munge on all.

This machine is the login node: it has a munge daemon of its own, and `environment` makes Slurm's
commands use it. `shared` is a folder that all hosts and this machine see under the same name.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.cluster.hosts import PATH, Cluster, ClusterError, Host, Seen, end_with_parent

NEEDED = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
}
START_S = 120.0
TIMEOUT_S, PATIENT_S = 10, 300
"""After which slurmctld sets a node down that does not answer: here, and by default."""
CONF = """\
ClusterName=test
SlurmctldHost={controller}({controller_address})
AuthType=auth/munge
AuthInfo=socket={munge_socket},cred_expire=5
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
Prolog={folder}/prolog
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
ReturnToService=2
FirstJobId={first_job}
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
SlurmctldTimeout=30
SlurmdTimeout={timeout_s}
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,requeue_delay=1
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
{nodes}
PartitionName=train Nodes={names} Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes={names} MaxTime=INFINITE State=UP PriorityTier=10
"""
PROLOG = """\
#!/bin/sh
test ! -e "{folder}/bad-$SLURMD_NODENAME"
"""
"""Fails on a node while that file is there (`Slurm.bad_prolog`)."""
CGROUP = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n"


class Slurm:
    """Slurm on the hosts of a cluster, started; `close` ends what the hosts do not."""

    def __init__(self, cluster: Cluster) -> None:
        _check_machine()
        self.hosts = cluster
        # /tmp and /home are each host's own.
        self.shared = Path(tempfile.mkdtemp(prefix="slurm-", dir="/var/tmp"))
        self._munged: subprocess.Popen[bytes] | None = None
        self._first_job = 0
        self._timeout_s = TIMEOUT_S
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def environment(self) -> dict[str, str]:
        """What Slurm's commands need on this machine."""
        return {"SLURM_CONF": str(self.shared / "login/slurm.conf")}

    def call(self, *argv: str) -> str:
        """One of Slurm's commands on this machine."""
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_S,
            env={**os.environ, **self.environment, "PATH": PATH},
        )
        if done.returncode:
            raise ClusterError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def job_state(self, job: str) -> str:
        """``RUNNING``, say; empty for a job that Slurm does not know any more."""
        with contextlib.suppress(ClusterError):
            fields = self.call("scontrol", "show", "job", "-o", job).split()
            return next(x for x in fields if x.startswith("JobState=")).partition("=")[2]
        return ""

    def processes(self) -> dict[str, set[Seen]]:
        """Of every host, without what belongs to Slurm and sshd."""
        ours = ("slurmctld", "slurmd", "munged", "sshd", "slurmstepd", "slurmscriptd")
        return {
            host.name: {
                seen for seen in host.processes() if not any(name in seen.command for name in ours)
            }
            for host in self.hosts.hosts
        }

    def is_as(self, before: dict[str, set[Seen]]) -> bool:
        """Whether no host has a process that it had not before."""
        return all(seen <= before[host] for host, seen in self.processes().items())

    def repair(self) -> None:
        """Every node is up and idle again, whatever a test has done."""
        self.power_on()
        with contextlib.suppress(ClusterError):
            self.call("scancel", "--full", "--user", "root")
        self.until(lambda: not self.call("squeue", "-h"), "jobs stay in the queue")
        self.until(self._gets_idle, "a node is not idle")

    def power_on(self) -> None:
        """All hosts are on, with their daemons; jobs stay as they are."""
        self.hosts.repair()
        for host in self.hosts.hosts:
            self._start_daemons(host)
        self.until(self._is_answering, "slurmctld does not answer")

    @contextlib.contextmanager
    def patient(self) -> Iterator[None]:
        """Within, slurmctld waits for a node that does not answer as long as it does by default."""
        self._set_timeout(PATIENT_S)
        try:
            yield
        finally:
            self._set_timeout(TIMEOUT_S)

    @contextlib.contextmanager
    def bad_prolog(self, host: str) -> Iterator[None]:
        """Within, slurmd's prolog fails on that node, which slurmctld drains then."""
        file = self.shared / f"bad-{host}"
        file.touch()
        try:
            yield
        finally:
            file.unlink()

    def kill(self, host: str, daemon: str) -> None:
        """SIGKILL to slurmd or slurmctld; returns when it is gone."""
        self[host].kill(lambda seen: seen.command.split(" ")[0].rpartition("/")[2] == daemon)

    def kill_slurmctld(self, job: str) -> None:
        """Once it has saved that the job runs: else it starts the job again when it is back, and
        slurmd, which knows that job, refuses it.
        """
        mark = secrets.token_hex()
        self.call("scontrol", "update", f"jobid={job}", f"comment={mark}")
        self.until(lambda: mark.encode() in self._saved_jobs(), "slurmctld does not save")
        self.kill("n1", "slurmctld")

    def until(self, is_true: Callable[[], object], why: str, limit_s: float = START_S) -> None:
        deadline = time.monotonic() + limit_s
        while not is_true():
            if time.monotonic() > deadline:
                raise ClusterError(f"{why}: {self._logs()}")
            time.sleep(0.05)

    def close(self) -> None:
        if self._munged is not None:
            self._munged.kill()
            self._munged.wait(START_S)
        shutil.rmtree(self.shared, ignore_errors=True)

    def _start(self) -> None:
        self.shared.chmod(0o755)
        (self.shared / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.shared / "munge.key").chmod(0o400)
        for name in ("nodes", "login"):
            (self.shared / name).mkdir()
            (self.shared / name / "cgroup.conf").write_text(CGROUP)
        (self.shared / "state").mkdir()
        (self.shared / "prolog").write_text(PROLOG.format(folder=self.shared))
        (self.shared / "prolog").chmod(0o755)
        argv = ["munged", "--foreground", "--force", f"--key-file={self.shared}/munge.key"]
        argv += [f"--socket={self._socket}", f"--pid-file={self.shared}/login/munged.pid"]
        argv += [f"--log-file={self.shared}/login/munged.log"]
        argv += [f"--seed-file={self.shared}/login/munged.seed"]
        self._munged = subprocess.Popen(
            argv,
            env={"PATH": PATH},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
        )
        for host in self.hosts.hosts:
            self._start_daemons(host)
        self.until(lambda: self._is_answering() and self._is_idle(), "Slurm does not start")

    def _start_daemons(self, host: Host) -> None:
        """Those that do not run there."""
        running = " ".join(seen.command for seen in host.processes())
        conf = f"SLURM_CONF={self.shared}/nodes/slurm.conf"
        if "munged" not in running:
            argv = ["munged", "--force", f"--key-file={self.shared}/munge.key"]
            argv += ["--socket=/run/munge.socket", "--pid-file=/run/munged.pid"]
            argv += ["--log-file=/run/munged.log", "--seed-file=/run/munged.seed"]
            host.run(*argv)
        if host is self.hosts.hosts[0] and "slurmctld" not in running:
            # One that was killed may not have saved its newest ids, and slurmd refuses a known one.
            self._first_job += 1000
            self._write_configuration()
            host.run("env", conf, "slurmctld")
        if "slurmd " not in running:
            host.run("env", conf, "slurmd", "-N", host.name)

    def _set_timeout(self, timeout_s: int) -> None:
        self._timeout_s = timeout_s
        self._write_configuration()
        self.call("scontrol", "reconfigure")

    def _write_configuration(self) -> None:
        for name, socket in (("nodes", "/run/munge.socket"), ("login", self._socket)):
            (self.shared / name / "slurm.conf").write_text(self._configuration(socket))

    def _configuration(self, munge_socket: object) -> str:
        hosts = self.hosts.hosts
        nodes = "\n".join(
            f"NodeName={host.name} NodeAddr={host.address} NodeHostname={host.name} CPUs=2"
            for host in hosts
        )
        return CONF.format(
            controller=hosts[0].name,
            controller_address=hosts[0].address,
            munge_socket=munge_socket,
            folder=self.shared,
            first_job=self._first_job,
            timeout_s=self._timeout_s,
            nodes=nodes,
            names=",".join(host.name for host in hosts),
        )

    @property
    def _socket(self) -> Path:
        return self.shared / "login/munge.socket"

    def _saved_jobs(self) -> bytes:
        with contextlib.suppress(OSError):  # it is being replaced
            return (self.shared / "state/job_state").read_bytes()
        return b""

    def _is_answering(self) -> bool:
        with contextlib.suppress(ClusterError):
            return "UP" in self.call("scontrol", "ping")
        return False

    def _is_idle(self) -> bool:
        states = self.call("sinfo", "-h", "-N", "-p", "train", "-o", "%t").split()
        return states == ["idle"] * len(self.hosts.hosts)

    def _gets_idle(self) -> bool:
        """Also a node that is drained at the end of its job, however late that is."""
        if self._is_idle():
            return True
        for host in self.hosts.hosts:
            with contextlib.suppress(ClusterError):  # it is up
                self.call("scontrol", "update", f"nodename={host.name}", "state=resume")
        return False

    def _logs(self) -> str:
        files = [*self.shared.glob("*.log"), *self.shared.glob("login/*.log")]
        return "\n".join(f"{file.name}: {file.read_text()[-600:]}" for file in files)


def _check_machine() -> None:
    for program, package in NEEDED.items():
        if shutil.which(program, path=PATH) is None:
            raise ClusterError(f"{program} is not here: apt-get install {package}")


@contextlib.contextmanager
def slurm_on(cluster: Cluster) -> Iterator[Slurm]:
    built = Slurm(cluster)
    try:
        yield built
    finally:
        built.close()
