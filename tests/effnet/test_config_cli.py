"""`python -m effnet config check`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from effnet.__main__ import main


def test_errors_name_file_line_and_nearest_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("seed = 3\nvarient = 'b0'\n")
    assert main(["config", "check", "--config", str(file), "--set", "batch_size=0"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{file}, line 2: unknown key 'varient'; did you mean variant?" in err
    assert "--set batch_size=0: batch_size: expected at least 1 images, got '0'" in err
    file.write_text("seed = 3\nlr_decay_mode = 'liner'\n")
    assert main(["config", "check", "--config", str(file)]) == 0
    out, _ = capsys.readouterr()
    assert out.endswith("lr_decay_mode 'liner' is read as 'linear'\nok\n")


def test_json_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(text: str, *more: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        code = main(["config", "check", "--config", "-", "--json", *more])
        return code, json.loads(capsys.readouterr().out)

    code, found = asked("seed = 'x'\n", "--config_name", "profile p", "--device-target", "GPU")
    assert (code, found["notes"]) == (2, [])
    assert found["problems"] == [
        {"where": "profile p", "what": "seed: expected a whole number, got 'x'"}
    ]
    code, found = asked("seed =\n")
    assert code == 2
    assert found["problems"][0]["where"] == "standard input, line 1"
    code, found = asked("batch_size = 8\nlr_max = 0.1\n", "--device_target", "CPU")
    assert (code, found["problems"], found["notes"]) == (0, [], [])
    values = {value["key"]: value for value in found["values"]}
    assert values["batch_size"] == {
        "key": "batch_size",
        "value": 8,
        "source": "standard input",
        "is_default": False,
    }
    assert values["epoch_size"]["is_default"]


def test_a_default_rate_for_a_much_larger_or_smaller_step_is_noted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def notes(text: str, ranks: int, target: str = "GPU") -> list[str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        words = ["--config=-", "--json", f"--device_target={target}", f"--world_size={ranks}"]
        assert main(["config", "check", *words]) == 0
        return json.loads(capsys.readouterr().out)["notes"]

    assert notes("", 8) == notes("", 4) == notes("", 16) == notes("", 8, "Ascend") == []
    (note,) = notes("", 1)
    assert "lr_max 0.092 (default of GPU) is for 1024 images a step, this run has 128" in note
    assert "set lr_max = 0.0115, or lr_per_256 = 0.023" in note
    assert notes("accumulation_steps = 8\n", 1) == []
    assert notes("lr_max = 0.01\n", 1) == []
    assert notes("lr_per_256 = 0.016\n", 1) == []
    assert len(notes("", 32)) == 1


def test_a_check_loads_neither_mindspore_nor_numpy() -> None:
    program = (
        "import sys; from effnet.__main__ import main; main(['config', 'check']);"
        " print({'mindspore', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "ok\nset()\n", done.stderr
