"""The compiled step in the user's cache: the same bits with it, and never a wrong step from it."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from effnet import device, user_cache
from effnet.config import TrainConfig, resolve
from effnet.distributed.group import Group
from effnet.train.gradients import entry as entries
from effnet.train.gradients import key as keys
from effnet.train.gradients.entry import Damaged, Entry, Kept
from tests import kept_cache
from tests.effnet import ranks

COMPILED, READ = (
    "note: the step was compiled in ",
    "note: the compiled step was read from the cache",
)
UNBOUND = ranks.ROOT / "tests/programs/unbound_step.py"
SETTINGS = {
    "variant": "b0", "class_num": 10, "image_size": 32, "batch_size": 8, "epoch_size": 1,
    "dropout": 0.3, "drop_path": 0.2, "interval": 0, "report_steps": 1, "save_checkpoint": False,
}  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the C++ kernels and no compiled step; -> the folder for those."""
    home = tmp_path / "cache"
    home.mkdir(mode=0o700)
    kept_cache.link(home)
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home / "effnet-tui/graphs"


def words(images: Path, *more: str) -> list[str]:
    sets = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    return [*ranks.EFFNET, "train", "--dataset_path", str(images), *sets, *more]


def trained(folder: Path, images: Path, *more: str) -> tuple[list[str], list[str]]:
    """A run of one rank: its losses with the digest of its last state, and its notes."""
    (done,) = ranks.run(words(images, *more), 1, folder)
    return learned(done), notes(done)


def learned(done: ranks.Ended) -> list[str]:
    assert done.exit_code == 0, done.text
    return re.findall(r"loss:\S+|state:\S+|'\w+': [\d.]+", done.out)


def notes(done: ranks.Ended) -> list[str]:
    found = re.findall(r"^note: the.*(?:step|evaluation) .*", done.out, re.M)
    return [re.sub(r"[\d.]+ s$", "", note) for note in found]


def of_both(note: str) -> list[str]:
    """The same of the step and of the evaluation, in their order."""
    return [note, note.replace("step", "evaluation")]


def only_file(cache: Path) -> Path:
    (path,) = cache.glob("*.graph")
    return path


@pytest.mark.mindspore
@pytest.mark.slow
@pytest.mark.parametrize("form", ["fused", "tiled"])
def test_what_was_read_has_the_bits_of_what_was_compiled(
    form: str, cache: Path, thirty_digits: Path, small_b0: None, tmp_path: Path
) -> None:
    chosen = f"--depthwise={form}", "--interval=1"
    off, said = trained(tmp_path, thirty_digits, *chosen, "--compile_cache=false")
    assert (len(off), said, cache.exists()) == (7, [], False)
    cold, said = trained(tmp_path, thirty_digits, *chosen)
    assert (cold, said) == (off, of_both(COMPILED))
    for path in cache, *cache.glob("*.graph"):
        assert path.stat().st_mode & 0o077 == 0
    warm, said = trained(tmp_path, thirty_digits, *chosen)
    assert (warm, said) == (off, of_both(f"{READ} in "))
    assert not list(cache.glob(".making-*"))

    # MindSpore reads nothing any more when it has compiled.
    step, evaluation = sorted(cache.glob("*.graph"), key=lambda path: path.stat().st_mtime_ns)
    content = step.read_bytes()
    step.unlink()
    assert trained(tmp_path, thirty_digits, *chosen) == (off, [COMPILED])

    # One graph in the place of the other is noticed.
    evaluation.write_bytes(content)
    found, said = trained(tmp_path, thirty_digits, *chosen)
    assert found == off
    assert said[0] == f"{READ} in "
    assert "evaluation in the cache is not used: " in said[1] or "did not take the" in said[1]


