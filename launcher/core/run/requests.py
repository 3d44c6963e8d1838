"""The actions on runs: one record each, with the help text of every option.

`effnet-launch` makes its options from the fields, the dashboard fills them in, SSH carries the
record unchanged to the node of a delegated run, and ``command`` prints the command to copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

PROGRAM = "effnet-launch"

Settings = Sequence[tuple[str, str]]
"""Keys of the training configuration and their values, as given with ``--set``."""


@dataclass(frozen=True)
class Option:
    """How a field is spelled on the command line. A switch (bool) turns its default around."""

    flag: str
    help: str
    metavar: str = ""
    aliases: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """The kinds of job that have this option; empty: all."""


def _option(default: Any, flag: str, help: str, **more: Any) -> Any:
    return field(default=default, metadata={"option": Option(flag, help, **more)})


def options_of(request: type[Request], kind: str = "") -> Iterator[tuple[str, Option]]:
    """Field names and options of an action, for a job those of its kind."""
    for item in fields(request):
        option: Option | None = item.metadata.get("option")
        if option is not None and (not option.kinds or kind in option.kinds):
            yield item.name, option


@dataclass(frozen=True)
class Request:
    """An action on a profile or a run."""

    action: ClassVar[str]

    def command(self, target: str = "") -> list[str]:
        """The `effnet-launch` argument list that does the same. Defaults are left out."""
        argv = [PROGRAM, self.action, *([target] if target else [])]
        for item in fields(self):
            value, option = getattr(self, item.name), item.metadata.get("option")
            if option is None or value == item.default:
                continue
            if isinstance(value, bool):
                argv.append(option.flag)
            elif isinstance(value, (list, tuple)):
                for one in value:
                    argv += [option.flag, one if isinstance(one, str) else "=".join(map(str, one))]
            else:
                argv += [option.flag, str(value)]
        return argv


SET = "key of the training configuration; repeatable"
IGNORE = "continue although this check failed: CHECK or CHECK@NODE; repeatable"
NO_PREFLIGHT = "do not check the nodes first"
DATA_ALIASES = ("--dataset_path",)
TAKE_BACK = "use the nodes again that the run has left out"
NOTE = "why this run was made; shown by `runs` and `status`"


@dataclass(frozen=True)
class StartRequest(Request):
    """A new run of a profile. It is kept in run.json: later attempts read it, edited by a resume.

    ``resume`` is a checkpoint of another run; for a delegated run a path on its node.
    """

    action: ClassVar[str] = "start"

    settings: tuple[tuple[str, str], ...] = _option((), "--set", SET, metavar="KEY=VALUE")
    data_path: str = _option(
        "", "--data", "data folder, instead of the profile's", aliases=DATA_ALIASES
    )
    name: str = _option("", "--name", "id of the run, instead of a generated one")
    resume: str = _option(
        "", "--resume", "continue from a checkpoint of another run", metavar="FILE.ckpt"
    )
    ignore: tuple[str, ...] = _option((), "--ignore", IGNORE, metavar="CHECK")
    preflight: bool = _option(True, "--no-preflight", NO_PREFLIGHT)
    note: str = _option("", "--note", NOTE, metavar="TEXT")
    program: tuple[str, ...] = ()
    """The command of each rank, instead of the bundled trainer."""

    def command(self, target: str = "") -> list[str]:
        """The program comes last."""
        return [*super().command(target), *(["--", *self.program] if self.program else [])]


@dataclass(frozen=True)
class ResumeRequest(Request):
    """A new attempt of a run. ``checkpoint`` is ``auto``, ``scratch``, a file name or a path.

    ``profile`` is the name or path of an edited profile.
    """

    action: ClassVar[str] = "resume"

    checkpoint: str = _option(
        "auto", "--checkpoint", "`auto` (the newest complete one), a path, or `scratch`"
    )
    profile: str = _option("", "--profile", "continue with this (edited) profile")
    take_back: bool = _option(False, "--take-back", TAKE_BACK)
    settings: tuple[tuple[str, str], ...] = _option((), "--set", SET, metavar="KEY=VALUE")
    data_path: str = _option(
        "", "--data", "data folder, instead of the run's", aliases=DATA_ALIASES
    )
    ignore: tuple[str, ...] = _option((), "--ignore", IGNORE, metavar="CHECK")
    preflight: bool = _option(True, "--no-preflight", NO_PREFLIGHT)
    note: str = _option("", "--note", NOTE, metavar="TEXT")


@dataclass(frozen=True)
class StacksRequest(Request):
    """Where every rank is in its code."""

    action: ClassVar[str] = "stacks"


@dataclass(frozen=True)
class NoteRequest(Request):
    """Another note for a run; an empty one removes it."""

    action: ClassVar[str] = "note"

    note: str = ""

    def command(self, target: str = "") -> list[str]:
        """The text is an argument, not an option."""
        return [PROGRAM, self.action, target, self.note]


@dataclass(frozen=True)
class StopRequest(Request):
    """The end of a run. With ``save`` the ranks write a checkpoint first."""

    action: ClassVar[str] = "stop"

    save: bool = _option(True, "--no-save", "stop at once, without a last checkpoint")


@dataclass(frozen=True)
class RemoveRequest(Request):
    """The end of a run's directory, here and on its nodes."""

    action: ClassVar[str] = "prune"

    def command(self, target: str = "", *others: str) -> list[str]:
        """One command for several runs."""
        runs = (target, *others)
        return [PROGRAM, self.action, *(word for run in runs for word in ("--run", run))]


