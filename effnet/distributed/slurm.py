"""Ranks that a plain `srun` starts: their place from Slurm's own variables, and their scheduler.

    srun -n2 python -m effnet train --dataset_path DIR

Slurm numbers the tasks of a step and names its nodes. MindSpore also needs a scheduler, at an
address and a port that all ranks know: rank 0 starts it beside itself. The port follows from the
numbers of job and step. MindSpore's own variables, where they are set, have precedence.
Source: https://slurm.schedmd.com/srun.html, "OUTPUT ENVIRONMENT VARIABLES".
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping

from effnet import scheduler
from effnet.distributed.group import STARTERS, GroupError

PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to clients."""

END_S = 30.0
"""How long rank 0 waits for the scheduler, which ends when all ranks are done."""
FAILED_END_S = 5.0

_LIMITS = {
    # As the launcher's: a rank that compiles is not lost, and retries come after 1 s.
    "MS_TOPO_TIMEOUT": "600",
    "MS_NODE_TIMEOUT": "300",
    "MS_RECEIVE_MSG_TIMEOUT": "300",
    "MS_RETRY_INTERVAL_LOWER": "1",
    "MS_RETRY_INTERVAL_UPPER": "1",
}
_FOR_RANKS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def is_step(environment: Mapping[str, str]) -> bool:
    """Whether `srun` started this process as one of several tasks, and nothing else the ranks."""
    if any(name in environment for name in STARTERS):
        return False
    count = environment.get("SLURM_STEP_NUM_TASKS", "")
    return "SLURM_STEP_ID" in environment and count.isdigit() and int(count) > 1


@contextlib.contextmanager
def step(distributed: bool | None) -> Iterator[bool]:
    """-> whether this rank trains with others: `distributed`, or by default as Slurm says.

    Enter it before MindSpore is imported, and leave it when all results are written. In a step of
    several tasks it sets MindSpore's variables, and rank 0 starts the scheduler. Raises
    `GroupError`.
    """
    if not is_step(os.environ):
        yield bool(distributed)
        return
    if distributed is False:
        yield False
        return
    os.environ.update(variables(os.environ))
    if os.environ["RANK_ID"] != "0":
        yield True
        return
    process = _start_scheduler()
    limit_s = FAILED_END_S

    def end() -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
        process.kill()
        process.wait()

    # MindSpore leaves the cluster in a handler that it registers later, so before this one.
    atexit.register(end)
    yield True
    limit_s = END_S


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """MindSpore's variables for this task of a step; those that are set stay. Raises `GroupError`.

    The address of the first node, which has task 0, must be an IP address.
    """
    try:
        rank, count = environment["SLURM_PROCID"], environment["SLURM_STEP_NUM_TASKS"]
        local, node = int(environment["SLURM_LOCALID"]), int(environment["SLURM_NODEID"])
        nodes = environment["SLURM_STEP_NODELIST"]
        job, number = environment["SLURM_JOB_ID"], environment["SLURM_STEP_ID"]
    except (KeyError, ValueError) as error:
        raise GroupError(
            f"a variable of Slurm is missing or no number: {error}",
            hint="start the ranks with srun, or set MindSpore's variables (MS_ROLE, MS_SCHED_HOST)",
        ) from None
    each = tasks_per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    is_several = len(each) > 1 or environment.get("SLURM_STEP_NUM_NODES", "1") != "1"
    found = {
        "MS_ROLE": "MS_WORKER",
        "MS_NODE_ID": rank,
        "MS_WORKER_NUM": count,
        "MS_SCHED_PORT": str(port(job, number)),
        "RANK_ID": rank,
        "RANK_SIZE": count,
        "LOCAL_WORLD_SIZE": str(each[node] if node < len(each) else int(count)),
        "DEVICE_ID": str(_device(environment, local)),
        **_LIMITS,
    }
    found = {name: value for name, value in found.items() if name not in environment}
    if "MS_SCHED_HOST" not in environment:
        found["MS_SCHED_HOST"] = _address(nodes, node == 0) if is_several else "127.0.0.1"
    return found


def port(job: str, step: str) -> int:
    """The same for all ranks of a step, and hardly ever that of another step."""
    return PORTS[zlib.crc32(f"{job}.{step}".encode()) % len(PORTS)]


def first_host(nodes: str) -> str:
    """The first name of a node list: `n1` of ``n[1-3,7],m2``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first.group(0) if first else "")


def tasks_per_node(text: str) -> list[int]:
    """``2(x3),1`` is three nodes with two tasks and one with one."""
    found: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        found += [int(count)] * int(times or 1)
    return found


def _device(environment: Mapping[str, str], local: int) -> int:
    """Slurm may show each task one device only, whose number is then 0."""
    for name in ("CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"):
        if shown := environment.get(name):
            return local % len(shown.split(","))
    return local


def _address(nodes: str, is_here: bool) -> str:
    """The IP address of the first node; `is_here`: this is that node. Raises `GroupError`."""
    name = first_host(nodes)
    try:
        address = socket.gethostbyname(name)
        if is_here and address.startswith("127."):
            # Some systems resolve their own name to a loopback address.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((os.environ.get("SLURM_LAUNCH_NODE_IPADDR", ""), 9))
                address = probe.getsockname()[0]
    except OSError as error:
        raise GroupError(
            f"the address of {name}, the step's first node, is not known: {error}",
            hint="set MS_SCHED_HOST to its IP address",
        ) from error
    return address


def _start_scheduler() -> subprocess.Popen[bytes]:
    """In the background; its messages come on the error output of rank 0."""
    own = os.getpid()

    def prepare() -> None:
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != own:
            os._exit(1)
        # Slurm signals all processes of a step; the ranks still need it while they save.
        for number in _FOR_RANKS:
            signal.signal(number, signal.SIG_IGN)

    return subprocess.Popen(
        [sys.executable, "-m", scheduler.__name__],
        env={"GLOG_v": "3", **os.environ, "MS_ROLE": "MS_SCHED", "MS_NODE_ID": "sched"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=prepare,
    )
