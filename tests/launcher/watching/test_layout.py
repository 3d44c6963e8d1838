"""Which files are the logs of which rank, for what each launcher writes."""

from __future__ import annotations

import pytest

from launcher.watching.layout import Layout, of_files, of_folder

MSRUN = ["scheduler.log", "worker_0.log", "worker_1.log", "worker_10.log"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            MSRUN,
            Layout(
                "msrun",
                ({0: ("worker_0.log",), 1: ("worker_1.log",), 10: ("worker_10.log",)},),
                "scheduler.log",
            ),
        ),
        # Of mindformers' output folder, what msrun wrote: it has everything that a rank printed.
        (
            ["output/log/rank_0/info.log", "output/msrun_log/worker_0.log"],
            Layout("msrun", ({0: ("output/msrun_log/worker_0.log",)},)),
        ),
        # --worker_log_name node-a
        (
            ["node-a_0.log", "node-a_1.log", "scheduler.log"],
            Layout("msrun", ({0: ("node-a_0.log",), 1: ("node-a_1.log",)},), "scheduler.log"),
        ),
        (
            ["1/rank.0/stdout", "1/rank.0/stderr", "1/rank.1/stdout"],
            Layout(
                "mpirun", ({0: ("1/rank.0/stdout", "1/rank.0/stderr"), 1: ("1/rank.1/stdout",)},)
            ),
        ),
        (
            [
                "none_x/attempt_0/0/stderr.log",
                "none_x/attempt_0/0/stdout.log",
                "none_x/attempt_1/0/stdout.log",
            ],
            Layout(
                "torchrun",
                (
                    {0: ("none_x/attempt_0/0/stdout.log", "none_x/attempt_0/0/stderr.log")},
                    {0: ("none_x/attempt_1/0/stdout.log",)},
                ),
            ),
        ),
        (
            ["rank_0/error.log", "rank_0/info.log", "rank_1/info.log"],
            Layout(
                "mindformers",
                ({0: ("rank_0/info.log", "rank_0/error.log"), 1: ("rank_1/info.log",)},),
            ),
        ),
        (["notes.txt", "train_0.log", "worker_x.log", f"worker_{10**9}.log"], Layout()),
        ([], Layout()),
    ],
)
def test_the_files_of_each_launcher(names: list[str], expected: Layout) -> None:
    assert of_folder(names) == expected


def test_of_several_jobs_the_one_that_changed_last() -> None:
    names = {"a/worker_0.log": 10.0, "b/worker_0.log": 20.0, "c/worker_0.log": 5.0}
    assert of_folder(names, names).attempts == ({0: ("b/worker_0.log",)},)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/l/rank2.txt", "/l/rank10.txt"], {2: ("/l/rank2.txt",), 10: ("/l/rank10.txt",)}),
        (["/l/run7/a.log", "/l/run7/b.log"], {0: ("/l/run7/a.log",), 1: ("/l/run7/b.log",)}),
        (["/l/a-1.log", "/l/b-1.log"], {0: ("/l/a-1.log",), 1: ("/l/b-1.log",)}),
        (["/l/train.log"], {0: ("/l/train.log",)}),
    ],
)
def test_files_that_a_pattern_matched(paths: list[str], expected: dict[int, object]) -> None:
    assert of_files(paths) == Layout("files", (expected,))  # type: ignore[arg-type]


def test_a_pattern_may_match_what_a_launcher_wrote() -> None:
    paths = ["/l/worker_0.log", "/l/worker_1.log"]
    assert of_files(paths).launcher == "msrun"