@dataclass(frozen=True)
class StopJobRequest(Request):
    """The end of one job of a run."""

    action: ClassVar[str] = "stop"

    job: str = _option("", "--job", "stop this job of the run, and not the training")


EVAL, EXPORT, INFER = KINDS = ("eval", "export", "infer")


@dataclass(frozen=True)
class JobRequest(Request):
    """An eval, export or infer job on what a run has trained. Empty values mean the default.

    Paths are of the run's machine; ``data_path`` is of the job's node. ``image_size`` is in pixels.
    ``device_target`` and ``device_id``: else those of the run and of its node.
    """

    kind: str
    checkpoint: str = _option(
        "",
        "--checkpoint",
        "file name or path; default: the newest complete one",
        aliases=("--checkpoint_path",),
        kinds=(EVAL, EXPORT),
    )
    model: str = _option(
        "",
        "--model",
        "ONNX file; default: the newest in RUN/export",
        aliases=("--onnx_path",),
        kinds=(INFER,),
    )
    file_format: str = _option(
        "ONNX", "--format", "ONNX, MINDIR or AIR", aliases=("--file_format",), kinds=(EXPORT,)
    )
    precision: str = _option(
        "fp32",
        "--precision",
        "fp32, or for ONNX fp16 or int8, which reads the data and measures the accuracy it costs",
        kinds=(EXPORT,),
    )
    file_name: str = _option(
        "",
        "--name",
        "file without its suffix; default: in RUN/export",
        aliases=("--file_name",),
        kinds=(EXPORT,),
    )
    weights: str = _option(
        "",
        "--weights",
        "`model`, or `ema` (their moving average); default: ema if there is one",
        kinds=(EVAL, EXPORT),
    )
    image_size: str = _option(
        "",
        "--image-size",
        "input size of the exported file; default: as trained",
        metavar="PX",
        kinds=(EXPORT,),
    )
    data_path: str = _option(
        "",
        "--data",
        "data folder, instead of the run's",
        aliases=DATA_ALIASES,
        kinds=(EVAL, EXPORT, INFER),
    )
    node: str = _option(
        "", "--node", "name of the node to run on; default: rank 0's, which has the checkpoints"
    )
    share_device: bool = _option(
        False, "--share-device", "run even if a rank of the run uses the device"
    )
    device_target: str = ""
    device_id: int | None = None
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def action(self) -> str:  # type: ignore[override]
        """The command has the name of the kind."""
        return self.kind
