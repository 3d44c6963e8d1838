"""Real hosts on one machine: each has its own net, UTS, IPC, mount and PID namespaces and its own
sshd, home, /tmp, /dev/shm and /run. A bridge with an address of ours joins them. Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.freezing import freeze

NEEDED = {"sshd": "openssh-server", "ssh-keygen": "openssh-client", "ip": "iproute2"}
LIMIT_S = 90
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
HOME = "/home/root"
SSHD_CONFIG = """\
Port 22
ListenAddress {address}
HostKey {home}/.ssh/host_key
AuthorizedKeysFile {home}/.ssh/authorized_keys
PidFile /run/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
MaxStartups 100
Subsystem sftp internal-sftp
"""


class ClusterError(RuntimeError):
    """This machine can't have test hosts; the text says why."""


@dataclass(frozen=True)
class Seen:
    """A process as the machine itself sees it."""

    pid: int
    start_ticks: int
    command: str = field(compare=False)
    """It changes with an exec."""


def call(*argv: str) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH}
    )
    if done.returncode:
        raise ClusterError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Host:
    """One host. `root` is its file system, seen from here."""

    def __init__(self, name: str, address: str, link: str, init: subprocess.Popen[str]) -> None:
        self.name = name
        self.address = address
        self.link = link
        self._init = init
        self.pid = _child_of(init.pid)
        self.root = Path(f"/proc/{self.pid}/root")
        self.home = self.root / HOME.lstrip("/")
        self._namespace = os.readlink(f"/proc/{self.pid}/ns/pid")

    def run(self, *argv: str) -> str:
        """Runs a command there, not through ssh."""
        return call("nsenter", "--target", str(self.pid), "--all", *argv)

    def processes(self) -> list[Seen]:
        """All of its processes but its first, found by namespace."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == self.pid:
                continue
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/pid") != self._namespace:
                    continue
                stat = Path(f"/proc/{name}/stat").read_text()
                fields = stat[stat.rfind(")") + 2 :].split()
                if fields[0] in "ZX":
                    continue
                command = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ")
                seen = Seen(int(name), int(fields[19]), command.decode("utf-8", "replace").strip())
                found.append(seen)
        return found

    def outside_pid(self, pid: int) -> int:
        """The pid that this machine knows the host's own process `pid` by."""
        for seen in self.processes():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{seen.pid}/status").read_text()
                line = next(x for x in status.splitlines() if x.startswith("NSpid:"))
                if int(line.split()[-1]) == pid:
                    return seen.pid
        raise ProcessLookupError(f"{self.name} has no process {pid}")

    def start_sshd(self, *options: str) -> None:
        """Returns when it listens, which is some time after its command has ended."""
        self.run("/usr/sbin/sshd", "-f", f"{HOME}/.ssh/sshd_config", *options)
        until(lambda: self.is_listening, f"the sshd of {self.name} does not listen")

    @property
    def is_listening(self) -> bool:
        return any("[listener]" in seen.command for seen in self.processes())

    def restart_sshd(self, *settings: str) -> None:
        """With other settings, and a log (`sshd_log`)."""
        self.kill_sshd()
        options = [word for setting in settings for word in ("-o", setting)]
        self.start_sshd("-E", "/run/sshd.log", "-o", "LogLevel=VERBOSE", *options)

    def sshd_log(self) -> str:
        """Since `restart_sshd` of this test."""
        return (self.root / "run/sshd.log").read_text()

    def kill_sshd(self) -> None:
        """The listener and all its connections, at once."""
        self.kill(lambda seen: seen.command.startswith(("sshd:", "/usr/sbin/sshd")))

    def kill(self, is_meant: Callable[[Seen], bool]) -> None:
        """SIGKILL to these; returns when they are gone."""

        def are_gone() -> bool:
            # Again each time: one may have started another one before it was stopped.
            kill(found := [*filter(is_meant, self.processes())])
            return not found

        until(are_gone, f"processes of {self.name} do not end")

    def kill_sessions(self) -> None:
        """All SSH connections to it; the listener stays."""
        found = [seen for seen in self.processes() if seen.command.startswith("sshd:")]
        kill([seen for seen in found if "[listener]" not in seen.command])

    def power_off(self) -> None:
        """Nobody hears of it; its disks stay. `Cluster.repair` starts it again."""
        self.link_down()
        self.kill(lambda seen: True)
        for left in (self.root / "dev/shm").iterdir():
            left.unlink()

    def slow_down(self, kbit: int) -> None:
        """A link of that many kbit/s to it, with a queue of up to half a second."""
        self.link_speed()
        limits = ("rate", f"{kbit}kbit", "burst", "3000", "latency", "500ms")
        call("tc", "qdisc", "add", "dev", self.link, "root", "tbf", *limits)

    def link_speed(self) -> None:
        """As fast as it can again."""
        with contextlib.suppress(ClusterError):
            call("tc", "qdisc", "del", "dev", self.link, "root")

    def link_down(self) -> None:
        call("ip", "link", "set", self.link, "down")

    def link_up(self) -> None:
        call("ip", "link", "set", self.link, "up")

    def end(self) -> None:
        """The end of a namespace's first process is the end of all in it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._init.wait(LIMIT_S)
        if self._init.stdout is not None:
            self._init.stdout.close()


class Cluster:
    """The hosts, and a home of ours with a key that they take and the host keys that they have."""

    def __init__(self, names: tuple[str, ...]) -> None:
        _check_machine()
        self.folder = Path(tempfile.mkdtemp(prefix="cluster-", dir="/tmp"))
        self.hosts: list[Host] = []
        self._bridge = ""
        try:
            self._build(names)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    @property
    def home(self) -> Path:
        """A home for clients and supervisors: .ssh/id_ed25519 and .ssh/known_hosts."""
        return self.folder / "home"

    def processes(self) -> dict[str, set[Seen]]:
        """Of every host, without its sshd's listener."""
        return {
            host.name: {s for s in host.processes() if "sshd" not in s.command}
            for host in self.hosts
        }

    def repair(self) -> None:
        """Links up and an sshd listening everywhere, whatever a test has done."""
        for host in self.hosts:
            host.link_up()
            host.link_speed()
            if not host.is_listening:
                host.start_sshd()

    def close(self) -> None:
        for host in self.hosts:
            host.end()
        if self._bridge:
            with contextlib.suppress(ClusterError):
                call("ip", "link", "del", self._bridge)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _build(self, names: tuple[str, ...]) -> None:
        tag, subnet = _free_subnet()
        self.address = f"{subnet}.1"
        call("ip", "link", "add", f"ec{tag}", "type", "bridge")
        self._bridge = f"ec{tag}"
        call("ip", "addr", "add", f"{self.address}/24", "dev", self._bridge)
        call("ip", "link", "set", self._bridge, "up")
        addresses = {name: f"{subnet}.{11 + number}" for number, name in enumerate(names)}
        self._make_keys(addresses)
        started = [(name, self._start(name, addresses)) for name in names]
        for number, (name, init) in enumerate(started):
            if init.stdout is None or init.stdout.readline() != "ready\n":
                why = (self.folder / name / "init.log").read_text().strip()
                raise ClusterError(f"host {name} does not come up: {why}")
            link = f"ec{tag}h{number}"
            host = Host(name, addresses[name], link, init)
            self.hosts.append(host)
            call("ip", "link", "add", link, "type", "veth", "peer", "name", f"{link}i")
            call("ip", "link", "set", link, "master", self._bridge, "up")
            call("ip", "link", "set", f"{link}i", "netns", str(host.pid), "name", "eth0")
            host.run("ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")
            host.run("ip", "route", "add", "default", "via", self.address)
        for host in self.hosts:
            host.start_sshd()

    def _make_keys(self, addresses: dict[str, str]) -> None:
        ours = self.home / ".ssh"
        ours.mkdir(parents=True, mode=0o700)
        _make_key(ours / "id_ed25519")
        known = ""
        for name, address in addresses.items():
            folder = self.folder / name / "ssh"
            folder.mkdir(parents=True)
            _make_key(folder / "host_key")
            known += f"{address} {(folder / 'host_key.pub').read_text()}"
            (folder / "sshd_config").write_text(SSHD_CONFIG.format(address=address, home=HOME))
            shutil.copy(ours / "id_ed25519.pub", folder / "authorized_keys")
            # From node to node, as mpirun needs it.
            shutil.copy(ours / "id_ed25519", folder)
            shell = "root:x:0:0:root:" + HOME + ":/bin/bash\n"
            sshd = "sshd:x:105:65534::/run/sshd:/usr/sbin/nologin\n"
            (self.folder / name / "passwd").write_text(shell + sshd)
            lines = [f"{other} {host}\n" for host, other in addresses.items()]
            (self.folder / name / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))
        (ours / "known_hosts").write_text(known)

    def _start(self, name: str, addresses: dict[str, str]) -> subprocess.Popen[str]:
        script = str(Path(__file__).with_name("host_init.py"))
        argv = ["unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--kill-child"]
        argv += [sys.executable, script, name, str(self.folder / name)]
        with (self.folder / name / "init.log").open("w") as log:
            return subprocess.Popen(
                argv,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={"PATH": PATH},
                preexec_fn=end_with_parent,
            )


