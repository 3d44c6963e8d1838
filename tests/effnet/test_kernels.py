"""The compiled kernels: built once, kept safely, and what happens where they cannot be built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from effnet import user_cache
from effnet.config import TrainConfig, resolve
from effnet.config.defaults import defaults_for
from effnet.config.resume import differences
from effnet.distributed.group import Group
from effnet.evaluate import depthwise
from effnet.kernels import build
from effnet.kernels.build import NotBuilt

FAKE = """\
#!{python}
import os, sys, time
with open({log!r}, "a") as log:
    log.write("built\\n")
if {fails}:
    print("In file included from ends.cpp:4:", file=sys.stderr)
    sys.exit("1.s:1: Error: no such instruction")
open(sys.argv[sys.argv.index("-o") + 1], "w").write("library")
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "effnet-tui" / "kernels"


def compiler(folder: Path, monkeypatch, *, fails: bool = False) -> Path:
    """Put a compiler before the real one; returns the file where it counts its calls."""
    log, program = folder / "log", folder / "bin" / build.COMPILER
    program.parent.mkdir()
    program.write_text(FAKE.format(python=sys.executable, log=str(log), fails=fails))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return log


def test_processes_that_ask_at_once_build_once(cache, tmp_path, monkeypatch):
    log = compiler(tmp_path, monkeypatch)
    words = [sys.executable, "-c", "from effnet.kernels import build; print(build.library())"]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = {process.communicate()[0].strip() for process in started}
    assert found == {str(build.library())}
    assert log.read_text() == "built\n"
    assert sorted(p.suffix or p.name for p in cache.iterdir()) == [".so", "lock"]
    assert cache.stat().st_mode & 0o077 == 0


def test_another_source_processor_c_library_or_mindspore_is_another_library(
    cache, tmp_path, monkeypatch
):
    log = compiler(tmp_path, monkeypatch)
    found = {build.library()}
    other = tmp_path / "other"
    shutil.copytree(build.FOLDER, other)
    (other / "pool.h").write_text("")
    for place, name, value in (
        (user_cache, "cpu", lambda: "another"), (build, "version", lambda name: "3"),
        (build, "FOLDER", other), (user_cache, "c_library", lambda: "glibc 2.17"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            found.add(build.library())
    assert len(found) == log.read_text().count("built") == 5


def test_the_cache_keeps_libraries_that_are_in_use_and_few_others(cache, tmp_path, monkeypatch):
    compiler(tmp_path, monkeypatch)
    monkeypatch.setattr(build, "LIMIT_FILES", 2)
    old_s, names = time.time() - build.UNUSED_S, ("older", "old", "late")
    first = build.library()
    for name, used_s in zip(names, (old_s - 20, old_s - 10, old_s + 3600), strict=True):
        path = cache / f"kernels-{name}.so"
        path.touch()
        os.utime(path, (used_s, old_s - 30))
    os.utime(first, (old_s - 50, old_s - 30))
    assert build.library() == first
    assert first.stat().st_mtime == pytest.approx(old_s - 30)  # a process that waits compares it
    with monkeypatch.context() as patch:
        patch.setattr(user_cache, "cpu", lambda: "another")
        other = build.library()
    assert set(cache.glob("*.so")) == {first, other, cache / "kernels-late.so"}
    monkeypatch.setattr(build, "LIMIT_FILES", 0)
    monkeypatch.setattr(user_cache, "cpu", lambda: "a third")
    third = build.library()
    assert {first, other, third} <= set(cache.glob("*.so"))


def test_a_failed_build_is_a_reason_and_leaves_nothing(cache, tmp_path, monkeypatch):
    log = compiler(tmp_path, monkeypatch, fails=True)
    for times in (1, 2):
        with pytest.raises(NotBuilt, match=r"g\+\+ failed: 1\.s:1: Error: no such instruction"):
            build.library()
        assert log.read_text() == "built\n" * times
        assert [path.name for path in cache.iterdir()] == ["lock"]


def test_a_library_that_another_user_can_write_is_not_loaded(cache, tmp_path, monkeypatch):
    compiler(tmp_path, monkeypatch)
    path = build.library()
    path.chmod(0o777)
    with pytest.raises(NotBuilt, match="another user"):
        build.library()
    path.chmod(0o500)
    cache.chmod(0o777)
    with pytest.raises(NotBuilt, match="another user"):
        build.library()


@pytest.mark.parametrize("where", ["file", "colon:"])
def test_a_cache_folder_that_is_of_no_use_is_a_reason(where, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / where / "cache"))
    with pytest.raises(NotBuilt) as caught:
        build.library()
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_without_a_compiler_the_tiled_form_trains_and_one_note_says_so(cache, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    config = TrainConfig(**defaults_for("CPU"))
    form = depthwise.choose(config, Group())
    assert form.name == "tiled"
    (note,) = form.notes
    assert note.endswith("no C++ compiler (g++): install g++")
    assert form.written_to(config).depthwise == "tiled"
    with pytest.raises(NotBuilt, match="no C"):
        depthwise.choose(replace(config, depthwise="fused"), Group())
    with pytest.raises(NotBuilt, match="no C"):
        depthwise.choose(replace(config, depthwise="compiled"), Group())
    assert depthwise.choose(replace(config, depthwise="tiled"), Group()).notes == ()


FEW_THREADS = """
import ctypes, resource, sys
library = ctypes.CDLL(sys.argv[1])
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
# A thread's stack alone is 8 MiB.
resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, -1))
resource.setrlimit(resource.RLIMIT_AS, (used + (40 << 20),) * 2)
library.set_threads(64)
"""


@pytest.mark.mindspore
def test_fewer_threads_than_wanted_are_no_fault(kernels):
    words = [sys.executable, "-c", FEW_THREADS, str(kernels.path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class OfTwo(Group):
    """A group whose other rank has no compiler."""

    def sum(self, values):
        return values


@pytest.mark.mindspore
def test_all_ranks_use_the_same_form(kernels):
    config = TrainConfig(**defaults_for("CPU"))
    assert depthwise.choose(config, Group()).name == "fused"
    assert depthwise.choose(replace(config, depthwise="compiled"), Group()).name == "compiled"
    form = depthwise.choose(config, OfTwo(0, 2))
    assert (form.name, form.kernels) == ("tiled", None)
    assert "another rank" in form.notes[0]


def test_a_resume_with_another_form_says_so():
    config = TrainConfig(**defaults_for("CPU"))
    one, other = replace(config, depthwise="fused"), replace(config, depthwise="tiled")
    (found,) = differences(one, other)
    assert not found.refused
    assert str(found).startswith("depthwise: 'fused' in the checkpoint, 'tiled' now: ")


@pytest.mark.mindspore
def test_with_a_frozen_part_only_depthwise_convolutions_are_compiled(kernels):
    config = resolve(flags={"device_target": "CPU", "freeze": "blocks:2"}).config
    assert depthwise.choose(config, Group()).name == "compiled"
    with pytest.raises(Exception, match="set depthwise = compiled"):
        resolve(flags={"device_target": "CPU", "freeze": "blocks:2", "depthwise": "fused"})


@pytest.mark.parametrize("given", [{"device_target": "GPU"}, {"amp_level": "O2"}])
def test_other_devices_and_float16_use_the_plain_convolution(given):
    flags = {"device_target": "CPU", **given}
    config = resolve(flags=flags).config
    assert config.depthwise == "plain"
    assert depthwise.choose(config, Group()).name == "plain"
    with pytest.raises(Exception, match="set it to plain"):
        resolve(flags={**flags, "depthwise": "compiled"})
