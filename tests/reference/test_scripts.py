"""The scripts as a person calls them, with the stand-in for a trainer: files, exit codes, ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.reference.conftest import Desk, names


def test_wrong_arguments_fail_at_once(desk: Desk) -> None:
    done = desk.call("run_standalone_train", "0")
    assert done.returncode == 2
    assert "takes 2 arguments, not 1" in done.stderr
    assert "usage: bash scripts/run_standalone_train.sh [DEVICE_ID] [DATA_DIR]" in done.stderr
    assert "example: bash scripts/run_standalone_train.sh 0 /data/imagenet" in done.stderr
    assert desk.call("run_standalone_train", "0", "data", "--detatch").returncode == 2
    (desk.folder / "empty").mkdir()
    done = desk.call("run_standalone_train", "0", "empty")
    assert done.returncode == 6, done.stderr
    assert "data on 127.0.0.1: " in done.stderr
    assert "or start anyway: --ignore data" in done.stderr
    assert not desk.runs.exists()


def test_a_run_its_files_its_end_and_its_evaluation(desk: Desk) -> None:
    done = desk.call(
        "run_distribute_train", "data", "hccl_2p_01_10.0.0.1.json", "--set", "epoch_size=2"
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "read as DATA_DIR RANK_TABLE_FILE" in done.stdout
    assert "finished" in done.stdout
    (run,) = desk.runs.iterdir()
    assert os.readlink(desk.folder / "log.txt") == f"{run}/attempts/001/ranks/0000/log.txt"
    assert os.readlink(desk.folder / "checkpoint") == f"{run}/checkpoint"
    assert "done: epochs:[2]" in desk.log()
    command = json.loads((run / "run.json").read_text())["command"]
    assert command[:2] == ["scripts/run_distribute_train.sh", "data"]

    # The run is over: a resume reports that there is nothing to do.
    again = desk.call("run_distribute_resume", 2, "0,1", "data", "checkpoint", "CPU")
    assert again.returncode == 4
    assert "has finished" in again.stderr

    file = desk.folder / "eval_log.txt"
    file.write_text("mine\n")
    done = desk.call("run_eval", 0, "checkpoint/step-00000020.ckpt", "data")
    assert done.returncode == 0, done.stderr + done.stdout
    assert os.readlink(file) == f"{run}/jobs/001-eval/log.txt"
    assert "result: {'Loss': 0.5, 'Top_1_Acc': 0.9, 'Top_5_Acc': 0.99} ckpt = " in done.stdout
    assert done.stdout.splitlines()[-1] in file.read_text()
    assert (desk.folder / "eval_log.1.txt").read_text() == "mine\n"
    argv = json.loads((run / "jobs/001-eval/job.json").read_text())["argv"]
    assert argv[argv.index("--device_target") + 1] == "CPU"

    # Two seconds of evaluation; the script does not wait.
    words = (0, "checkpoint/step-00000020.ckpt", "data", "CPU", "--detach")
    done = desk.call("run_eval_gpu", *words, STANDIN_EVAL_S="2")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "result:" not in done.stdout
    assert os.readlink(file) == f"{run}/jobs/002-eval/log.txt"
    desk.wait_for("result: {", file=file)


def test_stopped_and_resumed_at_the_same_step_with_all_files_kept(desk: Desk) -> None:
    done = desk.call("run_train_gpu", 2, "0,1", "data", "--set", "epoch_size=5000", "--detach")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "effnet-launch stop" in done.stdout
    desk.wait_for("epoch: [  1/")
    assert desk.launch("stop").returncode == 0
    (run,) = desk.runs.iterdir()
    first = desk.log()
    step = int(first.split("stop: ")[1].split("step:[")[1].split("]")[0])
    done = desk.call(
        "run_distribute_resume", 2, "0,1", "data", "checkpoint", "CPU",
        "--set", f"epoch_size={step // 10 + 2}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    assert f"step-{step:08d}.ckpt, step {step}:" in done.stdout
    assert os.readlink(desk.folder / "log.txt") == f"{run}/attempts/002/ranks/0000/log.txt"
    epoch, at, _ = desk.losses()[0]
    assert epoch * 10 + at == step
    assert (run / "attempts/001/ranks/0000/log.txt").read_text() == first
    assert names(desk.runs) == [run.name]


def test_the_exit_code_is_that_of_the_rank_that_failed(desk: Desk) -> None:
    faults = json.dumps([{"rank": 0, "step": 2, "do": "exit", "code": 7}])
    done = desk.call("run_standalone_train", 0, "data", STANDIN_FAULTS=faults)
    assert done.returncode == 7, done.stderr + done.stdout
    faults = json.dumps([{"rank": 0, "step": 2, "do": "kill"}])
    done = desk.call("run_standalone_train_gpu", 0, "data", STANDIN_FAULTS=faults)
    assert done.returncode == 128 + 9, done.stderr + done.stdout


def test_files_of_others_are_never_replaced(desk: Desk) -> None:
    (desk.folder / "checkpoint").mkdir()
    (desk.folder / "checkpoint" / "precious.ckpt").write_text("x")
    done = desk.call("run_standalone_train", 0, "data")
    assert done.returncode == 4
    assert "checkpoint is a folder that these scripts did not make" in done.stderr
    assert not desk.runs.exists()
    assert names(desk.folder / "checkpoint") == ["precious.ckpt"]


def test_files_from_elsewhere(desk: Desk, tmp_path: Path) -> None:
    (desk.folder / "b2.ckpt").write_text("x")
    done = desk.call("run_eval_gpu", 0, "b2.ckpt", "data", "CPU")
    assert done.returncode == 0, done.stderr + done.stdout
    # The path is in the line as it was given.
    assert (desk.folder / "eval_log.txt").read_text().splitlines()[1].endswith("ckpt = b2.ckpt")
    done = desk.call("run_infer_onnx", "data", "b2.ckpt", "CPU")
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"top_1_acc": 0.9' in (desk.folder / "infer_onnx.log").read_text()
    done = desk.call("run_infer_onnx", "b2.ckpt", "data", "Ascend")
    assert done.returncode == 2
    assert "onnxruntime runs on CPU and GPU" in done.stderr
    faults = json.dumps([{"rank": 0, "step": 0, "do": "exit", "code": 3}])
    done = desk.call("run_eval", 0, "data", "b2.ckpt", STANDIN_FAULTS=faults)
    assert done.returncode == 3
