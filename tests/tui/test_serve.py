"""``effnet-tui serve`` in a real browser, and what it refuses to everyone else."""

from __future__ import annotations

import builtins
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pyte
import pytest
from made_run import MadeRun
from playwright.sync_api import Page, WebSocket, sync_playwright

from tui.__main__ import main
from tui.serve import is_from_here

ROOT = Path(__file__).parents[2]
LIMIT_MS = 120_000


class Served:
    """``effnet-tui serve --port 0 ARGUMENTS``, once it has printed its address."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "tui", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "TERM": "dumb"},
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line + self.process.communicate(timeout=90)[0]
        self.url = found[0]

    def dashboards(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def answer(self, path: str = "", **headers: str) -> int:
        """The status of a request, with these headers."""
        parts = urlsplit(self.url)
        connection = HTTPConnection("127.0.0.1", parts.port, timeout=90)
        try:
            connection.putrequest("GET", path or parts.path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture
def run(own_folders: Path) -> MadeRun:
    """A living run of four ranks."""
    made = MadeRun(own_folders / "runs", "made-1", ranks=4, time_s=time.time() - 100)
    made.start()
    made.steps(100)
    return made


@pytest.fixture
def served(run: MadeRun) -> Iterator[Served]:
    shown = Served("--readonly", "made-1")
    yield shown
    shown.process.kill()
    shown.process.communicate()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of headless Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium is not None, "apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox"], timeout=LIMIT_MS
        )
        made = browser.new_page(viewport={"width": 1000, "height": 600})
        made.set_default_timeout(LIMIT_MS)
        yield made
        browser.close()


class Screen:
    """What the dashboard in a page shows: the page draws it on a canvas, so it is read here."""

    def __init__(self, page: Page) -> None:
        self.page, self.requests = page, list[str]()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", self._opened)

    def _opened(self, sent: WebSocket) -> None:
        sizes = dict(re.findall(r"(width|height)=(\d+)", sent.url))
        self.requests.append(sent.url)
        self.screen = pyte.Screen(int(sizes["width"]), int(sizes["height"]))
        self.stream = pyte.ByteStream(self.screen)
        sent.on("framereceived", self._feed)

    def _feed(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self.stream.feed(re.sub(rb"\x1b\[\?\d+\$p", b"", data))

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, true: Callable[[], bool], limit_s: float = 90) -> None:
        end = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < end, self.text
            self.page.wait_for_timeout(50)

    def sees(self, *texts: str) -> None:
        self.until(lambda: all(text in self.text for text in texts))


def test_keys_work_in_a_browser_without_a_click_and_nothing_comes_from_elsewhere(
    served: Served, page: Page
) -> None:
    screen = Screen(page)
    problems: list[str] = []
    page.on(
        "console",
        # A page that has lost focus tells a server that is gone.
        lambda message: (
            problems.append(message.text)
            if message.type == "error" and "CLOSED" not in message.text
            else None
        ),
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(served.url)
    page.wait_for_selector("body.-first-byte")
    screen.sees("RUNNING", "made-1", "read-only")

    def row() -> str:
        """The line with the cursor."""
        return next((line for line in screen.text.splitlines() if line[:1] in "▶>"), "")

    screen.until(lambda: row().split()[1:2] == ["0"])
    page.keyboard.press("ArrowDown")
    screen.until(lambda: row().split()[1:2] == ["1"])
    page.keyboard.press("Escape")
    screen.sees("1 run", "profiles")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    screen.sees("new run from")
    page.keyboard.press("Control+s")  # the browser's own "save" does not take it
    screen.sees("started with --readonly")
    page.set_viewport_size({"width": 1400, "height": 800})
    page.keyboard.press("q")
    page.wait_for_selector("text=Open it again")
    screen.until(lambda: not served.dashboards())
    page.click("text=Open it again")
    screen.sees("RUNNING", "made-1")
    assert {urlsplit(url).netloc for url in screen.requests} == {urlsplit(served.url).netloc}
    assert problems == []
    page.goto("about:blank")
    screen.until(lambda: not served.dashboards())


def test_it_listens_here_only_and_needs_its_secret_host_and_origin(served: Served) -> None:
    found = psutil.Process(served.process.pid).net_connections("inet")
    assert {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    parts = urlsplit(served.url)
    socket_path = f"{parts.path}ws"
    assert served.answer() == 200
    assert served.answer(Host="localhost:9000") == 200  # an SSH tunnel
    assert served.answer("/") == 404
    assert served.answer("/ws") == 404
    assert served.answer("/static/js/textual.js") == 404
    assert served.answer(Host="evil.example") == 403
    assert served.answer(Host=f"evil.example:{parts.port}") == 403
    for origin in ("http://evil.example", "null", "http://localhost:1", f"https://{parts.netloc}"):
        upgrade = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
            "Sec_WebSocket_Key": "x3JJHMbDL1EzLkh9GBhXDw==",
        }  # fmt: skip
        assert served.answer(socket_path, Origin=origin, **upgrade) == 403, origin
    assert not served.dashboards()
    assert served.answer(f"{parts.path}static/../../../../../../etc/passwd") in (403, 404)


@pytest.mark.parametrize(
    ("host", "origin", "is_ours"),
    [
        ("127.0.0.1:8000", None, True),
        ("localhost:8000", "http://localhost:8000", True),
        ("localhost", "http://localhost", True),
        ("localhost:8000", "http://localhost:8001", False),
        ("localhost.evil.example:8000", None, False),
        ("127.0.0.1.evil.example", None, False),
        ("localhost:8000:evil.example", None, False),
        ("", None, False),
    ],
)
def test_only_names_of_this_machine_are_served(
    host: str, origin: str | None, is_ours: bool
) -> None:
    assert is_from_here(host, origin) is is_ours


def connected(served: Served) -> socket.socket:
    """A web socket as a page opens it, and its dashboard."""
    parts = urlsplit(served.url)
    opened = socket.create_connection(("127.0.0.1", parts.port or 0), timeout=90)
    opened.sendall(
        f"GET {parts.path}ws?width=80&height=24 HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Origin: http://{parts.netloc}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n\r\n".encode()
    )
    said = b""
    while b"RUNNING" not in said:
        more = opened.recv(65536)
        assert more, said
        said += more
    return opened


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_dashboard_outlives_the_server(served: Served, how: signal.Signals) -> None:
    with connected(served):
        dashboards = served.dashboards()
        assert dashboards
        served.process.send_signal(how)
        served.process.wait(90)
        _, left = psutil.wait_procs(dashboards, 90)
        assert not left
    if how == signal.SIGINT:
        assert served.process.returncode == 0


def test_a_port_in_use_and_a_wrong_one_name_the_next_step(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    said = capfd.readouterr().err
    assert re.fullmatch(
        rf"port {port} is in use; choose another one: effnet-tui serve --port \d+\n", said
    )
    with pytest.raises(SystemExit):
        main(["serve", "--port", "99999"])
    assert "a port is 0 to 65535" in capfd.readouterr().err


def test_without_the_extra_it_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: object, **more: object) -> object:
        if name.partition(".")[0] in ("aiohttp", "textual_serve"):
            raise ModuleNotFoundError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    assert main(["serve"]) == 1
    assert "pip install -e '.[web]' in its clone" in capfd.readouterr().err
