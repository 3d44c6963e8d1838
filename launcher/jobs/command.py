"""Where a job runs, and its command."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from launcher import programs
from launcher.core.plan.cpu import rank_environment
from launcher.core.plan.model import with_setup
from launcher.core.profile.model import DeviceTarget, Node
from launcher.core.run.requests import EVAL, EXPORT, INFER, KINDS, JobRequest
from launcher.errors import BusyError, CheckpointError, UsageError
from launcher.ipc.operations import GetFacts
from launcher.jobs import slurm_jobs
from launcher.planning import checkpoint_choice, restart
from launcher.planning.checkpoint_store import Store, stores_of
from launcher.process import private
from launcher.remote import file_copy, run_folders
from launcher.remote.file_copy import FileHost, LocalFiles, NodeFiles, Progress
from launcher.remote.node_client import NodePool
from launcher.store.event_log import read_state
from launcher.store.job import Job
from launcher.store.run import StoredRun

FORMATS = ("ONNX", "MINDIR", "AIR")
PRECISIONS = ("fp32", "fp16", "int8")
WEIGHTS = ("model", "ema")


@dataclass(frozen=True)
class Site:
    """The machine that a job runs on. `root`: the run directory there."""

    node: Node
    machine: FileHost
    root: str
    cpus: int
    nodes: NodePool

    @property
    def is_here(self) -> bool:
        return not self.machine.label


@contextlib.contextmanager
def site_of(run: StoredRun, request: JobRequest) -> Iterator[Site]:
    """Where the job runs: the requested node, else rank 0's, which has the checkpoints.

    Raises `UsageError`, `BusyError` (a rank holds the device), `NodeError`.
    """
    _check_known("job", request.kind, KINDS)
    if run.profile.program is not None:
        raise UsageError(
            f"{request.kind} does not apply to {run.info.id}: it is for the bundled trainer, and"
            f" this run's profile has a [program]",
            "Evaluate and export with the script itself: effnet-launch start PROFILE -- COMMAND",
        )
    if slurm_jobs.is_submitted(run.profile):
        # Slurm chooses the node, which sees this machine's files, and its devices.
        node = run.profile.nodes[0]
    else:
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
        yield Site(node, NodeFiles(client), root, cpus, nodes)


def complete(
    job: Job, run: StoredRun, request: JobRequest, site: Site, progress: Progress | None
) -> Job:
    """The job with its command. Copies to its folder on its node what the node does not have.

    Raises `UsageError`, `CheckpointError`, `LaunchError`.
    """
    return _BUILDERS[request.kind](_Builder(job, run, request, site, progress))


@dataclass(frozen=True)
class _Builder:
    job: Job
    run: StoredRun
    request: JobRequest
    site: Site
    progress: Progress | None

    @property
    def folder(self) -> str:
        """That of the job on its node."""
        return self.job.folder or str(self.run.paths.job(self.job.id).root)

    def eval(self) -> Job:
        target = self.request.device_target or self.run.profile.device_target.value
        options = ["--dataset_path", self._eval_data() or self._data(), "--device_target", target]
        for key, value in self.request.settings:
            options += ["--set", f"{key}={value}"]
        return self._of_checkpoint(tuple(options))

    def export(self) -> Job:
        request, variant = self.request, str(self.run.profile.trainer.get("variant", "b2"))
        file = Path(request.file_name or self.run.paths.export / f"efficientnet_{variant}")
        file = file.expanduser().absolute()
        private.make_folder(file.parent)
        file_format = request.file_format.upper()
        _check_known("format", file_format, FORMATS)
        precision = request.precision.lower()
        _check_known("precision", precision, PRECISIONS)
        options = ("--file_format", file_format, *_size(request.image_size))
        if precision != PRECISIONS[0]:
            if file_format != "ONNX":
                raise UsageError(
                    f"{file_format} has no precision {precision}", "Use --format ONNX."
                )
            options += ("--precision", precision, "--dataset_path", self._data())
            if validation := self._eval_data():
                options += ("--eval_dataset_path", validation)
        if self.site.is_here:
            return self._of_checkpoint(("--file_name", str(file), *options))
        there = f"{self.folder}/export"
        made = self._of_checkpoint(("--file_name", f"{there}/{file.name}", *options))
        renamed = {f"{there}/": f"{file.parent}/", **made.renamed}
        return replace(made, export_to=str(file.parent), renamed=renamed)

    def infer(self) -> Job:
        model = there = _model(self.run, self.request.model)
        # The result has counts; these are the predictions of each image.
        predictions, export_to, renamed = self.folder, "", dict[str, str]()
        if not self.site.is_here:
            there = f"{self.folder}/model/{os.path.basename(model)}"
            file_copy.bring(LocalFiles(), model, self.site.machine, there, self.progress)
            predictions = f"{self.folder}/export"
            export_to = str(self.run.paths.job(self.job.id).root)
            renamed = {f"{predictions}/": f"{export_to}/"}
        target = self.request.device_target
        argv = self._argv(
            ("--onnx_path", there, "--dataset_path", self._eval_data() or self._data()),
            ("--device_target", target) if target else (),
            self._device(),
            ("--predictions", f"{predictions}/predictions.csv"),
        )
        renamed[there] = model
        return replace(self.job, argv=argv, export_to=export_to, renamed=renamed)

    def _of_checkpoint(self, options: tuple[str, ...]) -> Job:
        weights = self.request.weights
        if weights:
            _check_known("weights", weights, WEIGHTS)
            options += ("--weights", weights)
        given, path = self._checkpoint()
        argv = self._argv(("--checkpoint_path", path), options, self._device())
        return replace(self.job, argv=argv, checkpoint=given, renamed={path: given})

    def _argv(self, *options: tuple[str, ...]) -> tuple[str, ...]:
        node = self.site.node
        python = node.python or (sys.executable if self.site.is_here else "python3")
        argv = (python, "-m", programs.TRAINER, self.request.kind, *sum(options, ()), "--json")
        return with_setup(node.setup, argv)

    def _device(self) -> tuple[str, ...]:
        device = self.request.device_id
        return () if device is None else ("--device_id", str(device))

    def _data(self) -> str:
        run, node = self.run, self.site.node
        chosen = self.request.data_path or run.request.data_path
        chosen = chosen or node.data_path or run.profile.data_path
        if not chosen:
            raise UsageError("no data folder is known", "Give one with --data.")
        return self._there(chosen)

    def _eval_data(self) -> str:
        """The run's validation images, where it has them elsewhere and the job names no data."""
        run = self.run
        given = {**run.profile.trainer, **dict(run.request.settings)}
        chosen = str(given.get("eval_dataset_path") or "")
        return self._there(chosen) if chosen and not self.request.data_path else ""

    def _there(self, path: str) -> str:
        """Another machine has another home and current folder: there it is made absolute."""
        return str(Path(path).expanduser().absolute()) if self.site.is_here else path

    def _checkpoint(self) -> tuple[str, str]:
        """(path of the checkpoint, its path on the job's node)."""
        run, site = self.run, self.site
        store, path = _find(run, self.request.checkpoint, stores_of(run, site.nodes))
        if store.machine.label == site.machine.label or run.profile.checkpoint.shared:
            return path, path
        there, _ = file_copy.bring_checkpoint(
            store.machine, path, site.machine, f"{self.folder}/checkpoint", self.progress
        )
        return path, there


