"""The command ``effnet-tui``. Only what is needed to parse the command line is imported here."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from tui.sources.replay import ReplaySource
    from tui.sources.source import Source

PORT: Final = 8000
EXAMPLES: Final = """\
examples:
  effnet-tui                        home: all runs and profiles
  effnet-tui latest                 the newest run
  effnet-tui local-cpu              prepare a run of the profile local-cpu
  effnet-tui --once latest          print one picture of it and exit
  effnet-tui --replay latest --speed 20
  effnet-tui --demo                 play a recorded run of eight ranks; nothing is needed
  effnet-tui watch msrun_log        a job of msrun, mpirun, torchrun or mindformers
  effnet-tui serve                  in a browser on this machine
  NO_COLOR=1 effnet-tui             without colours

q quits and never ends a run. s on a run stops it, after a question. ? shows all keys.
"""


SERVE_EXAMPLES: Final = """\
examples:
  effnet-tui serve                  prints an address to open in a browser of this machine
  effnet-tui serve --readonly       nothing can be started or ended there
  effnet-tui serve --port 8080 latest

From another machine: ssh -L 8000:127.0.0.1:8000 HOST, and open the same address.
"""

WATCH_EXAMPLES: Final = """\
examples:
  effnet-tui watch msrun_log                      msrun --log_dir msrun_log
  effnet-tui watch mpi_log                        mpirun --output-filename mpi_log
  effnet-tui watch torch_log                      torchrun --log-dir torch_log --redirects 3
  effnet-tui watch 'logs/rank*.txt' --pattern 'step (?P<step>\\d+) loss (?P<loss>\\S+)'
  effnet-tui watch node-a:/data/job/msrun_log     over SSH

Nothing is changed: the job belongs to what started it.
"""


def watch_parser() -> argparse.ArgumentParser:
    """Of ``effnet-tui watch``."""
    made = Parser(
        prog="effnet-tui watch",
        description="Watch a job that another launcher started, or see why it failed.",
        epilog=WATCH_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "target",
        metavar="DIR|PATTERN|HOST:DIR",
        help="folder with the logs of its ranks, a pattern in quotes, or a folder on a host",
    )
    made.add_argument("--pattern", default="", metavar="REGEX", help="lines of steps")
    made.add_argument(
        "--silent",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="a rank is silent after so long without a line (default: learned from its steps)",
    )
    made.add_argument(
        "--python", default="", metavar="PATH", help="interpreter on the host (default python3)"
    )
    made.add_argument("--openssh", action="store_true", help="reach the host with the ssh program")
    _add_display(made)
    return made


def _add_display(made: argparse.ArgumentParser, can_print: bool = True) -> None:
    if can_print:
        made.add_argument(
            "--once", action="store_true", help="print one plain-text picture and exit"
        )
    made.add_argument(
        "--theme", choices=("dark", "light", "ansi", "mono"), help="colours, for this time"
    )
    made.add_argument(
        "--refresh", type=float, metavar="HZ", help="frames a second, 0.2 to 10 (default 4)"
    )


class Parser(argparse.ArgumentParser):
    """An error is printed as those of `effnet-launch`."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}\n  → {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def parser(serves: bool = False) -> argparse.ArgumentParser:
    """Of ``effnet-tui``, or of ``effnet-tui serve``."""
    made = Parser(
        prog="effnet-tui serve" if serves else "effnet-tui",
        description=(
            "The dashboard in a browser on this machine. Each page has a dashboard of its own."
            if serves
            else "Watch, start, resume and end EfficientNet training runs."
        ),
        epilog=SERVE_EXAMPLES if serves else EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=not serves,
    )
    made.add_argument(
        "target",
        nargs="?",
        metavar="RUN|PROFILE",
        help="a run (id, unique beginning, path, or latest), or a profile to start",
    )
    if serves:
        made.add_argument(
            "--port", type=_port, default=PORT, help=f"to listen on (default {PORT}; 0: any)"
        )
    made.add_argument("--readonly", action="store_true", help="nothing can be started or ended")
    made.add_argument("--replay", metavar="RUN", help="play a run from its beginning")
    made.add_argument(
        "--demo",
        action="store_true",
        help="play a recorded run of 8 ranks with a failure and a resume in it",
    )
    made.add_argument(
        "--speed", type=float, metavar="X", help="of the replay (default 10) or the demo (5)"
    )
    _add_display(made, can_print=not serves)
    made.add_argument("--version", action="store_true", help="print the version and exit")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["watch"]:
        return _watch(watch_parser(), words[1:])
    serves = words[:1] == ["serve"]
    made = parser(serves)
    given = made.parse_args(words[serves:])
    if given.version:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(version("effnet-tui"))
        except PackageNotFoundError:
            print("effnet-tui, not installed")
        return 0
    _check_refresh(made, given)
    if given.speed is not None and not 0.1 <= given.speed <= 10_000:
        made.error("--speed is 0.1 to 10000")
    if given.demo and (given.replay or given.target):
        made.error("--demo plays its own run")
    if serves:
        from tui.serve import serve

        return serve(_without_port(words[1:]), given.port)
    if given.once:
        return _once(given.replay or given.target or "latest", given.demo)
    return _show(given) if _has_terminal() else 2


