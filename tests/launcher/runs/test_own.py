"""A run directory that this user did not make can be read, and nothing in it is executed.

Reading starts, ends and removes nothing. Acting needs a directory that this user made or adopted.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from launcher import client
from launcher.cli.app import app as cli
from launcher.errors import LaunchError
from tests.launcher.conftest import LIMIT_S, ROOT, Lab

READING = (
    ["status", "{run}"],
    ["status", "{run}", "--json"],
    ["logs", "{run}"],
    ["events", "{run}"],
    ["runs"],
)
ACTING = (
    ["attach", "{run}"],
    ["stop", "{run}"],
    ["stop", "{run}", "--no-save", "--no-wait"],
    ["resume", "{run}", "--no-preflight"],
    ["resume", "{run}", "--dry-run"],
    ["eval", "{run}"],
    ["export", "{run}"],
    ["infer", "{run}"],
    ["note", "{run}", "changed"],
    ["prune", "--run", "{run}", "--yes"],
)
READING_DASHBOARD = (["--once", "{run}"], ["--replay", "{run}", "--once"])
OTHER_UID = 61_234


def trapped(root: Path, trap: Path) -> None:
    """The directory says that its run trains and has no supervisor; its profile is a trap."""
    profile = json.loads((root / "profile.json").read_text())
    for node in profile["nodes"]:
        node["setup"] = [f"touch '{trap}'"]
    profile["retry"]["auto_resume"] = 3
    (root / "profile.json").write_text(json.dumps(profile))
    lines = (root / "events.jsonl").read_text().splitlines(keepends=True)
    last = next(i for i, line in enumerate(lines) if '"training_started"' in line)
    (root / "events.jsonl").write_text("".join(lines[: last + 1]))
    gone = {"pid": 99_999_999, "start_time": 1.0, "start_ticks": 5, "socket": "/nowhere"}
    (root / "supervisor.json").write_text(json.dumps(gone))


@dataclass(frozen=True)
class Done:
    """What a command did; its stderr on one line."""

    returncode: int
    stdout: str
    stderr: str


def command(*words: str, run: object = "") -> Done:
    """`effnet-launch` in this process: ten commands of a test would take ten times as long."""
    result = CliRunner().invoke(cli, [word.format(run=run) for word in words])
    error = result.exception
    code, said = result.exit_code, result.stderr
    if isinstance(error, LaunchError):
        code, said = error.exit_code, f"{said}{error}"
    elif error is not None and not isinstance(error, SystemExit):
        raise error
    return Done(code, result.stdout, " ".join(said.split()))


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files; a run that trains replaces some meanwhile."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found[str(path)] = path.read_bytes()
    return found


def dashboard(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tui", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.fixture
def living(lab: Lab) -> Iterator[Path]:
    """A run that trains. It must still do so at the end.

    All of its processes stay: one that forks the ranks would still be there for a moment.
    """
    root = lab.start(epochs=5000, fork="false")
    lab.wait_for(root, "training_started")
    yield root
    assert client.open_run(root).poll_state().status is client.RunStatus.RUNNING
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")
    lab.nothing_left()


@pytest.fixture
def copies(lab: Lab, living: Path) -> Callable[[Path], Path]:
    """Makes a trapped copy of the living run, with its id in run.json, events and plan."""

    def copy(at: Path) -> Path:
        shutil.copytree(living, at, ignore=shutil.ignore_patterns("*.lock", "*.part"))
        trapped(at, lab.folder / "trap")
        return at

    return copy


@contextlib.contextmanager
def nothing_happens(lab: Lab, root: Path) -> Iterator[None]:
    before, processes = contents(root), {process.pid for process in lab.ours()}
    yield
    assert contents(root) == before
    assert {process.pid for process in lab.ours()} == processes
    assert not (lab.folder / "trap").exists()


@pytest.mark.parametrize("place", ["elsewhere/copy", "runs/copy"])
def test_reading_a_prepared_directory_starts_and_ends_nothing(lab, living, copies, place):
    root = copies(lab.folder / place)
    with nothing_happens(lab, root):
        for arguments in READING:
            done = command(*arguments, run=root)
            assert done.returncode == 0, done.stderr
            if arguments[0] != "runs":
                assert f"effnet-launch attach {root}" in done.stderr
        for arguments in READING_DASHBOARD:
            done = dashboard(*(word.format(run=root) for word in arguments))
            assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("place", ["elsewhere/copy", "runs/copy"])
def test_acting_on_a_copied_directory_is_refused_with_the_command(lab, living, copies, place):
    root = copies(lab.folder / place)
    with nothing_happens(lab, root):
        for arguments in ACTING:
            done = command(*arguments, run=root)
            assert done.returncode == 4, (arguments, done)
            assert f"effnet-launch adopt {root}" in done.stderr
        # Only found, not ended: another test may have leftovers of its own.
        found = json.loads(command("clean", "--here", "--json").stdout)["found"]
        assert not set(found) & {process.pid for process in lab.ours()}


def test_a_moved_directory_needs_adoption(lab):
    root = lab.start(epochs=1)
    lab.wait_for(root, "attempt_finished")
    lab.nothing_left()
    moved = root.rename(root.with_name("moved"))
    assert command("note", moved.name, "new").returncode == 4
    assert command("adopt", moved.name).returncode == 4  # nobody confirmed it
    assert command("note", moved.name, "new").returncode == 4
    done = command("adopt", moved.name, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["adopted"], found["path"]) == (True, str(moved))
    assert command("note", moved.name, "new").returncode == 0
    assert command("eval", moved.name).returncode == 0


def test_an_adopted_copy_has_processes_of_its_own(lab, living, copies):
    """It has the id of a living run, whose processes must not be taken for its own."""
    root = copies(lab.folder / "runs/copy")
    done = command("adopt", str(root), "--yes")
    assert f"touch '{lab.folder / 'trap'}'" in done.stdout
    assert not (lab.folder / "trap").exists()
    before = {process.pid for process in lab.ours()}
    # Its supervisor finds no agent and ends whatever is left of the attempt.
    stopped = command("stop", str(root), "--no-save")
    assert stopped.returncode in (0, 1), stopped.stderr
    lab.until(lambda: client.open_run(root).poll_state().status.is_over)
    lab.until(lambda: {process.pid for process in lab.ours()} == before)


def test_a_supervisor_that_died_is_reported_and_replaced_by_attach(lab):
    root = lab.start(epochs=5000)
    lab.wait_for(root, "training_started")
    lab.kill_supervisor(root)
    for arguments in READING[:4]:
        done = command(*arguments, run=root.name)
        assert done.returncode == 0
        assert f"its supervisor is gone; to start a new one: effnet-launch attach {root.name}" in (
            done.stderr
        )
    assert len(lab.events(root, "supervisor_started")) == 1
    attached = subprocess.Popen(
        [sys.executable, "-m", "launcher.cli.app", "attach", root.name],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    lab.wait_for(root, "supervisor_started", count=2)
    client.stop(root, client.StopRequest(save=False))
    lab.wait_for(root, "attempt_stopped")
    assert "a new one was started" in attached.communicate(timeout=LIMIT_S)[1]


def test_the_token_is_secret(lab, living):
    """In no file of the run, on no command line, and in a file that only this user can read."""
    tokens, lines = set(), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
            if process.environ().get("LAB_MARK") == lab.mark:
                tokens.add(process.environ().get("EFFNET_TOKEN"))
    tokens.discard(None)
    assert len(tokens) == 1
    secret = next(iter(tokens)).partition("/")[0]
    assert len(secret) >= 32
    assert secret not in living.name
    assert not [path for path, data in contents(living).items() if secret.encode() in data]
    assert not [line for line in lines if secret in line]
    state = Path(os.environ["XDG_STATE_HOME"]) / "effnet-tui"
    files = [Path(p) for p, data in contents(state).items() if secret.encode() in data]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]
    folders = [state, *(path for path in state.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    status = living.stat()
    known = json.loads(files[0].read_text())
    assert (known["device"], known["inode"]) == (status.st_dev, status.st_ino)


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_directory_that_others_can_change_is_only_read(lab, mode):
    root = lab.start(epochs=1)
    lab.wait_for(root, "attempt_finished")
    lab.nothing_left()
    root.chmod(mode)
    assert command("status", root.name).returncode == 0
    for words in (["resume"], ["note", "why"], ["eval"]):
        done = command(words[0], root.name, *words[1:])
        assert done.returncode != 0
        assert "can be changed by other users" in done.stderr
    assert command("adopt", root.name, "--yes").returncode != 0


# -- a second user of this machine

AS_OTHER = """
import os, socket, sys
os.setgroups([]); os.setgid({uid}); os.setuid({uid})
os.environ["HOME"] = {home!r}
"""


def as_other(home: Path, code: str, *arguments: str) -> str:
    """Runs Python code as another user. -> what it printed."""
    code = AS_OTHER.format(uid=OTHER_UID, home=str(home)) + code
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def other_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in /tmp of a user that owns nothing else."""
    home = Path(f"/tmp/other-user-{os.getpid()}")
    home.mkdir(mode=0o755)
    os.chown(home, OTHER_UID, OTHER_UID)
    yield home
    shutil.rmtree(home)
    left = [p.pid for p in psutil.process_iter(["uids"]) if OTHER_UID in (p.info["uids"] or ())]
    assert left == []


