"""The stacks of a run's ranks: what faulthandler and py-spy print, parsed, and what it means.

In a hang most ranks wait in the same all-reduce. The outlier is the rank that is somewhere else.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from launcher.core.diagnosis.hang import STOPPED_STATES
from launcher.core.run.heartbeat import Phase

_THREAD = re.compile(r"^(?:Current thread|Thread) (0x[0-9a-f]+)\b.*\(most recent call first\):$")
_FRAME = re.compile(r'^  File "(.*)", line (\d+|\?\?\?) in (.*)$')
_LIBRARY = re.compile(r"^<|/(site|dist)-packages/|/lib(64)?/python3[^/]*/")
_TRAINER = "/effnet/"

MAX_THREADS = 32
MAX_FRAMES = 40
MAX_GROUPS = 4


@dataclass(frozen=True)
class Frame:
    """A call; ``line`` is 0 where it is not known."""

    file: str
    line: int
    function: str


@dataclass(frozen=True)
class ThreadStack:
    """One thread, innermost call first."""

    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class RankStacks:
    """What one rank does: all of its threads, the main thread first.

    ``phase`` is its heartbeat's. Without threads ``why`` says why there are none, and ``state``
    (its letter in proc(5)), ``wchan`` and ``system_call`` are what the kernel knows.
    """

    rank: int
    node: str
    threads: tuple[ThreadStack, ...] = ()
    phase: str = ""
    state: str = ""
    wchan: str = ""
    system_call: str = ""
    why: str = ""


@dataclass(frozen=True)
class StackGroup:
    """Ranks at the same place; ``frames`` are the first one's."""

    ranks: tuple[int, ...]
    words: str
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """``outliers`` are the ranks that the others wait for; empty where none stands out."""

    words: str
    outliers: tuple[int, ...]
    groups: tuple[StackGroup, ...]


@dataclass(frozen=True)
class StackDump:
    """The stacks of all ranks at one moment, as they are stored. ``asked_s`` is Unix time."""

    attempt: int
    number: int
    asked_s: float
    why: str
    verdict: Verdict
    ranks: tuple[RankStacks, ...] = ()


def parse_dump(text: str) -> tuple[ThreadStack, ...]:
    """The last dump in what faulthandler wrote, main thread first; empty where there is none."""
    threads: dict[str, list[Frame]] = {}
    frames: list[Frame] = []
    for line in text.splitlines():
        if header := _THREAD.match(line):
            if header[1] in threads:
                threads = {}  # the next dump begins
            frames = threads.setdefault(header[1], [])
        elif (found := _FRAME.match(line)) and len(frames) < MAX_FRAMES:
            number = int(found[2]) if found[2].isdecimal() else 0
            frames.append(Frame(found[1], number, found[3]))
    # faulthandler begins with the newest thread.
    stacks = [ThreadStack(tuple(item)) for item in reversed(threads.values())]
    return tuple(stacks[:MAX_THREADS])


