"""Notifications of real runs, at a service on the loopback and through a command."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher import client
from launcher.core.diagnosis.notices import Notice
from launcher.core.profile.model import NoticeKind
from launcher.errors import ProfileError
from launcher.process import private
from launcher.reading.folders import user_notify_file
from launcher.store import run_lock
from launcher.supervisor import notice_targets
from tests.launcher import notice_loop
from tests.launcher.webhook import PASSWORD, Webhook


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def start(lab, table: str, *faults: dict[str, Any], **changes: Any) -> Path:
    profile = lab.profile(*faults, **changes)
    profile.write_text(profile.read_text() + f"\n[notify]\n{table}\n")
    return lab.runs / client.start(str(profile), client.StartRequest(preflight=False))


def commands(tmp_path: Path) -> tuple[str, Path]:
    """A command for a profile, and the file in which it writes a line for each notice."""
    out, script = tmp_path / "notices", tmp_path / "notice.py"
    script.write_text(
        "import json, os\n"
        f"names = ('ID', 'RUN', 'STATE', 'TITLE', 'MESSAGE')\n"
        f"with open({str(out)!r}, 'a') as file:\n"
        "    file.write(json.dumps({n: os.environ[n] for n in names}) + '\\n')\n"
    )
    return f"command = {json.dumps([sys.executable, str(script)])}", out


def left(lab, root: Path) -> None:
    """Waits until the supervisor, which sends the last notices, has ended."""
    lab.until(lambda: not run_lock.is_supervised(root))
    lab.nothing_left()


@pytest.mark.runs
def test_a_failure_its_resume_and_the_end_are_told_and_the_url_is_nowhere(
    lab, webhook: Webhook, tmp_path: Path
) -> None:
    command, out = commands(tmp_path)
    fault = {"rank": 1, "step": 14, "do": "kill", "attempt": 1}
    webhook.refusals = 1
    root = start(lab, f"urls = [{webhook.url!r}]\n{command}", fault, auto_resume=1)
    lab.wait_for(root, "attempt_finished")
    left(lab, root)
    assert [title.split(",")[0].split(" at")[0] for title in webhook.titles()] == [
        "FAILED",
        "attempt 2 starts from step 10 (1 epoch done)",
        "finished",
    ]
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [notice["STATE"] for notice in told] == ["failed", "resumed", "finished"]
    assert [notice["ID"] for notice in told] == webhook.ids()
    assert len(set(webhook.ids())) == 3
    failed = lab.events(root, "attempt_failed")[0]
    assert webhook.ids()[0] == f"{root.name}#{failed['n']}"
    assert f"effnet-launch resume {root.name}" in webhook.posts[0]["message"]
    shown = lab.command("status", root.name, "--json").stdout
    for path in [p for p in root.rglob("*") if p.is_file()]:
        assert PASSWORD not in path.read_bytes().decode(errors="replace"), path
    assert PASSWORD not in shown
    assert "(secret)" in (root / "profile.json").read_text()


@pytest.mark.runs
def test_a_policy_that_gives_up_says_so(lab, tmp_path: Path) -> None:
    command, out = commands(tmp_path)
    fault = {"rank": 1, "step": 5, "do": "kill"}
    root = start(lab, f'{command}\non = ["gave_up"]', fault, auto_resume=1)
    lab.wait_for(root, "gave_up")
    left(lab, root)
    (told,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert told["STATE"] == "gave_up"
    assert "the limit is 1" in told["MESSAGE"] or "no checkpoint" in told["MESSAGE"]
    assert told["MESSAGE"].splitlines()[0][:-1].lower() in lab.command("events", root.name).stdout


@pytest.mark.runs
def test_a_supervisor_that_was_replaced_sends_what_is_missing(lab, webhook: Webhook) -> None:
    """Killed while the service refuses: its successor sends the notice, once."""
    webhook.refusals = 10**6
    root = start(
        lab,
        f"urls = [{webhook.url!r}]",
        {"rank": 1, "step": 14, "do": "kill", "attempt": 1},
        auto_resume=1,
        step_s=0.1,
    )
    lab.wait_for(root, "attempt_failed")
    lab.until(lambda: webhook.refusals < 10**6)
    lab.kill_supervisor(root)
    webhook.refusals = 0
    assert lab.command("attach", root.name).returncode == 0
    left(lab, root)
    assert len(webhook.ids()) == len(set(webhook.ids())) == 3
    assert webhook.titles()[0].startswith("FAILED")


def test_a_url_that_cannot_be_used_is_refused_before_the_start(lab) -> None:
    with pytest.raises(ProfileError) as e:
        start(lab, f"urls = ['json://127.0.0.1/', 'nosuch://{PASSWORD}']")
    assert "Apprise does not know URL 2" in str(e.value.problems)
    assert PASSWORD not in f"{e.value} {e.value.problems}"
    assert not any(lab.runs.glob("*"))


def test_without_apprise_the_start_says_how_to_install_it(lab, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ProfileError, match="cannot notify") as e:
        start(lab, "urls = ['json://127.0.0.1/']")
    assert "pip install -e '.[notify]'" in str(e.value.problems)


def test_the_users_own_table_is_for_profiles_without_one(lab, webhook: Webhook) -> None:
    file = user_notify_file()
    private.make_folder(file.parent)
    file.write_text(f"urls = [{webhook.url!r}]\non = ['failed']\n")
    profile = client.find_profile(str(lab.profile()))
    assert profile.notify_urls == (webhook.url,)
    done = lab.command("notify", str(lab.profile()))
    assert (done.returncode, len(webhook.posts)) == (0, 1), done.stderr
    assert "URL 1 of [notify] (json): sent" in done.stdout
    assert PASSWORD not in done.stdout + lab.command("plan", str(lab.profile()), "--json").stdout
    path = lab.profile()
    path.write_text(path.read_text() + "\n[notify]\n")
    assert client.find_profile(str(path)).notify_urls == ()
    assert lab.command("notify", str(path)).returncode == 1
    file.write_text("urls = 3")
    with pytest.raises(ProfileError, match="problem") as e:
        client.find_profile(str(lab.profile()))
    assert "notify.urls: a list" in str(e.value.problems)


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        ((sys.executable, "-c", ""), ""),
        ((sys.executable, "-c", "raise SystemExit(3)"), "exit code 3"),
        (("/nosuch/program",), "No such file"),
    ],
)
def test_a_command_that_fails_says_why(argv: tuple[str, ...], problem: str) -> None:
    notice = Notice("i", "r", NoticeKind.FAILED, "t", ())
    found = notice_targets.Command(argv).send(notice)
    assert problem in found
    assert bool(problem) is bool(found)


def test_random_faults_are_each_told_once() -> None:
    """A seeded sample; the whole is `python -m tests.launcher.notice_loop`."""
    result = notice_loop.play(count=4, seed=3)
    assert result.is_right, result
    assert result.notices >= 4
