"""The checkpoint that a script of the user's own continues from: the newest that fits its glob."""

from __future__ import annotations

import os
from collections.abc import Mapping

from launcher.core.plan.program import FOUND_BY_ITSELF
from launcher.core.profile.placement import first_rank_node
from launcher.core.profile.program import Program
from launcher.core.run.checkpoints import CheckpointFacts, ResumeChoice, Skipped
from launcher.core.run.state import CheckpointState
from launcher.remote.file_copy import FileHost, LocalFiles, NodeFiles
from launcher.remote.node_client import NodePool
from launcher.store.event_log import read_state
from launcher.store.run import StoredRun

AUTO = "auto"


def choose(
    run: StoredRun, program: Program, name: str, steps_done: int | None, nodes: NodePool
) -> ResumeChoice:
    """The newest complete checkpoint on rank 0's node, or the one with this name or path.

    A script that reports its checkpoints does so when they are complete: then others are skipped.
    Raises `NodeError`.
    """
    node = first_rank_node(run.profile)
    machine: FileHost = LocalFiles() if node.is_local else NodeFiles(nodes.client(node))
    folder = node.working_directory
    if name != AUTO:
        return _named(machine, _path(folder, name))
    states = read_state(run.paths.root).checkpoints
    reported = {_path(folder, state.path): state for state in states}
    if program.checkpoints:
        found = machine.matching(_path(folder, program.checkpoints))
    else:
        found = tuple(machine.checkpoint(path) for path in reversed(reported))
    skipped = []
    for facts in found:
        if why := _problem(facts, reported):
            skipped.append(Skipped(facts.path, why))
            continue
        state = reported.get(facts.path)
        step = None if state is None else state.step
        return ResumeChoice(
            facts.path,
            "the newest complete checkpoint" if skipped else "the newest checkpoint",
            epoch=None if state is None else state.epoch,
            step=step,
            steps_lost=None if step is None or steps_done is None else max(0, steps_done - step),
            skipped=tuple(skipped),
            saved_s=facts.modified_s,
        )
    if program.resume_command and not program.checkpoints:
        return ResumeChoice(FOUND_BY_ITSELF, "resume_command finds its checkpoint itself")
    return ResumeChoice(None, _why_none(program, bool(skipped)), skipped=tuple(skipped))


def _path(folder: str, name: str) -> str:
    return os.path.normpath(os.path.join(os.path.expanduser(folder), os.path.expanduser(name)))


def _named(machine: FileHost, path: str) -> ResumeChoice:
    facts = machine.checkpoint(path)
    if facts.file_bytes is None:
        return ResumeChoice(None, f"{path}: its file is missing")
    return ResumeChoice(path, "the requested checkpoint", saved_s=facts.modified_s)


def _problem(facts: CheckpointFacts, reported: Mapping[str, CheckpointState]) -> str:
    if facts.file_bytes is None:
        return "its file is missing"
    if facts.file_bytes == 0:
        return "its file is empty"
    if not reported:
        return ""
    if facts.path not in reported:
        return "the script did not report it as complete"
    size = reported[facts.path].bytes
    if size not in (None, facts.file_bytes):
        return f"it has {facts.file_bytes} bytes, and {size} when the script reported it"
    return ""


def _why_none(program: Program, is_any: bool) -> str:
    if is_any:
        return "no checkpoint is complete"
    if program.checkpoints:
        return f"no checkpoint matches {program.checkpoints}"
    return "the profile names no checkpoints: set program.checkpoints or program.resume_command"
