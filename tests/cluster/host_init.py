"""Process 1 of a test host: mounts what is the host's own, tells that it is ready, then reaps.

    unshare --net --uts --ipc --mount --pid --fork python host_init.py NAME FOLDER

FOLDER holds `passwd` and `hosts`, which become the host's; its home is /home/root.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

OWN = {"/run": "755", "/dev/shm": "1777", "/home": "755", "/tmp": "1777"}
ASIDE = "/mnt"


def run(*argv):
    subprocess.run(argv, check=True)


def keep():
    """What every host needs of this machine's and its own folders would hide -> where it belongs.

    The project and its environment may lie below /tmp or /home.
    """
    needed = {str(Path(__file__).resolve().parents[2]), sys.prefix, sys.base_prefix}
    hidden = [path for path in needed if any(Path(path).is_relative_to(own) for own in OWN)]
    outer = [p for p in hidden if not any(p != o and Path(p).is_relative_to(o) for o in hidden)]
    if not outer:
        return {}
    run("mount", "-t", "tmpfs", "tmpfs", ASIDE)
    kept = {f"{ASIDE}/{number}": path for number, path in enumerate(outer)}
    for aside, path in kept.items():
        os.mkdir(aside)
        run("mount", "--bind", path, aside)
    return kept


def main():
    name, folder = sys.argv[1:]
    files = {name: Path(folder, name).read_bytes() for name in ("passwd", "hosts")}
    home = {path.name: path.read_bytes() for path in Path(folder, "ssh").iterdir()}
    socket.sethostname(name)
    run("mount", "--make-rprivate", "/")
    kept = keep()
    for path, mode in OWN.items():
        run("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", path)
    for aside, path in kept.items():
        os.makedirs(path, exist_ok=True)
        run("mount", "--move", aside, path)
    if kept:
        run("umount", ASIDE)
    run("mount", "-t", "proc", "proc", "/proc")
    os.makedirs("/run/sshd", mode=0o755)
    for path, content in files.items():
        with open(f"/run/{path}", "wb") as file:
            file.write(content)
        run("mount", "--bind", f"/run/{path}", f"/etc/{path}")
    os.makedirs("/home/root/.ssh", mode=0o700)
    for file, content in home.items():
        with open(os.open(f"/home/root/.ssh/{file}", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
            out.write(content)
    run("ip", "link", "set", "lo", "up")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    print("ready", flush=True)
    os.close(1)
    while True:
        signal.sigwait({signal.SIGCHLD})
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass


if __name__ == "__main__":
    main()
