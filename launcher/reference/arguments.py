"""The arguments of the reference's scripts, in the order of its README or of the script.

Where README and script contradict each other, the order follows from which path is a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.core.profile.model import DeviceTarget
from launcher.core.text.suggest import did_you_mean
from launcher.errors import UsageError

FOLDER, FILE, CHECKPOINT, NUMBER, IDS, TARGET = (
    "folder", "file", "checkpoint", "number", "ids", "target",
)  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One positional argument under the name that the reference's README gives it."""

    name: str
    kind: str
    is_optional: bool = False


@dataclass(frozen=True)
class Script:
    """One script: its arguments, the device that it is for, and how it is called."""

    name: str
    target: DeviceTarget
    text: str
    parameters: tuple[Parameter, ...]
    example: str
    trains: bool = True

    @property
    def usage(self) -> str:
        shown = (f"[{p.name}]" if not p.is_optional else f"[{p.name}, optional]"
                 for p in self.parameters)  # fmt: skip
        return f"usage: bash scripts/{self.name}.sh {' '.join(shown)}"

    @property
    def hint(self) -> str:
        """Its usage line, for an error."""
        example = f"example: bash scripts/{self.name}.sh {self.example}"
        return f"{self.usage}\n{example}\nmore: bash scripts/{self.name}.sh --help"


DEVICE_ID = Parameter("DEVICE_ID", NUMBER)
DATA_DIR = Parameter("DATA_DIR", FOLDER)
PATH_CHECKPOINT = Parameter("PATH_CHECKPOINT", FILE)
DEVICE_NUM = Parameter("DEVICE_NUM", NUMBER)
DEVICE_IDS = Parameter("DEVICE_ID(0,1,2,3,4,5,6,7)", IDS)
DEVICE_TARGET = Parameter("DEVICE_TARGET", TARGET)
ASCEND, GPU = DeviceTarget.ASCEND, DeviceTarget.GPU

SCRIPTS: Mapping[str, Script] = {
    script.name: script
    for script in (
        Script(
            "run_standalone_train", ASCEND, "Train on one Ascend device.",
            (DEVICE_ID, DATA_DIR), "0 /data/imagenet",
        ),
        Script(
            "run_standalone_train_gpu", GPU, "Train on one GPU.",
            (DEVICE_ID, DATA_DIR), "0 /data/imagenet",
        ),
        Script(
            "run_distribute_train", ASCEND, "Train on the Ascend devices of a rank table.",
            (Parameter("RANK_TABLE_FILE", FILE), DATA_DIR),
            "hccl_8p_01234567_10.0.0.1.json /data/imagenet",
        ),
        Script(
            "run_train_gpu", GPU, "Train on several GPUs, with mpirun.",
            (DEVICE_NUM, DEVICE_IDS, DATA_DIR), "8 0,1,2,3,4,5,6,7 /data/imagenet",
        ),
        Script(
            "run_distribute_resume", GPU, "Resume from a checkpoint, at the next step.",
            (DEVICE_NUM, DEVICE_IDS, DATA_DIR, Parameter("RESUME", CHECKPOINT), DEVICE_TARGET),
            "8 0,1,2,3,4,5,6,7 /data/imagenet ./checkpoint GPU",
        ),
        Script(
            "run_eval", ASCEND, "Evaluate a checkpoint on one Ascend device.",
            (DEVICE_ID, DATA_DIR, PATH_CHECKPOINT),
            "0 /data/imagenet/val checkpoint/model_0/Efficientnet_b2-rank0-350_625.ckpt",
            trains=False,
        ),
        Script(
            "run_eval_gpu", GPU, "Evaluate a checkpoint on one GPU.",
            (DEVICE_ID, PATH_CHECKPOINT, DATA_DIR, Parameter("DEVICE_TARGET", TARGET, True)),
            "0 checkpoint/model_0/Efficientnet_b2-rank0-350_1251.ckpt /data/imagenet/val GPU",
            trains=False,
        ),
        Script(
            "run_infer_onnx", GPU, "Run an exported ONNX file over a folder.",
            (Parameter("ONNX_PATH", FILE), Parameter("DATA_PATH", FOLDER), DEVICE_TARGET),
            "efficientnet-b2.onnx /data/imagenet/val GPU", trains=False,
        ),
    )
}  # fmt: skip
"""Every script, by its name without `.sh`."""


