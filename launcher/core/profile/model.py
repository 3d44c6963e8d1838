"""A cluster profile: its nodes, how a run starts there, its limits (docs/reference/profiles.md)."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    model_validator,
)

from launcher.core.profile.address import is_loopback
from launcher.core.profile.launch import Launch
from launcher.core.profile.program import Program
from launcher.core.profile.secrets import HIDDEN, Secrets, split

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=10_000_000)]
Scalar = bool | int | float | str


OPENSSH = "openssh"
RemoteTransport = Literal["ssh", "openssh"]
"""Through paramiko, or through the ssh program."""


class DeviceTarget(str, Enum):
    """What the ranks compute on."""

    CPU = "CPU"
    GPU = "GPU"
    ASCEND = "Ascend"


class StartMethod(str, Enum):
    """What brings the ranks together."""

    CLUSTER = "cluster"
    RANKTABLE = "ranktable"
    MPIRUN = "mpirun"
    SLURM = "slurm"


class Chip(str, Enum):
    """Which Ascend chip: it decides the version of the rank table."""

    C910 = "910"
    C910B = "910B"
    A3 = "A3"
    C950 = "950"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class DeviceSlot(_Frozen):
    """One device of a node; ``device_ip`` is its own network port's, not the host's."""

    device_id: Annotated[int, Field(ge=0, le=63)]
    device_ip: str = ""
    super_device_id: Annotated[str, StringConstraints(pattern=r"^\d*$")] = ""
    """A3 only: its number in the super pod."""


class NodeDefaults(_Frozen):
    """What nodes have in common; a node's own key wins, ``environment`` is merged."""

    transport: Literal["", "local", "ssh", "openssh"] = ""
    user: str = ""
    port: Port = 22
    identity_file: str = ""
    proxy_jump: str = ""
    python: str = ""
    working_directory: str = ""
    runs_directory: str = ""
    data_path: str = ""
    environment: dict[str, str] = Field(default_factory=dict)
    setup: tuple[str, ...] = ()
    interface: str = ""
    cpus: Annotated[str, StringConstraints(pattern=r"^(\d+(-\d+)?(,\d+(-\d+)?)*)?$")] = ""
    slots: Annotated[int, Field(ge=0, le=4096)] = 0
    devices: tuple[DeviceSlot, ...] = ()
    super_pod_id: str = ""


class Node(NodeDefaults):
    """One machine."""

    address: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:%_-]*$|^::1$")]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:%_-]*$|^$")] = ""

    @property
    def label(self) -> str:
        """What people and events call the node."""
        return self.name or self.address

    @property
    def is_local(self) -> bool:
        """Whether its processes are children of this machine and not reached through SSH."""
        if self.transport:
            return self.transport == "local"
        return is_loopback(self.address)

    @property
    def rank_count(self) -> int:
        """How many ranks run there."""
        return len(self.devices) or self.slots

    def device(self, local_rank: int) -> DeviceSlot:
        """The device of a local rank."""
        if self.devices:
            return self.devices[local_rank]
        return DeviceSlot(device_id=local_rank)


class LeftOut(_Frozen):
    """A node that a run uses no more; ``spare`` has its place (empty: none has)."""

    node: Node
    spare: str = ""
    place: int | None = None
    """Where it was among the nodes, if the others carry its ranks. A spare that failed has none."""
    master: str = ""
    """The master's address before, where that moved with it."""


class Master(_Frozen):
    """Where the scheduler of ``cluster`` and ``mpirun`` runs; port 0 is a free one."""

    address: str = ""
    port: Annotated[int, Field(ge=0, le=65535)] = 0


class Mpirun(_Frozen):
    """How ``mpirun`` is called; OpenMPI 4 and 5 name options differently."""

    program: str = "mpirun"
    version: Literal[4, 5] = 4
    arguments: tuple[str, ...] = ()


class JobPlace(str, Enum):
    """Where evaluation, export and inference of a run of Slurm compute."""

    COMPUTE = "compute"
    LOGIN = "login"


