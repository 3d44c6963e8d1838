"""What a job runs, and where: the node, its files there, the command."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher import programs
from launcher.core.plan.cpu import rank_environment
from launcher.core.plan.model import with_setup
from launcher.core.profile.model import DeviceTarget, Node
from launcher.core.run.requests import KINDS, JobRequest
from launcher.errors import BusyError, CheckpointError, UsageError
from launcher.ipc.operations import GetFacts
from launcher.planning import checkpoint_choice, restart
from launcher.planning.checkpoint_store import Store, stores_of
from launcher.remote import file_copy, run_folders
from launcher.remote.file_copy import FileHost, LocalFiles, NodeFiles, Progress
from launcher.remote.node_client import NodeClient, NodePool
from launcher.store.event_log import read_state
from launcher.store.run import StoredRun

FORMATS = ("ONNX", "MINDIR", "AIR")
WEIGHTS = ("model", "ema")


@dataclass(frozen=True)
class Site:
    """The machine that a job runs on. `client` is None for this one; `root`: the run there."""

    node: Node
    machine: FileHost
    root: str
    cpus: int
    nodes: NodePool
    client: NodeClient | None = None

    @property
    def is_here(self) -> bool:
        return self.client is None


@dataclass(frozen=True)
class Command:
    """What a job needs of its request; see `job_files.Job` for the last two."""

    argv: tuple[str, ...]
    checkpoint: str = ""
    export_to: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def site_of(run: StoredRun, request: JobRequest) -> Iterator[Site]:
    """Where the job runs: the node that was named, else rank 0's, which has the checkpoints.

    Raises `UsageError`, `BusyError` (a rank holds the device), `NodeError`.
    """
    if request.kind not in KINDS:
        raise UsageError(f"no job {request.kind!r}", f"Known: {', '.join(KINDS)}.")
    node = _node(run, request.node)
    _refuse_held_device(run, node, request.share_device)
    with NodePool() as nodes:
        if node.is_local:
            cpus = len(os.sched_getaffinity(0))
            yield Site(node, LocalFiles(), str(run.paths.root), cpus, nodes)
            return
        client = nodes.client(node)
        cpus = max(1, len(client.call(GetFacts()).cpus))
        root = run_folders.root_on(run, client)
        yield Site(node, NodeFiles(client), root, cpus, nodes, client)


def command_of(
    run: StoredRun, request: JobRequest, site: Site, folder: str, progress: Progress | None
) -> Command:
    """Brings what the job needs to its `folder` there, where it is not there yet.

    Raises `UsageError`, `CheckpointError`, `LaunchError`.
    """
    words: tuple[str, ...]
    renamed: dict[str, str] = {}
    export_to = ""
    if request.kind == "infer":
        model = _model(run, request.model)
        there = model
        if not site.is_here:
            there = f"{folder}/model/{os.path.basename(model)}"
            file_copy.bring(LocalFiles(), model, site.machine, there, progress)
        # What each image was taken for, also where the folder does not say it.
        made = folder if site.is_here else f"{folder}/export"
        words = ("--onnx_path", there, "--dataset_path", _data(run, request.data_path, site))
        words += ("--device_target", request.device_target) if request.device_target else ()
        words += (*_device(request), "--predictions", f"{made}/predictions.csv")
        if not site.is_here:
            export_to = str(run.paths.job(os.path.basename(folder)).root)
            renamed = {f"{made}/": f"{export_to}/"}
        argv = _argv(site, request.kind, words)
        return Command(argv, export_to=export_to, renamed={**renamed, there: model})
    if request.kind == "eval":
        words = ("--dataset_path", _data(run, request.data_path, site))
        target = request.device_target or run.profile.device_target.value
        words += ("--device_target", target, *_weights(request.weights))
        for key, value in request.settings:
            words += ("--set", f"{key}={value}")
    else:
        made_here = _export_target(run, request.file_name)
        file_name = str(made_here)
        if not site.is_here:
            file_name, export_to = f"{folder}/export/{made_here.name}", str(made_here.parent)
            renamed = {f"{folder}/export/": f"{made_here.parent}/"}
        words = ("--file_name", file_name, "--file_format", _format(request.file_format))
        words += (*_weights(request.weights), *_size(request.image_size))
    given, path = _checkpoint(run, request.checkpoint, site, f"{folder}/checkpoint", progress)
    words = ("--checkpoint_path", path, *words, *_device(request))
    argv = _argv(site, request.kind, words)
    return Command(argv, given, export_to, {**renamed, path: given})


def environment_of(run: StoredRun, site: Site) -> dict[str, str]:
    """As a rank of that node has it, but for what joins ranks."""
    target = run.profile.device_target
    own = {} if target is DeviceTarget.CPU else {"DEVICE_ID": str(site.node.device(0).device_id)}
    return {
        **rank_environment(target, site.cpus),
        "PYTHONUNBUFFERED": "1",
        **own,
        **run.profile.environment,
        **site.node.environment,
    }


def _argv(site: Site, kind: str, words: tuple[str, ...]) -> tuple[str, ...]:
    python = site.node.python or (sys.executable if site.is_here else "python3")
    return with_setup(site.node.setup, (python, "-m", programs.TRAINER, kind, *words, "--json"))


def _node(run: StoredRun, name: str) -> Node:
    nodes = run.profile.nodes
    if not name:
        return nodes[0]
    found = [node for node in nodes if node.label == name]
    if not found:
        names = ", ".join(node.label for node in nodes)
        raise UsageError(f"no node {name!r} in this run", f"Its nodes: {names}.")
    return found[0]


def _refuse_held_device(run: StoredRun, node: Node, share_device: bool) -> None:
    state = read_state(run.paths.root)
    if share_device or run.profile.device_target is DeviceTarget.CPU or state.status.is_over:
        return
    ranks = state.attempt.ranks if state.attempt is not None else ()
    holders = [rank.rank for rank in ranks if rank.node == node.label and not rank.has_exited]
    if holders:
        raise BusyError(
            f"ranks {', '.join(map(str, holders))} hold the devices of {node.label}",
            "Wait until the run is over, choose another --node, or add --share-device.",
        )


def _checkpoint(
    run: StoredRun, wanted: str, site: Site, folder: str, progress: Progress | None
) -> tuple[str, str]:
    """(the checkpoint where it lies, its path where the job runs)."""
    store, path = _find(run, wanted, stores_of(run, site.nodes))
    if store.machine.label == site.machine.label or run.profile.checkpoint.shared:
        return path, path
    there, _ = file_copy.bring_checkpoint(store.machine, path, site.machine, folder, progress)
    return path, there


def _find(run: StoredRun, name: str, stores: tuple[Store, ...]) -> tuple[Store, str]:
    """The newest whole one, or the file of that name or path; the job looks at its content."""
    if name:
        found = checkpoint_choice.find_named(stores, name)
        if found is None or found[1].file_bytes is None:
            where = stores[0].machine.label or checkpoint_choice.HERE
            raise UsageError(f"no checkpoint {name}", f"Looked for on {where} and here.")
        return found[0], found[1].path
    wanted = restart.wanted_of(run, read_state(run.paths.root), world_size=None)
    taken = checkpoint_choice.select(stores, wanted)
    if taken.store is None or taken.choice.path is None:
        raise CheckpointError(f"{run.info.id}: {taken.choice.why}")
    return taken.store, taken.choice.path


def _model(run: StoredRun, wanted: str) -> str:
    if wanted:
        path = Path(wanted).expanduser().absolute()
        if not path.is_file() and os.sep not in wanted:
            path = run.paths.export / wanted
        if not path.is_file():
            raise UsageError(f"no model {path}")
        return str(path)
    found = sorted(run.paths.export.glob("*.onnx"), key=lambda path: path.stat().st_mtime)
    if not found:
        hint = f"First: effnet-launch export {run.info.id} --format ONNX"
        raise UsageError(f"{run.info.id} has no exported ONNX file", hint)
    return str(found[-1])


def _data(run: StoredRun, wanted: str, site: Site) -> str:
    chosen = wanted or run.request.data_path or site.node.data_path or run.profile.data_path
    if not chosen:
        raise UsageError("no data folder is known", "Give one with --data.")
    # On another machine the home and the current folder are others: there it is made absolute.
    return str(Path(chosen).expanduser().absolute()) if site.is_here else chosen


def _export_target(run: StoredRun, file_name: str) -> Path:
    variant = str(run.profile.trainer.get("variant", "b2"))
    target = Path(file_name or run.paths.export / f"efficientnet_{variant}").expanduser().absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _format(wanted: str) -> str:
    if wanted.upper() not in FORMATS:
        raise UsageError(f"no format {wanted!r}", f"Known: {', '.join(FORMATS)}.")
    return wanted.upper()


def _device(request: JobRequest) -> tuple[str, ...]:
    return () if request.device_id is None else ("--device_id", str(request.device_id))


def _weights(wanted: str) -> tuple[str, ...]:
    if wanted and wanted not in WEIGHTS:
        raise UsageError(f"no weights {wanted!r}", f"Known: {', '.join(WEIGHTS)}.")
    return ("--weights", wanted) if wanted else ()


def _size(wanted: str) -> tuple[str, ...]:
    if wanted and not (wanted.isascii() and wanted.isdecimal() and int(wanted[:9]) > 0):
        raise UsageError(f"image size {wanted!r} is no whole number of pixels", "Such as 260.")
    return ("--width", wanted, "--height", wanted) if wanted else ()