@pytest.mark.mindspore
@pytest.mark.slow
def test_what_is_torn_damaged_or_computes_something_else_is_compiled_anew(
    cache: Path, thirty_digits: Path, small_b0: None, tmp_path: Path
) -> None:
    right, _ = trained(tmp_path, thirty_digits, "--compile_cache=false")
    with ranks.started(words(thirty_digits), 1, tmp_path) as running:
        (process,) = running.processes
        while process.poll() is None and not list(cache.glob(".making-*")):
            time.sleep(0.001)
        process.kill()
    found, (said,) = trained(tmp_path, thirty_digits)
    assert found == right
    assert said == COMPILED or said.startswith(READ)  # it may have been done before the kill

    path = only_file(cache)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    damaged = "note: the compiled step in the cache is damaged: its checksum is wrong"
    assert trained(tmp_path, thirty_digits) == (right, [damaged, COMPILED])

    place = Entry(path.stem)
    kept = place.read()
    assert kept is not None
    place.write(dataclasses.replace(kept, probe="0" * 64))
    found, (said,) = trained(tmp_path, thirty_digits)
    assert found == right
    assert said.endswith("is not used: it does not compute what it did when it was compiled")
    assert not path.exists()

    place.write(dataclasses.replace(kept, files=dict.fromkeys(kept.files, b"no graph")))
    found, (said,) = trained(tmp_path, thirty_digits)
    assert found == right
    assert " is not used: " in said or "did not take the one" in said


@pytest.mark.mindspore
@pytest.mark.slow
def test_one_of_two_ranks_compiles_and_the_other_one_reads(
    cache: Path, thirty_digits: Path, small_b0: None, tmp_path: Path
) -> None:
    pair = words(thirty_digits, "--run_distribute", "True")
    ended = ranks.run(pair, 2, tmp_path)
    assert learned(ended[0])[-1] == learned(ended[1])[-1]
    assert sorted(notes(rank)[-1] for rank in ended) == [f"{READ} in ", COMPILED]


@pytest.mark.mindspore
@pytest.mark.slow
def test_a_cache_that_another_user_can_write_is_a_note(
    cache: Path, thirty_digits: Path, small_b0: None, tmp_path: Path
) -> None:
    cache.mkdir()
    cache.chmod(0o777)
    _, (said,) = trained(tmp_path, thirty_digits)
    assert said.startswith("note: the compiled step is not kept for the next start: ")
    assert "another user" in said


@pytest.mark.mindspore
@pytest.mark.slow
def test_the_probe_notices_a_step_without_its_weights(tmp_path: Path, small_b0: None) -> None:
    """Of a function that is no method of a cell, MindSpore reads a step without weights."""
    compiled, read = tmp_path / "compiled", tmp_path / "read"
    digests = []
    for work in (compiled, read):
        work.mkdir()
        words = [sys.executable, UNBOUND, work, compiled / "rank_0"]
        (done,) = ranks.run(words, 1, tmp_path)
        assert done.exit_code == 0, done.text
        digests.append(re.findall(r"^(True|False) \[(\w*)\]$", done.out, re.M)[0])
    (was_read, right), (was_read_then, wrong) = digests
    assert (was_read, was_read_then) == ("False", "True")
    assert len(right) == 64
    assert wrong != right


