"""`python -m launcher.rank`: prepares one process of a run, then becomes it.

Whatever starts a rank (our agent, mpirun, srun), this runs in between, so that ownership, log,
heartbeat, CPU binding and lifetime are the same for each of them. The process keeps its pid: the
trainer that is exec'ed here is the process that the agent waits on.

    python -m launcher.rank --log FILE [--heartbeat FILE] [--cwd DIR] [--cpus 0,1] [--parent PID]
                            [--python-path PATH] -- PROGRAM ARGUMENT...

The environment must hold `EFFNET_TOKEN`; descendants inherit it, which is how they are found again.
Exit codes of its own: 2 wrong usage, 126 the program cannot be run, 127 it is not there.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import sys
from typing import NoReturn

TOKEN = "EFFNET_TOKEN"
HEARTBEAT = "EFFNET_HEARTBEAT"
CPUS_BOUND = "EFFNET_CPUS_BOUND"
PR_SET_PDEATHSIG = 1


def main(argv: list[str] | None = None) -> int:
    program = prepare(argv)
    if isinstance(program, int):
        return program
    try:
        _become(program)
    except OSError as error:
        return _cannot_run(program, error)


def prepare(argv: list[str] | None) -> list[str] | int:
    """Makes this process one of a run. -> the program that it is to become, or an exit code."""
    arguments = _parser().parse_args(argv)
    if not os.environ.get(TOKEN):
        print(f"launcher.rank: {TOKEN} is not set", file=sys.stderr)
        return 2
    program: list[str] = arguments.program
    if program and program[0] == "--":
        program = program[1:]
    # A profile's `~/` is the home of the node.
    program = [os.path.expanduser(word) for word in program]
    if not program:
        print("launcher.rank: no program after --", file=sys.stderr)
        return 2
    os.umask(0o077)  # mpirun's daemons have that of a login shell
    _own_session()
    _end_with_parent(arguments.parent)
    try:
        open_log(arguments.log)
    except OSError as error:
        print(f"launcher.rank: cannot open the log {arguments.log}: {error}", file=sys.stderr)
        return 126
    if arguments.heartbeat:
        os.environ[HEARTBEAT] = arguments.heartbeat
    if arguments.python_path is not None:
        # A program of the user's imports as without us.
        os.environ["PYTHONPATH"] = arguments.python_path
        os.environ.pop("PYTHONSAFEPATH", None)
    try:
        if arguments.cwd:
            os.chdir(os.path.expanduser(arguments.cwd))
        _bind(arguments.cpus)
    except OSError as error:
        return _cannot_run(program, error)
    return program


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launcher.rank", allow_abbrev=False)
    parser.add_argument("--log", required=True)
    parser.add_argument("--heartbeat")
    parser.add_argument("--cwd")
    parser.add_argument("--cpus", default="", help="CPU numbers to bind to, comma separated")
    parser.add_argument("--python-path", help="PYTHONPATH of a program that is not ours")
    parser.add_argument("--parent", type=int, help="pid whose death ends this process")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    return parser


def _own_session() -> None:
    if os.getsid(0) != os.getpid():
        # A process group leader (a job of an interactive shell) may not call setsid.
        with contextlib.suppress(PermissionError):
            os.setsid()


def _end_with_parent(parent: int | None) -> None:
    """SIGTERM at the death of the parent: it works even when nothing else of ours is left."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        sys.exit(143)  # it died before prctl took effect


def open_log(path: str) -> None:
    """This process's output goes there from now on. Raises `OSError`."""
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def _bind(cpus: str) -> None:
    wanted = {int(cpu) for cpu in cpus.split(",") if cpu}
    allowed = wanted & os.sched_getaffinity(0)
    if allowed:
        os.sched_setaffinity(0, allowed)
        # The trainer must not divide these cores by the number of ranks again.
        os.environ[CPUS_BOUND] = "1"


def _become(program: list[str]) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        # Python ignores these, and an ignored signal stays ignored through exec.
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.sep not in program[0]:
        os.execvpe(program[0], program, os.environ)
    os.execve(program[0], program, os.environ)


def _cannot_run(program: list[str], error: OSError) -> int:
    """The rank's fault line, in the report grammar: the log is where everybody looks."""
    is_missing = isinstance(error, FileNotFoundError)
    text = f"{error.filename} is not there" if is_missing else f"cannot run {program[0]}: {error}"
    print(f"fault: kind:[config], text:[{text}]", flush=True)
    return 127 if is_missing else 126


if __name__ == "__main__":
    sys.exit(main())
