"""What the trainer says of a wrong word or a file that is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from effnet import missing
from effnet.__main__ import COMMANDS, main
from effnet.config import keys
from effnet.contract import exit_codes


def test_the_nearest_name_beside_it_or_the_folder_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    assert missing.hint(tmp_path / "digit") == f"did you mean {tmp_path / 'digits'}?"
    assert missing.hint(tmp_path / "digit" / "train") == f"did you mean {tmp_path / 'digits'}?"
    assert missing.hint(tmp_path / "x" / "y" / "z") == f"there is no {tmp_path / 'x'} either"
    assert missing.hint(tmp_path / "xyz") is None
    assert missing.hint(tmp_path / "xyz", "make one") == "make one"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("tarin",), "did you mean train?"),
        (("export", "--file_format", "onxn"), "did you mean ONNX?"),
        (("train", "--epoch_sise", "3"), "did you mean --epoch_size?"),
        (("data", "chek", "DIR"), "did you mean check?"),
    ],
)
def test_a_wrong_word_gets_the_nearest_known_one(
    arguments: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_and_each_of_its_actions_has_help_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [[command]]
    actions = {"data": "digits check", "config": "check", "weights": "import export show"}
    words += [[command, action] for action in actions.get(command, "").split()]
    for given in words:
        with pytest.raises(SystemExit) as left:
            main([*given, "--help"])
        assert left.value.code == 0
        examples = capsys.readouterr().out.partition("examples:")[2]
        assert f"python -m effnet {command} " in examples, given


def test_missing_inputs_are_named_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "b2.onnx").write_bytes(b"")
    (tmp_path / "b2.safetensors").write_bytes(b"")
    weights, out = str(tmp_path / "b3.safetensors"), str(tmp_path / "out.ckpt")
    folder, near = str(tmp_path / "digit"), f"did you mean {tmp_path / 'digits'}?"
    asked = [
        (("data", "check", folder), 3, near),
        (("weights", "import", weights, "--source", "timm", "--out", out), 5, "no such file"),
        (("infer", "--onnx_path", str(tmp_path / "b2.onx"), "--dataset_path", folder), 3, near),
    ]
    for arguments, code, text in asked:
        assert main(list(arguments)) == code
        assert text in capsys.readouterr().err


def test_help_without_the_extra_train_lists_every_command_and_what_is_missing() -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['mindspore', 'numpy', 'PIL', 'sklearn']));"
        " from effnet.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True
        )

    listed = call("--help")
    assert listed.returncode == 0, listed.stderr
    assert all(f"  {name} " in listed.stdout for name in COMMANDS)
    assert "needs numpy, which is not installed" in listed.stdout
    called = call("data", "check", "DIR")
    assert called.returncode == exit_codes.KINDS["device"]
    assert "needs numpy, which is not installed" in called.stderr
    assert "pip install -e '.[train]'" in called.stderr


def test_help_of_train_shows_default_unit_and_range_of_every_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    expected = "[int, 1 or more; images; default 256 (Ascend), 128 (GPU), 16 (CPU)]"
    assert f"images per rank and step {expected}" in text
    assert text.count("; default ") + text.count("[default ") == len(keys())
    assert "smooth the labels [default true]" in text
