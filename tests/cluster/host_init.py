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


def run(*argv):
    subprocess.run(argv, check=True)


def main():
    name, folder = sys.argv[1:]
    files = {name: Path(folder, name).read_bytes() for name in ("passwd", "hosts")}
    home = {path.name: path.read_bytes() for path in Path(folder, "ssh").iterdir()}
    socket.sethostname(name)
    run("mount", "--make-rprivate", "/")
    for path, mode in (("/run", "755"), ("/dev/shm", "1777"), ("/home", "755"), ("/tmp", "1777")):
        run("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", path)
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
