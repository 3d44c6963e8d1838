"""`python -m effnet eval`: the numbers, the images and weights behind them, and what it refuses."""

from __future__ import annotations

import json
import shutil

import pytest

from effnet.__main__ import main
from effnet.evaluate.evaluator import count
from launcher.core.run import report
from tests.effnet import ranks

pytestmark = [pytest.mark.mindspore, pytest.mark.usefixtures("small_b0")]


@pytest.mark.slow
def test_one_and_three_ranks_give_the_same_numbers(taught, digits_359, tmp_path, answer):
    argv = ["eval", "--dataset_path", digits_359, "--checkpoint_path", taught]
    alone = answer(*argv)
    words = [*ranks.EFFNET, *argv, "--json", "--run_distribute", True]
    ended = ranks.run(words, 3, tmp_path)
    assert [rank.exit_code for rank in ended] == [0] * 3, ended[0].err[-3000:]
    assert [rank.out for rank in ended[1:]] == [""] * 2
    shared = json.loads(ended[0].out)
    for found in (alone, shared):
        del found["images_per_s"]
    assert alone["images"] == 359
    assert 0.85 < alone["top_1_acc"] < 0.99
    assert shared == alone


def test_the_printed_lines_are_the_references_and_the_parsers(taught, digits, one_process, capfd):
    words = ("eval", "--dataset-path", str(digits), "--checkpoint-path", str(taught))
    assert main(list(words)) == 0
    out, err = capfd.readouterr()
    first, second = out.splitlines()
    line = report.parse(first)
    assert (line.epoch, line.step, line.images, line.weights) == (1, 45, 360, "ema")
    assert second.startswith("result: {'Loss': ")
    assert second.endswith(f" ckpt = {taught}")
    assert report.parse(second).top_1_acc > 0.85
    # Nobody looks: no bar.
    assert err == ""


def test_json_the_average_by_default_and_unreadable_images(taught, digits, tmp_path, answer):
    folder = tmp_path / "val"
    shutil.copytree(digits / "val", folder)
    broken = min((folder / "0").iterdir())
    broken.write_bytes(b"no image")
    found = answer("eval", "--dataset_path", folder, "--checkpoint_path", taught)
    assert found.keys() == {
        *("loss", "top_1_acc", "top_5_acc", "images", "unreadable", "checkpoint"),
        *("weights", "step", "epoch", "images_per_s"),
    }
    assert (found["images"], found["unreadable"]) == (359, 1)
    assert (found["weights"], found["step"], found["epoch"]) == ("ema", 45, 1)
    assert found["checkpoint"] == str(taught)
    assert found["top_1_acc"] > 0.85
    own = answer(
        *("eval", "--dataset_path", folder, "--checkpoint_path", taught),
        *("--weights", "model", "--batch_size", 64),
    )
    assert own["weights"] == "model"
    assert own["top_1_acc"] < 0.5


def test_weights_from_elsewhere_have_no_step(drawn_b0, digits, answer):
    found = answer(
        *("eval", "--dataset_path", digits, "--checkpoint_path", drawn_b0),
        *("--eval_image_size", 32, "--device_target", "CPU"),
    )
    assert (found["step"], found["epoch"], found["weights"]) == (None, None, "model")


def test_other_classes_are_named(taught, digits, tmp_path, fails):
    folder = tmp_path / "val"
    shutil.copytree(digits / "val", folder)
    (folder / "7").rename(folder / "seven")
    code, err = fails("eval", "--dataset_path", folder, "--checkpoint_path", taught)
    assert code == 3
    assert f"only in {taught}: 7\n" in err
    assert f"only in {folder}: seven\n" in err


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("--class_num", "11"), 2, ""),
        (("--set", "class_num=11"), 2, "class_num is 11, the checkpoint's is 10"),
        (("--set", "padding=same"), 2, "padding is 'same', the checkpoint's is 'symmetric'"),
        (("--device_target", "Ascend"), 6, "device target Ascend 0 is not usable here"),
    ],
)
def test_unusable_checkpoints(taught, digits, fails, args, code, text):
    if args[0] == "--class_num":
        with pytest.raises(SystemExit) as left:
            fails("eval", "--dataset_path", digits, "--checkpoint_path", taught, *args)
        assert left.value.code == code
        return
    found, err = fails("eval", "--dataset_path", digits, "--checkpoint_path", taught, *args)
    assert (found, text in err) == (code, True), err


def test_missing_damaged_and_averageless_checkpoints_are_refused(
    taught, drawn_b0, digits, tmp_path, fails
):
    code, err = fails("eval", "--dataset_path", digits, "--checkpoint_path", tmp_path / "a.ckpt")
    assert (code, "no such file" in err) == (5, True)
    damaged = tmp_path / taught.resolve().name
    shutil.copy(taught, damaged)
    shutil.copy(f"{taught.resolve()}.manifest.json", tmp_path)
    with damaged.open("r+b") as file:
        file.seek(1000)
        file.write(b"xx")
    code, err = fails("eval", "--dataset_path", digits, "--checkpoint_path", damaged)
    assert (code, "sha256" in err) == (5, True)
    code, err = fails(
        *("eval", "--dataset_path", digits, "--checkpoint_path", drawn_b0, "--weights", "ema")
    )
    assert (code, "has no moving average" in err) == (5, True)


def test_of_equal_logits_the_lower_class_is_first():
    import numpy as np

    from effnet.data import Batch

    logits = np.zeros((3, 7), np.float32)
    labels = np.array([0, 4, 5], np.int32)
    ones = np.ones(3, bool)
    batch = Batch(0, np.zeros((3, 3, 8, 8), np.float32), labels, logits[:, :0], labels * 1, ones)
    assert count(logits, np.zeros(3, np.float32), batch).tolist() == [0, 1, 2, 3, 0]
