"""`report` and `bundle`, of the recorded demo, an older run, and one with hostile text."""

from __future__ import annotations

import json
import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from typer.testing import CliRunner

from launcher.cli.app import app
from launcher.core.profile.load import load_profile
from launcher.core.profile.model import LeftOut, Node, Slurm
from launcher.errors import LaunchError, UsageError
from launcher.report.chart import Curve, Mark, chart
from launcher.report.mask import Mask

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "tui/demo/run.tar.gz"
OLD = ROOT / "tests/launcher/fixtures/run-0.1.0.tar.gz"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo's run: rank 5 is killed, the run is resumed and finishes."""
    with tarfile.open(DEMO) as packed:
        packed.extractall(tmp_path)
    return tmp_path / "local-cpu-8p-demo"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_page_has_all_and_requests_nothing(demo: Path, tmp_path: Path, page: Page) -> None:
    file = tmp_path / "run.html"
    run("report", demo, "-o", file)
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(file.as_uri())
    assert requests == [file.as_uri()]
    assert errors == []
    shown = page.inner_text("body")
    for words in (
        "finished",
        "best top-1\t30.00 %",
        "Where 4 min went: goodput 45 %",
        "Attempt 1: failed",
        "rank 5 on 127.0.0.1 failed first",
        "loss:[4.80226/4.82848]",
        "Attempt 2: finished",
        "from step 50",
        "during training",
        'variant = "b2"',
    ):
        assert words in shown, shown
    assert page.locator("svg").count() == 6
    assert page.locator("figure:has-text('step time') polyline").count() == 8
    assert page.locator("svg .mark").count() == 6


def test_what_a_log_or_a_note_says_is_text(demo: Path, tmp_path: Path, page: Page) -> None:
    events = (demo / "events.jsonl").read_text().splitlines()
    hostile = "<script>document.title='x'</script><img src=http://127.0.0.1:9/x>\x1b[31m\u202e"
    changed = []
    for line in events:
        event = json.loads(line)
        if event["kind"] == "attempt_failed":
            event["failure"] |= {"meaning": hostile, "last_lines": [hostile], "node": "</pre><b>"}
        changed.append(json.dumps(event))
    (demo / "events.jsonl").write_text("\n".join(changed) + "\n")
    file = tmp_path / "run.html"
    run("report", demo, "-o", file)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    assert requests == [file.as_uri()]
    assert page.title() == "local-cpu-8p-demo"
    assert "<script>document.title='x'</script>" in page.inner_text("body")
    assert page.locator("script, img, b").count() == 0
    assert "\x1b" not in file.read_text()
    assert "\u202e" not in file.read_text()


def test_a_run_of_the_version_before(tmp_path: Path) -> None:
    with tarfile.open(OLD) as packed:
        packed.extractall(tmp_path)
    (old,) = (path for path in tmp_path.iterdir() if path.is_dir())
    run("report", old, "-o", tmp_path / "old.html")
    assert "<h3>Attempt 1: " in (tmp_path / "old.html").read_text()


