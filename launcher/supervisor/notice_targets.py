"""Where notifications go: services through Apprise, and the user's own command."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import Any, Protocol

from launcher.core.diagnosis.notices import Notice
from launcher.core.profile.model import NoticeKind, Profile
from launcher.errors import ProfileError

COMMAND_LIMIT_S = 30.0
INSTALL = "pip install -e '.[notify]' in effnet-tui's clone, on the machine of the supervisor"
_BAD = (NoticeKind.FAILED, NoticeKind.GAVE_UP)
_GOOD = (NoticeKind.FINISHED, NoticeKind.RECOVERED)


class Target(Protocol):
    """One service or command."""

    @property
    def name(self) -> str:
        """For messages: nothing of an URL but its scheme and its place in the list."""

    def send(self, notice: Notice) -> str:
        """-> what went wrong, empty if nothing did. Never raises."""


@dataclass(frozen=True)
class Command:
    """The user's program; it gets the notice in its environment."""

    argv: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"command {self.argv[0]}"

    def send(self, notice: Notice) -> str:
        variables = {
            "RUN": notice.run,
            "STATE": notice.kind.value,
            "TITLE": notice.title,
            "MESSAGE": notice.text,
            "ID": notice.id,
        }
        try:
            done = subprocess.run(
                self.argv,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=COMMAND_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"no end after {COMMAND_LIMIT_S:g} s"
        except (OSError, ValueError) as error:
            return str(error)
        return f"exit code {done.returncode}" if done.returncode else ""


@dataclass(frozen=True)
class Service:
    """An Apprise URL."""

    number: int
    url: str

    @property
    def name(self) -> str:
        return f"URL {self.number} of [notify] ({self.url.partition(':')[0]})"

    def send(self, notice: Notice) -> str:
        try:
            service = service_of(self.url)
        except ImportError:
            return f"apprise is not installed; {INSTALL}"
        if service is None:
            return "Apprise does not know this URL"
        kind = "failure" if notice.kind in _BAD else "warning"
        try:
            is_sent = service.notify(
                title=notice.title,
                body=f"{notice.text}\n{notice.id}".strip(),
                notify_type="success" if notice.kind in _GOOD else kind,
                body_format="text",
            )
        except Exception as error:  # noqa: BLE001 a plugin of Apprise; the URL may be in its text
            return type(error).__name__
        return "" if is_sent else "the service refused it or cannot be reached"


def service_of(url: str) -> Any:
    """Apprise's object for a URL; ``None`` when it has none. Raises `ImportError`."""
    import apprise  # not needed by a run without notifications, and slow to import

    return apprise.Apprise.instantiate(url, suppress_exceptions=True)


def targets_of(profile: Profile) -> tuple[Target, ...]:
    """Where the notices of a run of this profile go."""
    services = [Service(number, url) for number, url in enumerate(profile.notify_urls, 1)]
    command = [Command(profile.notify.command)] if profile.notify.command else []
    return (*services, *command)


def send_test(profile: Profile) -> list[tuple[str, str]]:
    """A test notification to each target. -> (its name, what went wrong or nothing)."""
    title = f"a test of the profile {profile.name}"
    lines = ("Notifications of its runs come here.",)
    notice = Notice(f"test#{time.time_ns()}", profile.name, NoticeKind.RECOVERED, title, lines)
    return [(target.name, target.send(notice)) for target in targets_of(profile)]


def check(profile: Profile) -> None:
    """Before a start. Raises `ProfileError` when notifications could not be sent."""
    urls = profile.notify_urls
    try:
        unknown = [number for number, url in enumerate(urls, 1) if service_of(url) is None]
        problems = [f"notify.urls: Apprise does not know URL {number}" for number in unknown]
    except ImportError:
        problems = [f"notify.urls: apprise is not installed; {INSTALL}"]
    if problems:
        raise ProfileError(f"the profile {profile.name} cannot notify", tuple(problems))
