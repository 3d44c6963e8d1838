"""What goes wrong, when: STANDIN_FAULTS is a JSON list of objects.

`rank` (all when left out), `step` (global, before it is taken; 0 is the start), `attempt` (any when
left out; 0 is a job), and `do`: kill (SIGKILL itself), exit (`code`), raise (`text`), fault
(`kind`), hang (in compute, for
`seconds`), lock and loader (hang in data), stop (SIGSTOP itself), ignore_term, fork (`ignore_term`,
`session`, `clean_env`), half_checkpoint, garbage, huge_line (`bytes`), lines (`count`), segv,
compile (`seconds`), no_save (hangs in the checkpoint), linger (takes its leave `seconds` late; the
step is the last one's number plus 1), crash_in_leaving (the same place), lose_line and double_line
(what it notes in its witness is not, or twice, in its log: so that a check is seen to fail), shm
(leaves shared memory, of both kinds).
"""

import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time

from effnet.witness import put

_kept = []


def attempt():
    """0 in a job."""
    number = os.environ.get("EFFNET_TOKEN", "x/1").rpartition("/")[2]
    return int(number) if number.isdigit() else 0


def wanted(rank, step):
    for fault in json.loads(os.environ.get("STANDIN_FAULTS", "[]")):
        if (
            fault.get("rank", rank) == rank
            and fault.get("step", 0) == step
            and fault.get("attempt", attempt()) == attempt()
        ):
            yield fault


def commit(rank, step, heartbeat):
    """Does all that is due for this rank before this step."""
    for fault in wanted(rank, step):
        _DO[fault["do"]](fault, step, heartbeat)


def _kill(fault, step, heartbeat):
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(fault, step, heartbeat):
    os._exit(fault.get("code", 3))


def _raise(fault, step, heartbeat):
    raise RuntimeError(fault.get("text", f"the stand-in fails at step {step}"))


def _fault(fault, step, heartbeat):
    kind = fault.get("kind", "loss")
    print(f"fault: kind:[{kind}], epoch:[0], step:[{step}], text:[the loss is nan]", flush=True)
    sys.exit(4)


def _hang(fault, step, heartbeat):
    heartbeat("compute", step)
    time.sleep(fault.get("seconds", 3600))


def _lock(fault, step, heartbeat):
    """Waits for a lock that another thread never gives back."""
    heartbeat("data", step)
    lock = threading.Lock()
    lock.acquire()
    with lock:
        pass


def _loader(fault, step, heartbeat):
    """Waits for an image that a thread does not deliver."""
    heartbeat("data", step)
    thread = threading.Thread(target=time.sleep, args=(fault.get("seconds", 3600),), daemon=True)
    thread.start()
    thread.join()


def _compile(fault, step, heartbeat):
    heartbeat("compile", step)
    time.sleep(fault.get("seconds", 60))


def _stop(fault, step, heartbeat):
    heartbeat("compute", step)
    os.kill(os.getpid(), signal.SIGSTOP)


def _ignore_term(fault, step, heartbeat):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _fork(fault, step, heartbeat):
    """A grandchild that no process waits for; options say what it leaves behind."""
    code = "import os,signal,time\n"
    if fault.get("ignore_term"):
        code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    code += f"os.fork()\ntime.sleep(3600)  # {os.environ.get('STANDIN_MARK')}\n"
    environment = {} if fault.get("clean_env") else None
    with open(os.devnull, "w") as null:
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            start_new_session=bool(fault.get("session")),
            stdout=null,
            stderr=null,
        )


def _garbage(fault, step, heartbeat):
    sys.stdout.flush()
    put(bytes(range(256)) * 64 + b"\nepoch: [ \xff\xfe broken\n")


def _huge_line(fault, step, heartbeat):
    sys.stdout.flush()
    put(b"x" * fault.get("bytes", 10_000_000) + b"\n")


def _lines(fault, step, heartbeat):
    sys.stdout.flush()
    put(b"".join(b"burst %d\n" % i for i in range(fault.get("count", 1000))))


def _lose_line(fault, step, heartbeat):
    sys.stdout.note(b"a line that is lost\n")


def _double_line(fault, step, heartbeat):
    sys.stdout.flush()
    line = b"a line that is there twice\n"
    put(line)
    os.write(1, line)


def _segv(fault, step, heartbeat):
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def _shm(fault, step, heartbeat):
    """Mapped by this process and never removed."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = libc.shmget(0, 4096, 0o1600)
    libc.shmat.restype = ctypes.c_void_p
    libc.shmat(number, None, 0)
    with open(f"/dev/shm/standin-{os.getpid()}", "w+b") as file:
        file.truncate(4096)
        _kept.append(mmap.mmap(file.fileno(), 4096))
    print(f"shm: system v {number}, {file.name}", flush=True)


def _nothing(fault, step, heartbeat):
    """Looked at elsewhere."""


_DO = {
    "kill": _kill,
    "exit": _exit,
    "raise": _raise,
    "fault": _fault,
    "hang": _hang,
    "compile": _compile,
    "lock": _lock,
    "loader": _loader,
    "stop": _stop,
    "ignore_term": _ignore_term,
    "fork": _fork,
    "garbage": _garbage,
    "huge_line": _huge_line,
    "lines": _lines,
    "segv": _segv,
    "lose_line": _lose_line,
    "double_line": _double_line,
    "shm": _shm,
    "half_checkpoint": _nothing,
    "no_save": _nothing,
    "linger": _nothing,
    "crash_in_leaving": _nothing,
}
