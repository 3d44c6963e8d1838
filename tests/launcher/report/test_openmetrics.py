"""`metrics`: what prometheus-client's own parsers find."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from typer.testing import CliRunner

from launcher import client
from launcher.cli.app import app
from launcher.core.run import events as e
from launcher.core.run import metrics
from launcher.errors import LaunchError
from tests.launcher.reading.test_run import NOW, MadeRun

UNITS = (
    *("seconds", "bytes", "ratio", "watts", "celsius", "hertz", "total"),
    *("images_per_second", "cores", "state", "loss", "learning_rate", "epoch"),
    *("ranks", "nodes", "steps_done", "steps_planned"),
)
"""What the name of a metric may end with: a base unit, or what is counted."""


@pytest.fixture
def made(tmp_path: Path) -> MadeRun:
    run = MadeRun(tmp_path / 'a "run" \\ ä')
    run.start()
    for step in range(50):
        for rank in (0, 1):
            run.report(rank, step, learning_rate=0.01)
    load = metrics.LoadRecord(NOW - 30, 310.0, 61.0, 1500.0, 250.0, 12.0)
    run.rank(1).load.write_bytes(metrics.pack_load(load))
    device = metrics.DeviceRecord(NOW - 30, 1 << 30, 1 << 35, 97.0)
    run.rank(1).device.write_bytes(metrics.pack_device(device))
    run.add(e.EvalFinished(attempt=1, step=45, top_1_acc=0.75), NOW)
    run.add(e.AttemptFailed(1, e.Failure(e.FailureKind.SIGNAL, "killed", rank=1)), NOW)
    return run


def text_of(run: MadeRun) -> str:
    done = CliRunner().invoke(app, ["metrics", str(run.paths.root)])
    assert done.exit_code == 0, done.output
    return done.stdout


def value(text: str, name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in openmetrics(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, (name, found)
    return found[0]


def test_both_parsers_accept_it_and_names_follow_the_conventions(made: MadeRun) -> None:
    text = text_of(made)
    families = list(openmetrics(text))
    assert len(list(prometheus(text))) >= len(families) > 30
    for family in families:
        for sample in family.samples:
            assert re.fullmatch(r"effnet_(run|rank)_[a-z0-9_]+", sample.name)
            assert sample.name.endswith(UNITS), sample.name
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert sample.labels["run"] == made.paths.root.name
            is_rank = sample.name.startswith("effnet_rank_")
            assert ({"rank", "node"} <= sample.labels.keys()) == is_rank


def test_figures_are_those_of_status_in_base_units(made: MadeRun) -> None:
    text = text_of(made)
    run = client.open_run(made.paths.root).poll()
    first = {"rank": "0", "node": "localhost"}
    assert value(text, "effnet_run_state", state="failed") == 1
    assert value(text, "effnet_run_state", state="running") == 0
    assert value(text, "effnet_run_loss") == pytest.approx(run.loss)
    assert value(text, "effnet_run_attempts_total") == 1
    assert value(text, "effnet_run_failures_total") == 1
    assert value(text, "effnet_run_best_top_1_accuracy_ratio") == 0.75
    assert value(text, "effnet_run_steps_done") == 50
    assert value(text, "effnet_run_step_age_seconds") > 0
    assert value(text, "effnet_rank_step_seconds", **first) == 1.0
    assert value(text, "effnet_rank_wait_seconds", **first) == pytest.approx(0.1)
    assert value(text, "effnet_rank_images_per_second", **first) == 16
    second = {"rank": "1", "node": "localhost"}
    assert value(text, "effnet_rank_memory_bytes", **second) == 1 << 30
    assert value(text, "effnet_rank_device_clock_hertz", **second) == 1.5e9
    assert value(text, "effnet_rank_device_use_ratio", **second) == pytest.approx(0.97)
    assert value(text, "effnet_rank_cpu_cores", **second) == pytest.approx(2.5)
    assert value(text, "effnet_rank_state", state="stopped", **first) == 1
    assert value(text, "effnet_rank_state", state="failed", **first) == 0


def test_the_classes_of_time_add_up(made: MadeRun) -> None:
    text = text_of(made)
    reader = client.open_run(made.paths.root)
    reader.poll_state()
    goodput = reader.goodput()
    found = {
        sample.labels["class"]: sample.value
        for family in openmetrics(text)
        for sample in family.samples
        if sample.name == "effnet_run_time_seconds"
    }
    assert sum(found.values()) == pytest.approx(goodput.wall_s)
    assert found["compute"] == pytest.approx(goodput.compute_s)


def test_the_page_has_every_metric(made: MadeRun) -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/other-programs.md").read_text()
    kinds = re.findall(r"^# TYPE (\S+) (\S+)$", text_of(made), re.MULTILINE)
    names = {f"{name}_total" if kind == "counter" else name for name, kind in kinds}
    assert set(re.findall(r"`(effnet_(?:run|rank)_[a-z]\w+)", page)) == names


def test_a_run_without_an_attempt_has_metrics(tmp_path: Path) -> None:
    text = text_of(MadeRun(tmp_path / "new"))
    assert value(text, "effnet_run_attempts_total") == 0
    assert list(openmetrics(text))


def test_a_port_on_loopback_answers_with_the_newest_figures(made: MadeRun) -> None:
    port = client.metrics(made.paths.root).serve(0)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=accept)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert value(answer.read().decode(), "effnet_run_attempts_total") == 1
    made.add(e.AttemptStarted(2, 2), NOW)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert value(answer.read().decode(), "effnet_run_attempts_total") == 2
    with pytest.raises(LaunchError, match=f"port {port} cannot be used"):
        client.metrics(made.paths.root).serve(port)


def test_a_file_of_metrics_is_replaced_and_no_other_file(made: MadeRun, tmp_path: Path) -> None:
    file = tmp_path / "effnet.prom"
    for _ in range(2):
        done = CliRunner().invoke(app, ["metrics", str(made.paths.root), "-o", str(file), "-f"])
        assert done.exit_code == 0, done.output
    assert value(file.read_text(), "effnet_run_failures_total") == 1
    assert file.stat().st_mode & 0o777 == 0o644
    file.write_text("mine")
    done = CliRunner().invoke(app, ["metrics", str(made.paths.root), "-o", str(file)])
    assert "has no metrics of a run" in str(done.exception)
    assert file.read_text() == "mine"
