"""Logical ranks: fewer processes train as the run that began with more of them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from effnet.config import resolve
from effnet.contract.report import start_line
from effnet.distributed.group import Group, GroupError
from effnet.distributed.logical import RANKS, SIZE, carrying, notes
from tests.effnet import ranks
from tests.effnet.conftest import few_digits


def test_without_the_variables_a_rank_carries_itself() -> None:
    group = Group(1, 3)
    assert carrying(group, {}) is group
    assert (group.logical_ranks, group.world_size, notes(group)) == ((1,), 3, ())


def test_a_rank_alone_carries_what_it_is_given() -> None:
    group = carrying(Group(), {RANKS: "0,2,1", SIZE: "3"})
    assert (group.rank, group.size, group.logical_ranks, group.world_size) == (0, 1, (0, 2, 1), 3)
    assert "1 rank carries 3 logical ranks" in notes(group)[0]
    line = start_line(resolve("CPU").config, 0, 1, 100, 5, 60, group.world_size)
    assert "rank:[0/1]" in line
    assert "x3]" in line


@pytest.mark.parametrize(
    ("text", "size", "why"),
    [
        ("0,1", "3", "not each of 3 logical ranks is carried once"),
        ("0,1,1", "2", "not each of 2 logical ranks is carried once"),
        ("0,1", "1", "do not fit on all ranks"),
        ("0,,1", "2", "are not ranks and a number"),
        ("0,1", "", "are not ranks and a number"),
    ],
)
def test_ranks_that_are_missing_or_there_twice_are_refused(text: str, size: str, why: str) -> None:
    with pytest.raises(GroupError, match=why):
        carrying(Group(), {RANKS: text, SIZE: size})


RANK = """
import os, sys
from effnet import device
from effnet.distributed import logical
from effnet.distributed.group import join

device.set_up("CPU")
own = sys.argv[2].split("|")
if any(own):
    os.environ["EFFNET_LOGICAL_RANKS"] = own[int(os.environ.get("RANK_ID", "0"))]
    os.environ["EFFNET_LOGICAL_SIZE"] = "4"
group = logical.carrying(join("MS_ROLE" in os.environ, "CPU"), os.environ)

from effnet.config import resolve
from effnet.contract.reporter import Heartbeat, StopRequest
from effnet.train.loop import Trainer

config = resolve(sets=sys.argv[3:]).config
trainer = Trainer(config, group, Heartbeat(None), resume_from=sys.argv[1])
take = trainer._train.step


def step(*given):
    outcome = take(*given)
    print("loss", given[2], repr(outcome.loss), flush=True)
    return outcome


trainer._train = trainer._train._replace(step=step)
trainer.run(StopRequest())
"""
SETTINGS = {
    "variant": "b0",
    "class_num": 10,
    "image_size": 32,
    "batch_size": 4,
    "epoch_size": 2,
    "warmup_epochs": 0,
    "mode": "pynative",
    "ema_decay": 0.9,
    "bn_momentum": 0.5,
    "bn_eps": 0.1,
    "interval": 1,
    "mixup": 0.2,
    "dropout": 0.3,
    "drop_path": 0.2,
    "clip_norm": 1.0,
    "save_checkpoint_steps": 2,
    "keep_checkpoint_max": 20,
}


@pytest.mark.mindspore
@pytest.mark.slow
@pytest.mark.usefixtures("small_b0")
def test_four_logical_ranks_on_two_processes_or_one_train_as_on_four(
    digits: Path, tmp_path: Path
) -> None:
    """To the last bit. From within an epoch too, with as many for each process or not."""
    images = few_digits(digits, tmp_path / "few", 8, 3)

    changed = "changed since the checkpoint: sums over the ranks were made by MindSpore's"

    def trained(
        name: str, carried: str, resume: Path | str = "", notes: int = 0
    ) -> tuple[dict[int, str], str]:
        """The loss of each step, and the digest of the state at the end."""
        own = {"dataset_path": images, "save_checkpoint_path": tmp_path / name / "checkpoint"}
        words = [f"{key}={value}" for key, value in {**SETTINGS, **own}.items()]
        size = carried.count("|") + 1
        argv = [sys.executable, "-c", RANK, resume, carried, *words]
        ended = ranks.run(argv, size, tmp_path / name, timeout_s=400)
        assert [one.exit_code for one in ended] == [0] * size, [one.text for one in ended]
        assert ended[0].out.count(changed) == notes
        lines = [line.split() for line in ended[0].out.splitlines() if line.startswith("loss ")]
        (state,) = {re.findall(r"state:\[(\w+)\]", one.out)[-1] for one in ended}
        return {int(step): loss for _, step, loss in lines}, state

    four, state = trained("four", "|||")
    assert sorted(four) == list(range(10))
    assert len(set(four.values())) == 10
    rest = {n: four[n] for n in range(2, 10)}
    within = tmp_path / "four/checkpoint/step-00000002.ckpt"
    assert trained("two", "0,1,3|2", within) == (rest, state)
    # As a run that all-reduced otherwise would have left it.
    manifest = within.with_name(f"{within.name}.manifest.json")
    text = manifest.read_text()
    assert text.count('"sums": "ordered"') == 1
    manifest.write_text(text.replace('"sums": "ordered"', '"sums": "library"'))
    assert trained("one", "0,1,2,3", within, notes=1) == (rest, state)