@pytest.mark.needs_root
def test_another_user_can_read_stop_and_run_nothing(lab, living, other_home):
    for folder in [lab.folder, *lab.folder.parents]:
        # The run directory itself must be what keeps the other user out.
        if folder.stat().st_mode & 0o005 != 0o005 and folder != Path("/"):
            folder.chmod(0o755)
    ours = lab.ours()
    private = [living, living / "events.jsonl", living / "profile.json"]
    private += [Path(os.environ["XDG_STATE_HOME"]) / "effnet-tui"]
    sockets = list(Path(os.environ["XDG_RUNTIME_DIR"]).rglob("*.sock"))
    assert sockets
    code = """
found = []
for path in sys.argv[1].split(":"):
    try:
        os.listdir(path) if os.path.isdir(path) else open(path).read()
        found.append(path)
    except OSError:
        pass
for path in sys.argv[2].split(":"):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        found.append(path)
    except OSError:
        pass
for pid in sys.argv[3].split(":"):
    for act in (lambda: os.kill(int(pid), 9), lambda: open(f"/proc/{pid}/environ").read(1)):
        try:
            act()
            found.append(pid)
        except OSError:
            pass
print(found)
"""
    pids = ":".join(str(process.pid) for process in ours)
    found = as_other(
        other_home, code, ":".join(map(str, private)), ":".join(map(str, sockets)), pids
    )
    assert found.strip() == "[]"
    assert {p.pid for p in ours} == {p.pid for p in lab.ours()}


