"""Marks, the line that counts the tests that need root, and the story of runs that failed."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests import kept_cache
from tests.story import story

# A busy machine is no fault of what is tested, and the suite says the same of the same code each
# time. With EFFNET_FUZZ set, property tests look at new examples instead.
settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not os.environ.get("EFFNET_FUZZ"),
)
settings.load_profile("suite")

for _variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
    os.environ[_variable] = tempfile.mkdtemp(prefix="effnet-")
    atexit.register(shutil.rmtree, os.environ[_variable], ignore_errors=True)
kept_cache.link(Path(os.environ["XDG_CACHE_HOME"]))

# Whoever starts the suite in the background, or with nohup, has these ignored; what the tests start
# would inherit it and not end with its terminal.
if threading.current_thread() is threading.main_thread():
    for _number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(_number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

STARTS_RUNS = {"lab", "hosts", "built_cluster", "built_slurm", "desk"}
STRAYS = tuple(
    f"tests/{part}"
    for part in (
        "cluster/test_clean.py",
        "launcher/agent/",
        "launcher/cleanup/",
        "launcher/runs/test_own.py",
        "launcher/supervisor/",
    )
)
"""They leave processes without a watcher for a while, or call `clean`, which would end those."""
IS_ROOT = os.geteuid() == 0
NEED_ROOT = "need root"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Marks what has a fixture that starts runs or hosts (`scripts/check` leaves it out).
    What has hosts needs root; without it, such tests are skipped and counted.
    """
    if STARTS_RUNS & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.runs)
    if {"built_cluster", "built_slurm"} & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.needs_root)
    if not IS_ROOT and item.get_closest_marker("needs_root"):
        item.add_marker(pytest.mark.skip(reason=NEED_ROOT))


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Without root, the tests that need it are counted apart from those that are skipped."""
    needs_root = not IS_ROOT and report.skipped and "needs_root" in report.keywords
    return (NEED_ROOT, "s", NEED_ROOT.upper()) if needs_root else None


class ByFile(LoadFileScheduling):
    """A file is run by one worker, and all `STRAYS` by the same one."""

    def _split_scope(self, nodeid: str) -> str:
        is_stray = nodeid.startswith(STRAYS)
        return "strays" if is_stray else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    yield
    if count := len(terminalreporter.getreports(NEED_ROOT)):
        tests = "1 test needs" if count == 1 else f"{count} tests need"
        terminalreporter.write_line(
            f"{tests} root and did not run: sudo scripts/test -m needs_root runs them"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Adds the story of each run of the test's lab, while its folder is still there."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    runs = getattr(lab, "runs", None)
    if report.failed and runs is not None and runs.is_dir():
        for root in sorted(runs.iterdir()):
            report.sections.append((f"run {root.name}", story(root)))
    return report
