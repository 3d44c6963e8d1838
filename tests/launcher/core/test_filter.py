"""Filters and sorting of runs: every field, every comparison, and errors that name the nearest."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.history import filter as found_by
from launcher.core.history.config import Setting, parsed, resolved, shown
from launcher.core.history.filter import FIELDS, chosen, config_keys, parse
from launcher.core.history.names import FIELD_NAMES
from launcher.core.history.summary import RunSummary
from launcher.core.run.state import RunStatus
from launcher.errors import UsageError

NOW = 1_000_000.0


def made(run: str, status: str = "finished", **values: Any) -> RunSummary:
    plain = dict.fromkeys(field.name for field in fields(RunSummary))
    texts = {"note": "", "cause": "", "config": {}, "profile": "local-cpu", "world_size": 2}
    known = {**plain, **texts, "run": run, "path": f"/runs/{run}", "status": RunStatus(status)}
    return RunSummary(**{**known, **values})


RUNS = (
    made("a", "running", world_size=8, created_s=NOW - 30, eta_s=600.0, loss=0.5, progress=0.3),
    made("gpu-b", "failed", profile="gpu-1x8", world_size=8, note="Warm-up test", best_top_1=0.5,
         cause="rank 1: out of memory", duration_s=7200.0, config={"lr_max": 0.1, "variant": "b2"},
         created_s=NOW - 86_400, attempt=3),
    made("c", best_top_1=0.91, duration_s=5400.0, config={"lr_max": 0.2, "hflip": True, "seed": 1},
         created_s=NOW - 3_600, attempt=1, loss=0.2, progress=1.0, steps_done=450),
    made("d", "lost", config={"lr_max": 1e-05}, duration_s=59.0),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a gpu-b c d"),
        ("state:failed", "gpu-b"),
        ("state:failed,lost", "gpu-b d"),
        ("state:live", "a"),
        ("state!=failed", "a c d"),
        ("-state:failed", "a c d"),
        ("STATE:failed", None),
        ("profile:gpu", "gpu-b"),
        ("profile=gpu", ""),
        ("profile=local-cpu", "a c d"),
        ("lr_max>=0.1", "gpu-b c"),
        ("lr_max>=1e-1 lr_max<0.2", "gpu-b"),
        ("lr_max=0.00001", "d"),
        ("lr_max!=0.1", "c d"),
        ("variant:b2", "gpu-b"),
        ("hflip:true", "c"),
        ("seed:1", "c"),
        ('note:"warm-up"', "gpu-b"),
        ('note:"warm-up test"', "gpu-b"),
        ('"warm-up test"', "gpu-b"),
        ("warm", "gpu-b"),
        ("gpu warm", "gpu-b"),
        ("-warm", "a c d"),
        ("cause:memory", "gpu-b"),
        ("top1>0.8", "c"),
        ("top1>80%", "c"),
        ("top1>80", "c"),
        ("top1<=0.5", "gpu-b"),
        ("-top1>0.8", "a gpu-b d"),
        ("ranks:8", "a gpu-b"),
        ("ranks<8", "c d"),
        ("duration>1h", "gpu-b c"),
        ("duration>1h30min", "gpu-b"),
        ("duration<1m", "d"),
        ("duration<=59s", "d"),
        ("duration>5399.5", "gpu-b c"),
        ("age<2h", "a c"),
        ("age>0.5d", "gpu-b"),
        ("eta<=10min", "a"),
        ("attempt>1", "gpu-b"),
        ("steps>=450", "c"),
        ("done=100%", "c"),
        ("loss<0.3", "c"),
        ("id:gpu", "gpu-b"),
    ],
)
def test_a_filter_finds(text: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(UsageError):
            chosen(RUNS, text, now_s=NOW)
        return
    assert [run.run for run in chosen(RUNS, text, now_s=NOW)] == expected.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lrmax>1", ("lrmax>1: there is no field 'lrmax'", "did you mean 'lr_max'", "Fields: id")),
        ("tpo1>1", ("did you mean 'top1'",)),
        ("state:faild", ("did you mean 'failed'", "States: created")),
        ("state>failed", ("cannot be compared",)),
        ("ranks:eight", ("'eight' is not a number", "ranks>2")),
        ("ranks:nan", ("is not a number",)),
        ("duration>1week", ("'1week' is not a time", "duration>1h")),
        ("top1>good", ("'good' is not a share", "top1>80%")),
        ("lr_max>=", ("a value is missing after '>='",)),
        ('note:"warm', ("a quote is not closed",)),
    ],
)
def test_an_error_says_what_is_wrong_and_the_nearest_name(
    text: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as error:
        chosen(RUNS, text, now_s=NOW)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", "a gpu-b c d"),
        ("id", "a c d gpu-b"),
        ("top1", "c gpu-b a d"),
        ("loss", "c a gpu-b d"),
        ("ranks", "a gpu-b c d"),
        ("duration", "gpu-b c d a"),
        ("age", "a c gpu-b d"),
        ("lr_max", "d gpu-b c a"),
        ("variant", "gpu-b a c d"),
        ("state", "gpu-b c d a"),
    ],
)
def test_sorting_has_unknown_values_last(field: str, expected: str) -> None:
    assert [run.run for run in chosen(RUNS, sort=field, now_s=NOW)] == expected.split()
    turned = [run.run for run in chosen(RUNS, sort=field, reverse=True, now_s=NOW)]
    get = found_by.field_of(field, config_keys(RUNS), "").get if field else None
    unknown = {run.run for run in RUNS if get and get(run, NOW) in (None, "")}
    assert set(turned[len(turned) - len(unknown) :]) == unknown


def test_a_sort_by_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'duration'"):
        chosen(RUNS, sort="duraton", now_s=NOW)


def test_keys_of_several_types_can_be_sorted_and_compared() -> None:
    values = ("x", 2, 1.5, True, None, [1, 2], {"a": 1}, float("nan"))
    runs = [made(f"r{at}", config={"k": value}) for at, value in enumerate(values)]
    assert len(chosen(runs, sort="k", now_s=NOW)) == len(values)
    assert {"r1", "r2"} <= {run.run for run in chosen(runs, "k>1", now_s=NOW)}


def test_every_field_is_one_of_a_summary_and_has_an_example() -> None:
    for name, field in FIELDS.items():
        field.get(RUNS[1], NOW)
        chosen(RUNS, sort=name, now_s=NOW)
        if field.kind not in (found_by.Kind.TEXT, found_by.Kind.STATE):
            parse(f"{name}>{found_by._EG[name]}")


@given(st.text(st.sampled_from('abtop1:=<>!-" lr_max0.%h')), st.sampled_from(["", "top1", "id"]))
def test_no_text_raises_anything_but_a_usage_error(text: str, sort: str) -> None:
    with suppress(UsageError):
        assert set(map(id, chosen(RUNS, text, sort, now_s=NOW))) <= set(map(id, RUNS))


def test_a_bare_word_finds_a_run_by_its_id_and_note() -> None:
    for run in RUNS:
        assert run in chosen(RUNS, run.run, now_s=NOW)
        assert run not in chosen(RUNS, f"-{run.run}", now_s=NOW)
        assert chosen([replace(run, note="x y")], '"x y"', now_s=NOW)


def test_the_configuration_has_the_strongest_value_and_its_source() -> None:
    saved = {"lr_max": 0.2, "seed": 1, "save_checkpoint_path": "/x", "dataset_path": "/old"}
    found = resolved(saved, {"lr_max": 0.2}, "p", [("mixed-up", "1e-3"), ("hflip", "True")], "/new")
    assert found == {
        "dataset_path": Setting("/new", "--data"),
        "hflip": Setting(True, "--set"),
        "lr_max": Setting(0.2, "profile p"),
        "mixed_up": Setting(0.001, "--set"),
        "seed": Setting(1, "default"),
    }
    assert [shown(parsed(text)) for text in ("True", "16", "1e-3", "b2")] == [
        "true", "16", "0.001", "b2",
    ]  # fmt: skip


def test_the_names_in_help_are_the_fields() -> None:
    assert tuple(FIELDS) == FIELD_NAMES
