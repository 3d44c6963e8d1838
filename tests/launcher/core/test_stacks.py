"""What faulthandler and py-spy print, and what the stacks of all ranks mean."""

from __future__ import annotations

import faulthandler
import json
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import effnet
from launcher.core.diagnosis import stacks
from launcher.core.diagnosis.stacks import (
    Frame,
    RankStacks,
    ThreadStack,
    parse_dump,
    parse_py_spy,
    verdict,
)

LIBRARY = "/opt/lib/python3.11/threading.py"
REDUCE = (
    Frame("/opt/lib/python3.11/site-packages/mindspore/common/tensor.py", 9, "asnumpy"),
    Frame("/w/effnet/distributed/group.py", 60, "sum"),
    Frame("/w/effnet/train/loop.py", 130, "_epoch"),
)
BARRIER = (
    Frame("/w/effnet/distributed/shared_memory.py", 80, "barrier"),
    Frame("/w/effnet/distributed/ordered_sum.py", 80, "reduce"),
)
DECODE = (Frame("/w/effnet/data/decode.py", 88, "decode"), Frame(LIBRARY, 982, "run"))
WAITS = (
    Frame("/opt/lib/python3.11/concurrent/futures/_base.py", 451, "result"),
    Frame("/w/effnet/data/prefetch.py", 115, "result"),
)
IDLE = (Frame("/opt/lib/python3.11/concurrent/futures/thread.py", 81, "_worker"),)


def rank(number, *threads, **facts):
    return RankStacks(number, "n", tuple(ThreadStack(item) for item in threads), **facts)


def ranks(count, *threads, **facts):
    return [rank(number, *threads, **facts) for number in range(count)]


def test_a_real_dump_is_parsed_with_the_main_thread_first():
    leave = threading.Event()
    threads = [threading.Thread(target=leave.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        once = file.read().decode()
    leave.set()
    for thread in threads:
        thread.join()
    found = parse_dump(once)
    assert found[0].frames[0].function == "test_a_real_dump_is_parsed_with_the_main_thread_first"
    assert found[0].frames[0].line > 0
    assert sum(stack.frames[0].function == "wait" for stack in found) == 3
    assert parse_dump(once + once) == found  # one that came late is followed by the one asked for


@given(st.text())
def test_whatever_a_rank_writes_is_parsed(text):
    parse_dump(text)
    parse_dump(f"Thread 0x01 (most recent call first):\n{text}")
    assert parse_py_spy(text) == () or json.loads(text) == []


def test_py_spys_threads_begin_with_the_main_thread():
    frame = {"name": "decode", "filename": "/w/effnet/data/decode.py", "line": 88}
    told = [{"thread_name": "x", "frames": []}, {"thread_name": "MainThread", "frames": [frame]}]
    assert parse_py_spy(json.dumps(told))[0].frames == (DECODE[0],)


@pytest.mark.parametrize(
    ("outlier", "words"),
    [
        (rank(5, DECODE), "rank 5 is in data/decode.py:88 (decode)"),
        (
            rank(5, WAITS, IDLE, DECODE),
            "rank 5 waits for images: its loader is in data/decode.py:88 (decode)",
        ),
        (rank(5, WAITS, IDLE), "rank 5 waits for images"),
        (
            rank(5, why="its process is stopped", state="T", wchan="do_signal_stop"),
            "rank 5 is stopped (SIGSTOP or a debugger)",
        ),
        (rank(5, REDUCE, state="T"), "rank 5 is stopped in distributed/group.py:60 (sum)"),
        (
            rank(5, why="no answer within 2 s", state="D", wchan="nfs_wait", system_call="read"),
            "rank 5 gave no stacks (no answer within 2 s: state D, in nfs_wait, system call read)",
        ),
        (rank(5, ()), "rank 5 is in native code"),
    ],
)
def test_the_outlier_is_named_in_words(outlier, words):
    others = [item for item in ranks(8, REDUCE, phase="reduce") if item.rank != 5]
    others[0] = rank(0, BARRIER, phase="reduce")  # rank 0's barrier has other lines
    found = verdict([*others, outlier])
    assert found.outliers == (5,)
    assert found.words == f"7 ranks wait in the all-reduce; {words}"


def test_the_places_where_a_rank_waits_are_in_the_trainer():
    for end, functions, _ in stacks._KNOWN:
        if end.startswith("distributed/"):
            text = (Path(effnet.__path__[0]) / end).read_text()
            assert [name for name in functions if f"def {name}(" not in text] == [], end


def test_ranks_of_a_trainer_that_is_not_known_wait_where_most_in_phase_reduce_are():
    own, other = (Frame("/home/u/job/train.py", 7, "sync"),), (Frame("/home/u/job/x.py", 3, "f"),)
    found = verdict([rank(0, own, phase="reduce"), rank(1, other, phase="data")])
    assert found.words == "rank 0 waits in the all-reduce; rank 1 is in job/x.py:3 (f)"
    locked = [*ranks(3, own, phase="reduce"), rank(3, other, phase="reduce")]
    assert verdict(locked).words == "3 ranks wait in the all-reduce; rank 3 is in job/x.py:3 (f)"
    assert verdict(locked).outliers == (3,)


def test_where_no_rank_stands_out_none_is_named():
    assert verdict(ranks(8, REDUCE)).words == "all 8 ranks wait in the all-reduce"
    assert verdict(ranks(8, REDUCE)).outliers == ()
    two = verdict([rank(0, DECODE), rank(1, (Frame("/w/effnet/train/loop.py", 3, "f"),))])
    assert two.outliers == ()
    assert verdict([]).words == ""


def test_the_majority_is_usual_where_nobody_waits():
    found = verdict([*ranks(7, DECODE), rank(7, (Frame("/w/effnet/train/loop.py", 3, "f"),))])
    assert found.outliers == (7,)
    assert found.words == (
        "7 ranks are in data/decode.py:88 (decode); rank 7 is in train/loop.py:3 (f)"
    )


def test_an_installed_trainer_is_no_library():
    frame = Frame("/v/lib/python3.11/site-packages/effnet/data/decode.py", 88, "decode")
    own = Frame("/v/effnet/v/lib/python3.11/site-packages/PIL/Image.py", 5, "open")
    assert "data/decode.py:88" in verdict([rank(0, (own, frame))]).words


def test_many_places_are_cut_and_counted():
    apart = [rank(n, (Frame(f"/w/effnet/a{n}.py", 1, "f"),)) for n in range(9)]
    assert verdict(apart).words.endswith("; 5 ranks elsewhere")