def end_with_parent() -> None:
    """A test session that is killed takes its processes along (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise ClusterError("test hosts are network namespaces: run these tests as root")
    for program, package in NEEDED.items():
        if shutil.which(program, path=PATH) is None:
            raise ClusterError(f"{program} is not here: apt-get install {package}")


def _free_subnet() -> tuple[str, str]:
    """(a name's middle part, the first three numbers), which no other session has now."""
    used = json.dumps(json.loads(call("ip", "-j", "addr")))
    for _ in range(100):
        one, two = random.randrange(100, 250), random.randrange(1, 250)
        subnet = f"10.{one}.{two}"
        if f'"{subnet}.' not in used:
            return f"{one:02x}{two:02x}{os.getpid() % 4096:03x}", subnet
    raise ClusterError("no free subnet found")


def _make_key(path: Path) -> None:
    call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path))


def kill(found: Sequence[Seen]) -> None:
    """Stops them first: none of them sees the end of another. One may have ended by itself."""
    freeze(*(seen.pid for seen in found))
    for seen in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(seen.pid, signal.SIGKILL)


def until(is_true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_true():
        if time.monotonic() > deadline:
            raise ClusterError(what)
        time.sleep(0.01)


def _child_of(pid: int) -> int:
    def children() -> list[str]:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return []

    until(children, "a host's first process is not there")
    return int(children()[0])


@contextlib.contextmanager
def cluster(*names: str) -> Iterator[Cluster]:
    built = Cluster(names)
    try:
        yield built
    finally:
        built.close()