class Slurm(_Frozen):
    """What ``slurm`` asks the scheduler for. Each of ``nodes`` is as ``[node_defaults]`` says."""

    nodes: Annotated[int, Field(ge=0, le=4096)] = 0
    partition: str = ""
    account: str = ""
    time_limit: str = ""
    """As ``sbatch --time`` takes it; empty: the partition's."""
    signal_s: Annotated[int, Field(ge=10, le=65535)] = 120
    """How long before the time limit the run saves."""
    login_node: Node | None = None
    """Where jobs are submitted, if that is another machine than this one."""
    options: tuple[str, ...] = ()
    """More options of ``sbatch``, as ``--gres=gpu:8``."""
    jobs: JobPlace = JobPlace.COMPUTE
    job_time_limit: str = ""
    """The same as ``time_limit`` for evaluation, export and inference; empty: that one."""


class Limits(_Frozen):
    """Time limits, seconds."""

    launch_s: Seconds = 600.0
    node_timeout_s: Seconds = 3600.0
    silent_min_s: Seconds = 10.0
    silent_steps: Annotated[float, Field(ge=1, le=1000)] = 5.0
    compile_s: Seconds = 1800.0
    checkpoint_s: Seconds = 600.0
    eval_s: Seconds = 3600.0
    unreachable_s: Seconds = 300.0
    orphan_limit_s: Seconds = 1800.0
    supervisor_restart_s: Seconds = 30.0
    spread_s: Seconds = 60.0
    stop_save_s: Seconds = 120.0
    term_s: Seconds = 10.0
    kill_s: Seconds = 5.0


class RetryNodes(str, Enum):
    """The nodes of an automatic attempt."""

    SAME = "same"
    SPARE = "spare"
    SHRINK = "shrink"


class Retry(_Frozen):
    """What happens by itself after a failure."""

    nodes: RetryNodes = RetryNodes.SAME
    auto_resume: Annotated[int, Field(ge=0, le=1000)] = 0
    no_progress_limit: Annotated[int, Field(ge=1, le=1000)] = 2
    on_silent: Literal["report", "stop", "resume"] = "report"


class Checkpoint(_Frozen):
    """Where checkpoints are and who sees them."""

    shared: bool = False
    directory: str = ""
    copies: Literal[1, 2] = 1
    """2: each is also kept on another node, see ``launcher.core.profile.copies``."""


class Logs(_Frozen):
    """Limits on what a run writes."""

    limit_mb: Annotated[int, Field(ge=1)] = 10_240

    @property
    def limit_bytes(self) -> int:
        return self.limit_mb * 1_000_000


class NoticeKind(str, Enum):
    """The changes of a run that can be reported."""

    FAILED = "failed"
    GAVE_UP = "gave_up"
    RESUMED = "resumed"
    HUNG = "hung"
    UNREACHABLE = "unreachable"
    RECOVERED = "recovered"
    DISK_LOW = "disk_low"
    STOPPED = "stopped"
    FINISHED = "finished"


class Notify(_Frozen):
    """Where changes of a run are reported without a screen; ``urls`` are secret."""

    urls: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    on: tuple[NoticeKind, ...] = tuple(NoticeKind)


NOTIFY = "[notify]"
"""Where the URLs are among a profile's secrets: no node can have this name."""