def parse_py_spy(text: str) -> tuple[ThreadStack, ...]:
    """What ``py-spy dump --json`` printed, main thread first; empty for anything else."""
    try:
        stacks = [
            (
                thread["thread_name"] != "MainThread",
                ThreadStack(
                    tuple(
                        Frame(str(frame["filename"]), int(frame["line"]), str(frame["name"]))
                        for frame in thread["frames"][:MAX_FRAMES]
                    )
                ),
            )
            for thread in json.loads(text)
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()
    return tuple(stack for _, stack in sorted(stacks, key=lambda item: item[0]))[:MAX_THREADS]


@dataclass(frozen=True)
class _Doing:
    """What a rank does, as a verb for one rank and for several."""

    one: str
    several: str
    frames: tuple[Frame, ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        return self.one, self.several


ALL_REDUCE = "in the all-reduce"
_ALL_REDUCE = (f"waits {ALL_REDUCE}", f"wait {ALL_REDUCE}")
_JOIN = ("waits for the other ranks to join", "wait for the other ranks to join")
_KNOWN = (
    ("distributed/ordered_sum.py", ("reduce",), _ALL_REDUCE),
    ("distributed/sums.py", ("join",), _JOIN),
    ("distributed/group.py", ("sum", "reduce", "broadcast"), _ALL_REDUCE),
    ("distributed/group.py", ("join",), _JOIN),
    ("mindspore/communication/management.py", ("init",), _JOIN),
    ("mindspore/communication/comm_func.py", (), _ALL_REDUCE),
    ("mindspore/mint/distributed/distributed.py", (), _ALL_REDUCE),
    ("torch/distributed/distributed_c10d.py", (), _ALL_REDUCE),
)
"""Where a rank waits for its peers: the end of a file's path, functions in it (empty: any)."""
_LOADER = "data/"
_WAITS_FOR_IMAGES = ("data/prefetch.py", "result")


def verdict(found: Sequence[RankStacks]) -> Verdict:
    """Groups the ranks by what they do, and names those that the others wait for."""
    doing = {item.rank: _doing(item) for item in found}
    if not any(item.place == _ALL_REDUCE for item in doing.values()):
        doing |= _waiting_by_heartbeat(found, doing)
    members: dict[tuple[str, str], list[int]] = {}
    for rank in sorted(doing):
        members.setdefault(doing[rank].place, []).append(rank)
    order = sorted(members, key=lambda place: (place != _ALL_REDUCE, -len(members[place])))
    groups = tuple(
        StackGroup(
            tuple(members[place]),
            _in_words(members[place], place, len(doing)),
            doing[members[place][0]].frames,
        )
        for place in order
    )
    words = [group.words for group in groups[:MAX_GROUPS]]
    if elsewhere := sum(len(group.ranks) for group in groups[MAX_GROUPS:]):
        words.append(f"{_count(elsewhere)} elsewhere")
    return Verdict("; ".join(words), _outliers(found, members), groups)


def _outliers(
    found: Sequence[RankStacks], members: dict[tuple[str, str], list[int]]
) -> tuple[int, ...]:
    usual = members.get(_ALL_REDUCE) or max(members.values(), key=len, default=[])
    if _ALL_REDUCE in members or 2 * len(usual) > len(found):
        return tuple(sorted({item.rank for item in found} - set(usual)))
    return tuple(sorted(item.rank for item in found if not item.threads or _is_stopped(item)))


def _waiting_by_heartbeat(
    found: Sequence[RankStacks], doing: dict[int, _Doing]
) -> dict[int, _Doing]:
    """Of a trainer whose calls are not known: most ranks in the phase `reduce` are at one place."""
    reduce = [item.rank for item in found if item.phase == Phase.REDUCE.value and item.threads]
    common = Counter(doing[rank].place for rank in reduce).most_common(2)
    if not common or (len(common) > 1 and common[0][1] == common[1][1]):
        return {}
    return {
        rank: _Doing(*_ALL_REDUCE, doing[rank].frames)
        for rank in reduce
        if doing[rank].place == common[0][0]
    }


def _doing(rank: RankStacks) -> _Doing:
    if not rank.threads:
        return _without_stacks(rank)
    main = rank.threads[0].frames
    place = next((known for frame in main if (known := _known(frame))), None)
    if place is not None and not _is_stopped(rank):
        return _Doing(*place, main)
    if any(_short(frame.file) == _WAITS_FOR_IMAGES[0] for frame in main) and any(
        frame.function == _WAITS_FOR_IMAGES[1] for frame in main
    ):
        loader = _loader(rank.threads[1:])
        where = f": its loader is in {_where(loader)}" if loader else ""
        their = f": their loaders are in {_where(loader)}" if loader else ""
        return _Doing(f"waits for images{where}", f"wait for images{their}", loader or main)
    where = _where(main)
    if _is_stopped(rank):
        return _Doing(f"is stopped in {where}", f"are stopped in {where}", main)
    return _Doing(f"is in {where}", f"are in {where}", main)


def _loader(threads: Sequence[ThreadStack]) -> tuple[Frame, ...]:
    """The place where most threads prepare images; one without work is in the library."""
    working = [
        thread.frames
        for thread in threads
        if any(_short(frame.file).startswith(_LOADER) for frame in thread.frames)
    ]
    common = Counter(_where(frames) for frames in working).most_common(1)
    return next((frames for frames in working if _where(frames) == common[0][0]), ())


def _without_stacks(rank: RankStacks) -> _Doing:
    if _is_stopped(rank):
        words = "stopped (SIGSTOP or a debugger)"
        return _Doing(f"is {words}", f"are {words}")
    known = {"state": rank.state, "in": rank.wchan, "system call": rank.system_call}
    details = ", ".join(f"{name} {value}" for name, value in known.items() if value)
    words = ": ".join(filter(None, (rank.why or "no stacks", details)))
    return _Doing(f"gave no stacks ({words})", f"gave no stacks ({words})")


def _is_stopped(rank: RankStacks) -> bool:
    return rank.state != "" and rank.state in STOPPED_STATES


def _known(frame: Frame) -> tuple[str, str] | None:
    for end, functions, place in _KNOWN:
        if frame.file.endswith(f"/{end}") and (not functions or frame.function in functions):
            return place
    return None


def _where(frames: Sequence[Frame]) -> str:
    """``data/decode.py:88 (decode)``: the innermost call that is not a library's."""
    own = [frame for frame in frames if _is_trainer(frame.file) or not _LIBRARY.search(frame.file)]
    for frame in (*own, *frames):
        return f"{_short(frame.file)}:{frame.line} ({frame.function})"
    return "native code"


def _is_trainer(file: str) -> bool:
    """Whether it is the bundled trainer's, which may be installed in site-packages."""
    return _TRAINER in file and not _LIBRARY.search(file.rpartition(_TRAINER)[2])


def _short(file: str) -> str:
    if _is_trainer(file):
        return file.rpartition(_TRAINER)[2]
    return "/".join(PurePath(file).parts[-2:])


def _in_words(ranks: Sequence[int], place: tuple[str, str], world: int) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]} {place[0]}"
    who = _count(len(ranks))
    if len(ranks) == world:
        who = f"all {who}"
    elif place != _ALL_REDUCE and len(ranks) <= 6:
        who = f"ranks {', '.join(map(str, ranks))}"
    return f"{who} {place[1]}"


def _count(number: int) -> str:
    return "1 rank" if number == 1 else f"{number} ranks"