@pytest.mark.needs_root
@pytest.mark.parametrize("place", ["home", "runs"])
def test_a_directory_of_another_user_executes_and_ends_nothing(
    lab, living, copies, other_home, place
):
    """It has setup lines and the id of a living run. `runs`: it was put into the runs folder."""
    root = copies(other_home / "run" if place == "home" else lab.runs / "theirs")
    for path in (root, *root.rglob("*")):
        os.chown(path, OTHER_UID, OTHER_UID)
    with nothing_happens(lab, root):
        for arguments in READING:
            done = command(*arguments, run=root)
            assert done.returncode == 0, done.stderr
        for arguments in READING_DASHBOARD:
            done = dashboard(*(word.format(run=root) for word in arguments))
            assert "Traceback" not in done.stderr, done.stderr
        for arguments in (*ACTING, ["adopt", "{run}", "--yes"]):
            done = command(*arguments, run=root)
            assert done.returncode in (1, 4), (arguments, done)
            assert "belongs to" in done.stderr, arguments
        # Only found, not ended: another test may have leftovers of its own.
        found = json.loads(command("clean", "--here", "--json").stdout)["found"]
        assert not set(found) & {process.pid for process in lab.ours()}


@pytest.mark.needs_root
def test_a_socket_of_another_user_gets_no_request(lab, living, copies, other_home):
    """supervisor.json of a prepared directory names a socket that its owner listens on."""
    root = copies(other_home / "run")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(other_home / "trap.sock"))
        os.chown(other_home / "trap.sock", OTHER_UID, OTHER_UID)
        listener.listen()
        listener.settimeout(0)
        me = psutil.Process()
        address = {"pid": me.pid, "start_ticks": 0, "socket": str(other_home / "trap.sock")}
        (root / "supervisor.json").write_text(json.dumps(address))
        for path in (root, *root.rglob("*")):
            os.chown(path, OTHER_UID, OTHER_UID)
        for arguments in (*READING, *ACTING):
            command(*arguments, run=root)
        with pytest.raises(BlockingIOError):
            listener.accept()