@dataclass(frozen=True)
class Arguments:
    """The parsed arguments; paths are absolute, ``path`` is the one that is not the data folder."""

    script: Script
    target: DeviceTarget
    data_path: str
    devices: tuple[int, ...] = (0,)
    path: str = ""
    path_as_given: str = ""
    note: str = ""


def parse(script: Script, words: Sequence[str], environment: Mapping[str, str]) -> Arguments:
    """The arguments of one call. Raises UsageError, with usage and an example.

    The device is the argument DEVICE_TARGET, else the variable of that name, else the script's.
    """
    least = sum(not parameter.is_optional for parameter in script.parameters)
    most = len(script.parameters)
    if not least <= len(words) <= most:
        count = f"{least}" if least == most else f"{least} or {most}"
        message = f"{script.name}.sh takes {count} arguments, not {len(words)}"
        raise UsageError(message, script.hint)
    words, note = _in_order(script, list(words))
    found = {p.kind: _checked(script, p, w) for p, w in zip(script.parameters, words, strict=False)}
    target = _target(script, found.get(TARGET), environment)
    number, ids = found.get(NUMBER), found.get(IDS)
    devices: tuple[int, ...] = (int(number or 0),)
    if ids is not None:
        devices = tuple(int(word) for word in ids.split(","))
        if len(devices) != int(number or 0):
            message = f"DEVICE_NUM is {number}, and DEVICE_ID names {len(devices)}: {ids}"
            raise UsageError(message, script.hint)
        if len(set(devices)) != len(devices):
            raise UsageError(f"DEVICE_ID names a device twice: {ids}", script.hint)
    path = found.get(FILE) or found.get(CHECKPOINT) or ""
    return Arguments(
        script=script,
        target=target,
        data_path=os.path.abspath(found[FOLDER]),
        devices=devices,
        path=os.path.abspath(path) if path else "",
        path_as_given=path,
        note=note,
    )


def _in_order(script: Script, words: list[str]) -> tuple[list[str], str]:
    """File and folder in this module's order, and a note if they came in the other order."""
    kinds = [parameter.kind for parameter in script.parameters]
    if FILE not in kinds:
        return words, ""
    file, folder = kinds.index(FILE), kinds.index(FOLDER)
    given_file, given_folder = Path(words[file]), Path(words[folder])
    if not (given_folder.is_file() and given_file.is_dir()):
        return words, ""
    words[file], words[folder] = words[folder], words[file]
    names = [parameter.name for parameter in script.parameters]
    names[file], names[folder] = names[folder], names[file]
    return words, (
        f"read as {' '.join(names[: len(words)])}, because {words[file]} is a file"
        f" and {words[folder]} a folder"
    )


def _checked(script: Script, parameter: Parameter, word: str) -> str:
    name, kind = parameter.name, parameter.kind
    path = Path(word)
    if kind == NUMBER and not (word.isascii() and word.isdigit() and len(word) < 5):
        raise UsageError(f"{name} is {word!r}, expected a number from 0", script.hint)
    if kind == IDS and not all(part.isascii() and part.isdigit() for part in word.split(",")):
        message = f"{name} is {word!r}, expected numbers with commas between, such as 0,1,2,3"
        raise UsageError(message, script.hint)
    if kind in (FOLDER, FILE, CHECKPOINT):
        expected = {FOLDER: "folder", FILE: "file", CHECKPOINT: "file or folder"}[kind]
        if not path.exists():
            raise UsageError(f"{name}: no {expected} {word}{_near(path)}", script.hint)
        if (kind == FOLDER and not path.is_dir()) or (kind == FILE and not path.is_file()):
            other = "folder" if path.is_dir() else "file"
            raise UsageError(f"{name}: {word} is a {other}, expected a {expected}", script.hint)
    return word


def _near(path: Path) -> str:
    try:
        known = os.listdir(path.parent)
    except OSError:
        return ""
    return did_you_mean(path.name, known, 0.6)


def _target(script: Script, given: str | None, environment: Mapping[str, str]) -> DeviceTarget:
    chosen = given or environment.get("DEVICE_TARGET") or script.target.value
    for target in DeviceTarget:
        if target.value.lower() == chosen.lower():
            return target
    known = [target.value for target in DeviceTarget]
    meant = did_you_mean(chosen, known, 0.4)
    message = f"DEVICE_TARGET is {chosen!r}, expected one of {', '.join(known)}{meant}"
    raise UsageError(message, script.hint)