class Profile(_Frozen):
    """A whole cluster profile. Made by :func:`launcher.core.profile.load.load_profile`."""

    name: Name
    description: str = ""
    device_target: DeviceTarget
    start_method: StartMethod
    chip: Chip = Chip.C910
    supervisor: Literal["here", "first-node"] = "here"
    data_path: str = ""
    environment: dict[str, str] = Field(default_factory=dict)
    secret_env: tuple[str, ...] = ()
    nodes: Annotated[tuple[Node, ...], Field(min_length=1)]
    spares: tuple[Node, ...] = ()
    """Nodes that take the place of others, see ``retry.nodes``."""
    left_out: tuple[LeftOut, ...] = ()
    """In a run's own profile: nodes that it uses no more. No key of a file."""
    master: Master = Master()
    mpirun: Mpirun = Mpirun()
    slurm: Slurm = Slurm()
    trainer: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    program: Program | None = None
    """Runs instead of the bundled trainer."""
    launch: Launch = Launch()
    limits: Limits = Limits()
    retry: Retry = Retry()
    checkpoint: Checkpoint = Checkpoint()
    logs: Logs = Logs()
    notify: Notify = Notify()
    is_shipped: bool = False
    """Whether it came with the package: a recipe is stronger than its ``trainer``."""
    _secrets: Secrets = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _hide_secrets(self) -> Profile:
        shown, values = split(self.environment, self.secret_env)
        secrets = {"": values}

        def hide(node: Node) -> Node:
            own, secrets[node.label] = split(node.environment, self.secret_env)
            return node.model_copy(update={"environment": own})

        nodes, spares = tuple(map(hide, self.nodes)), tuple(map(hide, self.spares))
        left_out = tuple(
            item.model_copy(update={"node": hide(item.node)}) for item in self.left_out
        )
        urls = {str(n): url for n, url in enumerate(self.notify.urls) if url != HIDDEN}
        secrets[NOTIFY] = urls
        hidden = self.notify.model_copy(update={"urls": (HIDDEN,) * len(self.notify.urls)})
        # The model is frozen, and this is still its construction.
        self.__dict__.update(
            environment=shown, nodes=nodes, spares=spares, left_out=left_out, notify=hidden
        )
        self._secrets = {place: found for place, found in secrets.items() if found}
        return self

    @property
    def secrets(self) -> Secrets:
        """The values that ``environment`` and JSON do not have, as far as they are known."""
        return self._secrets

    def with_secrets(self, secrets: Secrets) -> Profile:
        """The same, with the values of variables whose value is not known yet."""
        places = ("", NOTIFY, *(node.label for node in self.all_nodes))
        found = {p: {**secrets.get(p, {}), **self._secrets.get(p, {})} for p in places}
        copy = self.model_copy()
        copy._secrets = {place: values for place, values in found.items() if values}
        return copy

    def without_secrets(self) -> Profile:
        """The same without values of secret variables."""
        copy = self.model_copy()
        copy._secrets = {}
        return copy

    def secrets_of(self, node: str) -> dict[str, str]:
        """Name -> value of the secret variables of the node with this label."""
        return {**self._secrets.get("", {}), **self._secrets.get(node, {})}

    @property
    def notify_urls(self) -> tuple[str, ...]:
        """The URLs of ``notify`` that are known, in their order."""
        return tuple(self._secrets.get(NOTIFY, {}).values())

    @property
    def unknown_secrets(self) -> tuple[str, ...]:
        """Names of secret variables whose values are not known."""
        urls = {str(n): url for n, url in enumerate(self.notify.urls)}
        tables = {"": self.environment, NOTIFY: urls}
        tables |= {node.label: node.environment for node in self.all_nodes}
        names = {
            f"URL {name} of {NOTIFY}" if place == NOTIFY else name
            for place, table in tables.items()
            for name, value in table.items()
            if value == HIDDEN and name not in self._secrets.get(place, {})
        }
        return tuple(sorted(names))

    @property
    def all_nodes(self) -> tuple[Node, ...]:
        """Those of the next attempt, the spares, and those that are left out."""
        return (*self.nodes, *self.spares, *(item.node for item in self.left_out))

    @property
    def world_size(self) -> int:
        """How many ranks a run of this profile has."""
        return sum(node.rank_count for node in self.nodes)

    @property
    def logical_size(self) -> int:
        """How many ranks its training is made of: also those of nodes that it continues without."""
        gone = (item.node.rank_count for item in self.left_out if item.place is not None)
        return self.world_size + sum(gone)

    def to_json(self) -> str:
        """The resolved profile; :func:`load.profile_from_json` reads it back."""
        return self.model_dump_json(indent=2)