def _check_refresh(made: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    if given.refresh is not None and not 0.2 <= given.refresh <= 10:
        made.error("--refresh is 0.2 to 10")


def _has_terminal() -> bool:
    """Whether the dashboard can be drawn; prints why not."""
    if not _is_served() and not (sys.stdin.isatty() and sys.stderr.isatty()):
        print("effnet-tui needs a terminal; --once prints one picture without one", file=sys.stderr)
        return False
    if not _is_served() and os.environ.get("TERM", "") in ("", "dumb"):
        is_set = "TERM is dumb" if "TERM" in os.environ else "TERM is not set"
        print(
            f"effnet-tui cannot draw on this terminal: {is_set}; set TERM to your terminal's name"
            " (xterm-256color), or print one picture with --once",
            file=sys.stderr,
        )
        return False
    return True


def _watch(made: argparse.ArgumentParser, words: Sequence[str]) -> int:
    given = made.parse_args(words)
    _check_refresh(made, given)
    if not given.once and not _has_terminal():
        return 2
    from launcher import client
    from launcher.errors import LaunchError

    try:
        job = client.watch(
            given.target,
            pattern=given.pattern,
            silent_s=given.silent,
            python=given.python,
            transport="openssh" if given.openssh else "ssh",
        )
    except LaunchError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    from tui.drawing.wording import WATCHED
    from tui.sources.watched import WatchSource

    source = WatchSource(job)
    with contextlib.closing(job):
        if given.once:
            job.catch_up()
            return _print_picture(source, given.target)
        return _run(source, given, job.close, run=given.target, readonly=WATCHED)


def _is_served() -> bool:
    """Whether textual-serve has put a driver of its own in place of the terminal."""
    return "TEXTUAL_DRIVER" in os.environ


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is 0 to 65535")
    return int(text)


def _without_port(words: Sequence[str]) -> list[str]:
    """What each served dashboard is started with."""
    port = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    port.add_argument("--port")
    return port.parse_known_args(words)[1]


def _once(name: str, demo: bool) -> int:
    if demo:
        from tui.sources.recording import unpack

        with tempfile.TemporaryDirectory(prefix="effnet-demo-") as folder:
            return _once(str(unpack(Path(folder))), False)
    from tui.sources.live import LiveSource

    return _print_picture(LiveSource(read_only=True), name)


def _print_picture(source: Source, name: str) -> int:
    from tui.once import picture
    from tui.sources.source import SourceError

    try:
        sys.stdout.write(picture(source.open(name)) + "\n")
    except SourceError as problem:
        print(problem, file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _live(read_only: bool) -> Source:
    from tui.sources.live import LiveSource

    return LiveSource(read_only)


def _show(given: argparse.Namespace) -> int:
    from tui.sources.source import lazy

    source: Source = lazy(lambda: _live(given.readonly))
    replay: ReplaySource | None = None
    target, profile, again = given.target, None, ""
    if given.demo:
        from tui.sources.recording import SPEED, DemoSource

        source = replay = demo = DemoSource(given.speed or SPEED)
        target, again = str(demo.run), "effnet-tui --demo"
    elif given.replay:
        from tui.sources.replay import ReplaySource

        target, again = given.replay, f"effnet-tui --replay {given.replay}"
        source = replay = ReplaySource(given.speed or 10.0)
    elif target is not None and _is_profile(target):
        target, profile = None, target
    is_read_only = given.readonly or replay is not None
    close = None if replay is None else replay.close
    return _run(
        source, given, close, run=target, profile=profile, again=again, readonly=is_read_only
    )


def _run(
    source: Source, given: argparse.Namespace, close: Callable[[], None] | None, **options: Any
) -> int:
    """Shows the dashboard. `close`: what removes its temporary files."""
    # Animations cost frames, and no figure is easier to read while it moves.
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    from tui.app import Dashboard
    from tui.settings import load, settings_path

    settings, notes = load(settings_path())
    app = Dashboard(
        source,
        settings,
        theme=given.theme,
        refresh_hz=given.refresh,
        notes=notes,
        at_vanished=close,
        **options,
    )
    if close is not None:
        _close_at_hangup(close)
    try:
        words = app.run(mouse=settings.mouse)
    finally:
        if close is not None:
            close()
    if words and not _is_served():
        print(words)
    return app.return_code or 0


def _close_at_hangup(close: Callable[[], None]) -> None:
    """A closed terminal must not leave the copy that a replay makes of its run."""

    def hung_up(number: int, _: object) -> None:
        close()
        os._exit(128 + number)

    # Where SIGHUP is ignored (nohup), the watchdog notices that the terminal is gone.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, hung_up)


def _is_profile(name: str) -> bool:
    """A name that could be both is a profile only when one has exactly this name."""
    if name.endswith(".toml"):
        return True
    if os.sep in name or name == "latest":
        return False
    from launcher.client import list_profiles

    return any(entry.name == name for entry in list_profiles())


if __name__ == "__main__":
    sys.exit(main())
