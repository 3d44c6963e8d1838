"""The questions to a node before a start, and the facts in its reply. Sent as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PACKAGES = ("effnet-tui", "mindspore", "numpy")


@dataclass(frozen=True)
class Question:
    """The paths and addresses to check. Paths are the node's; a leading ``~`` is expanded.

    ``bind_address`` and ``bind_port`` are set for the master's node; port 0 is a free one.
    """

    target: str
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """The values that ``environment`` leaves out."""
    setup: tuple[str, ...] = ()
    run_folder: str = ""
    checkpoint_folder: str = ""
    working_folder: str = ""
    data_path: str = ""
    weights: str = ""
    """The checkpoint that training begins with."""
    bind_address: str = ""
    bind_port: int = 0
    reach_address: str = ""
    """The master's address, for the other nodes: they try a port there."""
    mpirun: str = ""
    mpi_daemon: str = ""
    """``orted`` (OpenMPI 4) or ``prted`` (5): what mpirun starts through ssh."""
    with_devices: bool = False


@dataclass(frozen=True)
class Folder:
    """A folder that a run writes, or the nearest existing one above it."""

    path: str
    exists: bool = False
    is_writable: bool = False
    free_bytes: int | None = None


@dataclass(frozen=True)
class Split:
    """The class folders of one part of the data; ``name`` is empty if there are no parts."""

    name: str
    class_count: int
    digest: str


@dataclass(frozen=True)
class Data:
    """The data folder. ``problem``: why it could not be read."""

    path: str
    problem: str = ""
    splits: tuple[Split, ...] = ()


@dataclass(frozen=True)
class Weights:
    """The checkpoint that training begins with. ``problem``: why it cannot be used."""

    path: str
    problem: str = ""
    variant: str = ""
    class_count: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Interface:
    """One network interface with its addresses."""

    name: str
    addresses: tuple[str, ...]
    is_up: bool


@dataclass(frozen=True)
class Bind:
    """Whether the master's address and port can be used; ``holder`` is the process that has it."""

    problem: str = ""
    holder: str = ""
    is_foreign_address: bool = False


@dataclass(frozen=True)
class Route:
    """A test connection to the master's address; a refusal shows that packets arrive."""

    port: int
    from_address: str = ""
    problem: str = ""
    is_dropped: bool = False


@dataclass(frozen=True)
class MachineFacts:
    """What a node reports about itself, without its devices."""

    host_name: str
    user: str
    home: str
    python: str
    python_version: str
    packages: Mapping[str, str]
    time_s: float
    interfaces: tuple[Interface, ...] = ()
    folders: Mapping[str, Folder] = field(default_factory=dict)
    data: Data | None = None
    weights: Weights | None = None
    bind: Bind | None = None
    route: Route | None = None
    setup_problems: tuple[str, ...] = ()
    openmpi: str = ""
    """The first line of ``mpirun --version``; empty if there is no such program."""


@dataclass(frozen=True)
class Peer:
    """A test of the first node's ssh to another one: ``problem`` is ssh's message."""

    node: str
    problem: str = ""
    lacks_daemon: bool = False