_BUILDERS = {EVAL: _Builder.eval, EXPORT: _Builder.export, INFER: _Builder.infer}


def environment_of(run: StoredRun, node: Node, cpus: int) -> dict[str, str]:
    """That of a rank of the node, without the variables that connect ranks."""
    target = run.profile.device_target
    own = {} if target is DeviceTarget.CPU else {"DEVICE_ID": str(node.device(0).device_id)}
    return {
        **rank_environment(target, cpus),
        "PYTHONUNBUFFERED": "1",
        **own,
        **run.profile.environment,
        **node.environment,
    }


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


def _find(run: StoredRun, name: str, stores: tuple[Store, ...]) -> tuple[Store, str]:
    """The newest complete one, or the file of that name or path, which the job verifies."""
    if name:
        found = checkpoint_choice.find_named(stores, name)
        if found is None or found[1].file_bytes is None:
            raise UsageError(f"no checkpoint {name}", f"Looked for on {stores[0].name} and here.")
        return found[0], found[1].path
    query = restart.query_of(run, read_state(run.paths.root), world_size=None)
    selected = checkpoint_choice.select(stores, query)
    if selected.store is None or selected.choice.path is None:
        raise CheckpointError(f"{run.info.id}: {selected.choice.why}")
    return selected.store, selected.choice.path


def _model(run: StoredRun, name: str) -> str:
    if name:
        path = Path(name).expanduser().absolute()
        if not path.is_file() and os.sep not in name:
            path = run.paths.export / name
        if not path.is_file():
            raise UsageError(f"no model {path}")
        return str(path)
    found = sorted(run.paths.export.glob("*.onnx"), key=lambda path: path.stat().st_mtime)
    if not found:
        hint = f"First: effnet-launch export {run.info.id} --format ONNX"
        raise UsageError(f"{run.info.id} has no exported ONNX file", hint)
    return str(found[-1])


def _check_known(what: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise UsageError(f"no {what} {value!r}", f"Known: {', '.join(known)}.")


def _size(pixels: str) -> tuple[str, ...]:
    if pixels and not (pixels.isascii() and pixels.isdecimal() and int(pixels[:9]) > 0):
        raise UsageError(f"image size {pixels!r} is no whole number of pixels", "Example: 260")
    return ("--width", pixels, "--height", pixels) if pixels else ()
