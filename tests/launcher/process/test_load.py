"""Counters of processes, cgroups and the node, from files as kernels write them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from launcher.process import load

PID = 7
STAT = b"7 (a (b) c) D 1 2 3 4 5 6 7 8 21 10 250 50 0 0 20 0 1 0 99"


def write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/proc with one process of two threads, in cgroups of both versions."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    mount = "30 25 0:26 / {} rw - {} cgroup {}\n"
    mounts = mount.format(groups / "cpu", "cgroup", "rw,cpu")
    mounts += mount.format(groups / "memory", "cgroup", "rw,memory")
    mounts += mount.format(groups / "unified", "cgroup2", "rw")
    own = proc / str(PID)
    write(
        {
            proc / "self/mountinfo": mounts,
            own / "cgroup": "4:memory:/pod/rank\n1:cpu:/pod/rank\n0::/pod/rank\n",
            own / "task/7/schedstat": "1 1500000000 3\n",
            own / "task/8/schedstat": "1 500000000 3\n",
            own / "task/7/stat": "7 (x) S 1",
            own / "task/8/stat": "8 (x) D 1",
            groups / "cpu/pod/rank/cpu.stat": "nr_periods 9\nthrottled_time 3000000000\n",
            groups / "cpu/pod/cpu.stat": "nr_periods 9\nthrottled_time 1000000000\n",
            groups / "memory/pod/rank/memory.failcnt": "12\n",
            groups / "memory/pod/memory.failcnt": "3\n",
            groups
            / "unified/pod/rank/io.pressure": "some avg10=0.00 total=4000000\nfull total=1\n",
            proc / "pressure/io": "some avg10=0.00 total=9000000\nfull total=1\n",
            proc / "pressure/memory": "some avg10=0.00 total=7000000\nfull total=1\n",
        }
    )
    (own / "stat").write_bytes(STAT)
    monkeypatch.setattr(load, "_PROC", proc)
    load._mounts.cache_clear()
    monkeypatch.setattr(load, "_TICKS_PER_S", 100)
    return proc


@pytest.fixture(autouse=True)
def _clear() -> None:
    yield
    load._mounts.cache_clear()


def test_counters_are_of_all_threads_and_of_the_cgroups_that_limit_them(proc: Path) -> None:
    assert load.of_process(PID) == {
        "cpu_s": 3.0,
        "major_faults": 21,
        "core_wait_s": 2.0,
        "throttled_s": 4.0,
        "limit_hits": 15,
        "io_pressure_s": 4.0,  # the cgroup's own
        "memory_pressure_s": 7.0,  # the machine's: the cgroup has none
    }
    assert load.is_blocked(PID)
    (proc / "7/task/8/stat").write_text("8 (D) S 1")
    assert not load.is_blocked(PID)


def test_cgroups_of_version_2(proc: Path) -> None:
    group = proc.parent / "cgroup/unified/pod/rank"
    write(
        {
            proc / "self/mountinfo": (
                f"1 2 0:3 /host/x {proc.parent}/cgroup/unified rw - cgroup2 c rw"
            ),
            proc / "7/cgroup": "0::/host/x/pod/rank\n",  # the host's path, in a container
            group / "cpu.stat": "usage_usec 5\nthrottled_usec 2500000\n",
            group / "memory.events": "low 0\nhigh 4\nmax 5\noom 1\n",
        }
    )
    found = load.of_process(PID)
    assert (found["throttled_s"], found["limit_hits"]) == (2.5, 9)


def test_the_least_limit_of_the_cgroups_around_a_process_counts(proc: Path) -> None:
    """As a job of Slurm sets it: the step's own cgroup has none, the job's has."""
    memory, unified = proc.parent / "cgroup/memory", proc.parent / "cgroup/unified"
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert load.memory_limit_bytes(PID) == machine
    none = f"{(1 << 63) - 4096}\n"
    write(
        {
            memory / "pod/rank/memory.limit_in_bytes": none,
            memory / "pod/memory.limit_in_bytes": "3000000\n",
            memory / "memory.limit_in_bytes": none,
            unified / "pod/rank/memory.max": "max\n",
            unified / "pod/memory.max": "4000000\n",
        }
    )
    assert load.memory_limit_bytes(PID) == 3000000
    write({unified / "pod/memory.max": "2000000\n"})
    assert load.memory_limit_bytes(PID) == 2000000
    write({unified / "memory.max": "1000000\n"})  # the container's, where its hierarchy begins
    assert load.memory_limit_bytes(PID) == 1000000


def test_a_limit_that_cannot_be_read_is_the_machine_s(proc: Path) -> None:
    (proc / "7/cgroup").write_text("broken")
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert load.memory_limit_bytes(PID) == load.memory_limit_bytes(8) == machine


@pytest.mark.parametrize("text", ["", "broken", "0::", "a:b:c:d\n\n", "some avg10=x\n"])
def test_files_of_another_form_give_no_figure(proc: Path, text: str) -> None:
    for path in proc.parent.rglob("*"):
        if path.is_file() and path.name != "stat":
            path.write_text(text)
    assert load.of_process(PID) == {"cpu_s": 3.0, "major_faults": 21}


def test_a_process_that_is_gone_has_none(proc: Path) -> None:
    assert load.of_process(8) == {}
    assert not load.is_blocked(8)


def test_rates_are_growth_a_second_and_never_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(load.time, "monotonic", lambda: clock[0])
    rates = load.Rates()
    assert rates.of("a", {"x": 1, "y": 5}) == {}
    assert rates.of("b", {"x": 1}) == {}
    clock[0] += 2
    assert rates.of("a", {"x": 5, "y": 4, "z": 1}) == {"x": 2.0}


def test_the_figures_of_this_process_and_machine_are_there() -> None:
    began = time.process_time()
    before = load.of_process(os.getpid())
    while time.process_time() - began < 0.2:
        pass
    assert load.of_process(os.getpid())["cpu_s"] - before["cpu_s"] >= 0.08
    assert {"io_wait_s", "cpu_s", "retransmits", "network_errors"} <= load.of_node().keys()


def test_oom_kills_are_those_of_the_own_cgroup_else_of_the_machine(proc: Path) -> None:
    assert load.oom_kills(PID) is None
    write({proc / "vmstat": "nr_free_pages 12\noom_kill 7\n"})
    assert load.oom_kills(PID) == 7
    write({proc.parent / "cgroup/unified/pod/memory.events": "max 4\noom_kill 3\n"})
    assert load.oom_kills(PID) == 3
    write({proc.parent / "cgroup/unified/pod/rank/memory.events": "max 4\noom_kill 2\n"})
    assert load.oom_kills(PID) == 2
    v1 = proc.parent / "cgroup/memory/pod/rank/memory.oom_control"
    write({v1: "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"})
    assert load.oom_kills(PID) == 1
    assert load.machine_oom_kills() == 7
