"""clean ends processes that have no watcher."""

from __future__ import annotations

import json
import os
import signal

import psutil
from typer.testing import CliRunner

from launcher import client
from launcher.cleanup import leftovers
from launcher.cli.app import app
from tests.launcher.sleeper import sleeper


def test_clean_ends_processes_without_a_watcher(lab):
    root = lab.start(epochs=5000)
    lab.wait_for(root, "training_started")
    rank = lab.pid_of(root, 0)
    # Tests beside this one may have leftovers of their own.
    watched = {process.pid for process in lab.ours()}
    assert not watched & {*json.loads(lab.command("clean", "--json").stdout)["found"]}
    with sleeper(EFFNET_TOKEN="a-run-of-yesterday/001") as stray:
        found = json.loads(lab.command("clean", "--json").stdout)["found"]
        assert stray.pid in found
        assert not watched & set(found)
        assert lab.command("clean", "--yes").returncode == 0
        assert stray.wait(90) == -signal.SIGTERM
    assert psutil.pid_exists(rank)
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")


def test_clean_says_how_large_the_cache_is_and_leaves_it(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # It would end what tests beside this one have left for a moment.
    monkeypatch.setattr(client, "find_leftovers", lambda *_, **__: {})
    file = tmp_path / "effnet-tui/graphs/a.graph"

    def clean():
        return CliRunner().invoke(app, ["clean", "--here", "--yes"]).stdout

    assert "cache" not in clean()
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(3 << 20))
    assert f"cache: 3.0 MiB in {tmp_path}/effnet-tui; it may be deleted at any time" in clean()
    assert file.exists()


def test_a_process_with_a_watched_token_is_not_a_leftover(tmp_path, monkeypatch):
    monkeypatch.setenv("EFFNET_RUNS_DIR", str(tmp_path))
    token = f"watched-{os.getpid()}/001"

    def found():
        return [item.pid for item in leftovers.find_all((), only_these=False) if item.pid]

    with sleeper(EFFNET_TOKEN=token) as process:
        # Another command line than that of an agent: only its environment says what it is.
        with sleeper(EFFNET_WATCHES=token):
            assert process.pid not in found()
        with sleeper(EFFNET_WATCHES=token.replace("/001", "/002")):
            assert process.pid in found()