@pytest.mark.mindspore
def test_what_changes_the_step_changes_the_key(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mindspore as ms
    import numpy as np

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = resolve(flags={"device_target": "CPU", "depthwise": "tiled"}).config
    weight = ms.Parameter(ms.Tensor(np.zeros((2, 3), np.float32)), "weight")
    images, alone = [ms.Tensor(np.zeros((8, 3, 32, 32), np.float32))], Group()

    def key(
        config: TrainConfig = config,
        group: Group = alone,
        inputs: list[ms.Tensor] = images,
        what: str = "step",
    ) -> str:
        return keys.key(what, [weight], config, group, inputs)

    first = key()
    assert key(dataclasses.replace(config, save_checkpoint_path="x", report_steps=3)) == first
    sources = tmp_path / "effnet"
    shutil.copytree(keys._SOURCES, sources)
    monkeypatch.setattr(keys, "_SOURCES", sources)
    assert key() == first
    found = [
        first,
        key(what="evaluation"),
        key(dataclasses.replace(config, dropout=0.25)),
        key(dataclasses.replace(config, depthwise="plain")),
        key(dataclasses.replace(config, depthwise="compiled")),
        key(dataclasses.replace(config, depthwise="fused")),
        key(group=Group(0, 2)),
        key(inputs=[ms.Tensor(np.zeros((4, 3, 32, 32), np.float32))]),
    ]
    for place, name, value in (
        (device, "thread_count", lambda: 2),
        (user_cache, "cpu", lambda: "another"),
        (keys, "version", lambda name: "3"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            found.append(key())
    monkeypatch.setenv("MS_DEV_HOST_BLOCKING_RUN", "other")
    found.append(key())
    with (sources / "optim/loss.py").open("a") as file:
        file.write("# changed\n")
    found.append(key())
    weight.name = "another"
    found.append(key())
    assert len(set(found)) == len(found)


def test_a_torn_file_is_no_step_and_a_short_one_neither(cache: Path) -> None:
    entry = Entry("0" * 32)
    assert entry.read() is None
    entry.write(Kept({"graph_cache/graph": b"one\ntwo", "graph_cache/hash": b""}, "digest"))
    assert entry.read() == Kept(
        {"graph_cache/graph": b"one\ntwo", "graph_cache/hash": b""}, "digest"
    )
    content = only_file(cache).read_bytes()
    for length in range(len(content)):
        only_file(cache).write_bytes(content[:length])
        with pytest.raises(Damaged):
            entry.read()
    entry.remove()
    assert entry.read() is None


def test_the_cache_keeps_the_steps_that_were_used_last(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "LIMIT_FILES", 3)
    for number in range(3):
        Entry(f"{number:032x}").write(Kept({"graph": b"x"}, ""))
        os.utime(cache / f"{number:032x}.graph", (number, number))
    left, fresh = cache / ".making-left", cache / ".making-fresh"
    left.mkdir()
    fresh.mkdir()
    os.utime(left, (0, 0))
    assert Entry(f"{0:032x}").read() is not None
    Entry(f"{7:032x}").write(Kept({"graph": b"x"}, ""))
    assert sorted(int(path.stem, 16) for path in cache.glob("*.graph")) == [0, 2, 7]
    assert (left.exists(), fresh.exists()) == (False, True)
    monkeypatch.setattr(entries, "LIMIT_BYTES", 0)
    Entry(f"{8:032x}").write(Kept({"graph": b"x"}, ""))
    assert [int(path.stem, 16) for path in cache.glob("*.graph")] == [8]


def test_what_cannot_be_removed_keeps_nothing_from_being_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder with a file that is open on another machine, on a network file system."""
    Entry(f"{0:032x}")
    left = cache / ".making-left"
    left.mkdir()
    os.utime(left, (0, 0))
    monkeypatch.setattr(shutil, "rmtree", lambda *given, **named: None)
    Entry(f"{0:032x}").write(Kept({"graph": b"x"}, ""))
    assert Entry(f"{0:032x}").read() == Kept({"graph": b"x"}, "")


HOLD = """
import sys, time
from effnet.train.gradients.entry import Entry
with Entry("0" * 32).turn():
    print("holds", flush=True)
    sys.stdin.read()
"""


def test_a_rank_that_is_killed_while_it_compiles_keeps_nobody_waiting(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"holds\n"
        with monkeypatch.context() as patch:
            patch.setattr(entries, "WAIT_S", 0.05)
            with Entry("0" * 32).turn():  # it takes too long: compile beside it
                pass
        began_s = time.monotonic()
        holder.kill()
        with Entry("0" * 32).turn():
            assert time.monotonic() - began_s < entries.WAIT_S
