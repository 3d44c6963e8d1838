"""Facts of this machine: packages, folders, data, addresses, a port."""

from __future__ import annotations

import errno
import getpass
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import random
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from launcher.core.checks.facts import (
    PACKAGES,
    Bind,
    Data,
    Folder,
    Interface,
    MachineFacts,
    Question,
    Route,
    Split,
)
from launcher.machine.environment import after_setup
from launcher.machine.weights import weights
from launcher.process import private
from launcher.process.tools import output, program

SPLITS = ("train", "val")
SPLIT_WORDS = {*SPLITS, "training", "valid", "validation", "test", "testing"}
"""As `effnet.data.folders` has it, which a launcher without the trainer lacks."""
MASTER_PORTS = range(20000, 32000)
"""Ports for the master: below those that the kernel gives to clients."""
ROUTE_LIMIT_S = 4.0


def machine(question: Question) -> MachineFacts:
    """Everything except devices, which take seconds. Paths are this machine's."""
    environment, problems = after_setup(question)
    return MachineFacts(
        host_name=socket.gethostname(),
        user=_user(),
        home=os.path.expanduser("~"),
        python=sys.executable,
        python_version=platform.python_version(),
        packages=_packages(),
        time_s=time.time(),
        interfaces=_interfaces(),
        folders=_folders(question),
        data=data(question.data_path, question.working_folder) if question.data_path else None,
        weights=weights(question.weights, question.working_folder) if question.weights else None,
        bind=bind(question.bind_address, question.bind_port) if question.bind_address else None,
        route=route(question.reach_address, question.bind_port) if question.reach_address else None,
        setup_problems=problems,
        openmpi=_openmpi(question.mpirun, environment) if question.mpirun else "",
    )


def data(path: str, working_folder: str = "") -> Data:
    """The class folders below a data folder; images are not counted."""
    root = os.path.join(os.path.expanduser(working_folder), os.path.expanduser(path))
    root = os.path.abspath(root)
    try:
        found = [(name, _classes(os.path.join(root, name))) for name in SPLITS]
        parts = [(name, classes) for name, classes in found if classes]
        if not parts:
            # Without `train` and `val` the folder itself is the one part.
            parts = [("", _classes(root, must_exist=True))]
    except OSError as error:
        return Data(root, f"{error.filename or root}: {error.strerror or error}")
    if not parts[0][1]:
        return Data(root, f"{root} has no class folders (FOLDER/train/CLASS/IMAGE.jpg)")
    if len(parts[0][1]) > 1 and {name.lower() for name in parts[0][1]} <= SPLIT_WORDS:
        names = " and ".join(parts[0][1])
        return Data(root, f"{root} has {names} in place of classes (FOLDER/train/CLASS/IMAGE.jpg)")
    return Data(
        root,
        splits=tuple(Split(name, len(classes), _digest(classes)) for name, classes in parts),
    )


def _classes(folder: str, must_exist: bool = False) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            raise
        return []


def _digest(classes: list[str]) -> str:
    text = b"\0".join(map(os.fsencode, classes))
    return hashlib.sha256(text).hexdigest()[:16]


def bind(address: str, port: int) -> Bind:
    """Whether the scheduler could listen there."""
    # The scheduler does the same: a port in TIME_WAIT is free for it.
    error = bind_error(address, port, reuse=True)
    if error is None:
        return Bind()
    if error.errno == errno.EADDRNOTAVAIL:
        return Bind(str(error.strerror), is_foreign_address=True)
    return Bind(str(error.strerror or error), _listener(port))


def bind_error(address: str, port: int, *, reuse: bool = False) -> OSError | None:
    """Why no socket can be bound there; None when the port is free."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        try:
            sock.bind((address, port))
        except OSError as error:
            return error
    return None


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def route(address: str, port: int) -> Route:
    """Connects to the scheduler's port. Nothing listens there yet, so a refusal is success."""
    port = port or random.choice(MASTER_PORTS)
    try:
        with socket.create_connection((address, port), ROUTE_LIMIT_S) as sock:
            return Route(port, sock.getsockname()[0])
    except ConnectionRefusedError:
        return Route(port, _local_address(address))
    except TimeoutError:
        return Route(port, problem=f"no answer within {ROUTE_LIMIT_S:g} s", is_dropped=True)
    except OSError as error:
        return Route(port, problem=str(error.strerror or error))


def _local_address(address: str) -> str:
    """The address that this machine would send from; no packet is sent."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((address, 9))
            return str(sock.getsockname()[0])
        except OSError:
            return ""


def _listener(port: int) -> str:
    """The process that listens on a port, if this user may see it."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                name = psutil.Process(connection.pid).name()
                return f"process {connection.pid} ({name})"
    except psutil.Error:
        return ""
    return ""


def _user() -> str:
    try:
        return f"{getpass.getuser()} (uid {os.getuid()})"
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _packages() -> dict[str, str]:
    """From their metadata: importing MindSpore takes seconds."""
    versions = {name: package_version(name) for name in PACKAGES}
    return {name: version for name, version in versions.items() if version}


def package_version(name: str) -> str:
    """Empty when it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def package_folder(name: str) -> Path | None:
    """Where a package is, without importing it; None when it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _interfaces() -> tuple[Interface, ...]:
    up = {name: facts.isup for name, facts in psutil.net_if_stats().items()}
    families = (socket.AF_INET, socket.AF_INET6)
    return tuple(
        Interface(
            name,
            tuple(a.address.partition("%")[0] for a in addresses if a.family in families),
            up.get(name, False),
        )
        for name, addresses in psutil.net_if_addrs().items()
    )


def _folders(question: Question) -> dict[str, Folder]:
    paths = {
        "run": question.run_folder,
        "checkpoint": question.checkpoint_folder,
        "working": question.working_folder,
    }
    return {use: folder(path) for use, path in paths.items() if path}


def folder(path: str) -> Folder:
    """A folder that a run creates when it is missing: then the nearest one above it counts."""
    full = Path(os.path.expanduser(path)).absolute()
    nearest = full
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    try:
        system = os.statvfs(nearest)
    except OSError:
        return Folder(str(full), full.is_dir(), writable)
    # For root `access` is true in a read-only file system, too.
    writable = writable and not system.f_flag & os.ST_RDONLY
    return Folder(str(full), full.is_dir(), writable, system.f_bavail * system.f_frsize)


def _openmpi(name: str, environment: Mapping[str, str]) -> str:
    found = program(name, environment)
    if found is None:
        return ""
    return output([found, "--version"], environment)[0].strip().partition("\n")[0]


def make_folder(path: str) -> str:
    """Creates a folder and its parents. -> its absolute path. Raises `OSError`."""
    full = Path(os.path.expanduser(path)).absolute()
    private.make_folder(full)
    return str(full)