def test_only_an_older_report_is_replaced(demo: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.html"
    file.write_text("precious")
    done = CliRunner().invoke(app, ["report", str(demo), "-o", str(file)])
    assert isinstance(done.exception, UsageError)
    assert file.read_text() == "precious"
    run("report", demo, "-o", tmp_path / "r.html")
    found = json.loads(run("report", demo, "-o", tmp_path / "r.html", "--json"))
    assert found == {
        "file": str(tmp_path / "r.html"),
        "bytes": (tmp_path / "r.html").stat().st_size,
    }
    (tmp_path / "no").write_text("a file")
    done = CliRunner().invoke(app, ["report", str(demo), "-o", str(tmp_path / "no/such/r.html")])
    assert isinstance(done.exception, LaunchError)
    assert "no/such/r.html cannot be written" in str(done.exception)


def test_a_bundle_has_no_weights_and_its_report(demo: Path, tmp_path: Path) -> None:
    (demo / "checkpoint").mkdir(exist_ok=True)
    (demo / "checkpoint/step-1.ckpt").write_bytes(b"weights")
    (demo / "outside").symlink_to("/etc/passwd")
    file = tmp_path / "run.tar.gz"
    run("bundle", demo, "-o", file)
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as packed:
        names = set(packed.getnames())
    parts = {"report.html", "machine.txt", "events.jsonl", "attempts/001/ranks/0005/log.txt"}
    assert {f"{demo.name}/{part}" for part in parts} <= names
    assert not any("ckpt" in name or "outside" in name for name in names)
    done = CliRunner().invoke(app, ["bundle", str(demo), "-o", str(file)])
    assert isinstance(done.exception, UsageError)


PROFILE = """\
name = "p"
device_target = "CPU"
start_method = "cluster"
data_path = "/data"

[node_defaults]
user = "alice"
python = "/home/alice/venv/bin/python"
working_directory = "/home/alice/w"

[[nodes]]
address = "trainer1.corp.example.org"
name = "trainer1"
slots = 1

[[nodes]]
address = "10.20.30.41"
slots = 1
"""


def test_anonymous_leaves_no_name_and_no_address(demo: Path, tmp_path: Path) -> None:
    profile = load_profile(PROFILE, "p.toml")
    secret = [
        *("trainer1", "corp.example.org", "10.20.30.41", "172.16.5.9"),
        *("fe80::1ff:fe23:4567:890a", "2001:db8::1", "52:54:00:12:34:56"),
        *("alice", "/home/bob", socket.gethostname()),
    ]
    line = f"at {' '.join(secret)}: 127.0.0.1 step 1.2.3 ::1 12:30:45 /home/bob/data"
    events = (demo / "events.jsonl").read_text()
    changed = [json.loads(text) for text in events.splitlines()]
    for event in changed:
        if event["kind"] == "attempt_failed":
            event["failure"] |= {"meaning": line, "last_lines": [line]}
    (demo / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in changed))
    (demo / "profile.json").write_text(profile.to_json())
    run("report", demo, "-o", tmp_path / "r.html", "--anonymous")
    run("bundle", demo, "-o", tmp_path / "b.tar.gz", "--anonymous")
    texts = {"report": (tmp_path / "r.html").read_text()}
    with tarfile.open(tmp_path / "b.tar.gz") as packed:
        for member in packed.getmembers():
            opened = packed.extractfile(member)
            assert opened is not None
            texts[member.name] = opened.read().decode("utf-8", "replace")
    for name, text in texts.items():
        assert [word for word in secret if word in text] == [], name
    assert "127.0.0.1 step 1.2.3 ::1 12:30:45" in texts["report"]
    assert "node-1" in texts["report"]


def test_the_same_name_gets_the_same_replacement() -> None:
    mask = Mask(load_profile(PROFILE, "p.toml"))
    assert mask("trainer1:22, trainer1x, 10.9.9.9 10.9.9.8 10.9.9.9") == (
        "node-1:22, trainer1x, ip-1 ip-2 ip-1"
    )


def test_nodes_that_wait_that_are_out_and_that_only_take_jobs_are_hidden_too() -> None:
    known = load_profile(PROFILE, "p.toml")
    spare, gone, login = (
        Node(address=f"{name}.secret.example.com", name=name, user=f"{name}-user")
        for name in ("backup7", "broken3", "login9")
    )
    more = {"spares": (spare,), "left_out": (LeftOut(node=gone),), "slurm": Slurm(login_node=login)}
    mask = Mask(known.model_copy(update=more))
    text = "backup7 broken3 login9.secret.example.com login9-user backup7-user"
    assert mask(text) == "node-3 node-4 address-5 user user"


def test_an_outlier_does_not_flatten_a_curve() -> None:
    values = [100.0] * 50 + [242_000.0] + [110.0] * 149
    drawn = chart("t", [Curve("", range(200), values)], str, [Mark(60, "attempt 2")])
    assert "&gt;110.0" in drawn
    assert drawn.count('class="mark"') == 1


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0], [2.0, 2.0], [float("inf"), 3.0]])
def test_curves_of_few_points(values: list[float]) -> None:
    drawn = chart("t", [Curve("a", range(len(values)), values)], str)
    assert drawn.startswith("<figure>") is any(value < 9 for value in values)


def test_a_long_curve_is_reduced_and_keeps_its_extremes() -> None:
    values = [float(step % 7) for step in range(100_000)]
    values[54_321] = -50.0
    drawn = chart("t", [Curve("a", range(len(values)), values)], str)
    assert len(drawn) < 30_000
    assert "-50.0" in drawn
