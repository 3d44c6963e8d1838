"""Pressing keys so that each is seen to do something, and the scenarios that do it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pilots import everything, until
from textual.pilot import Pilot
from textual.widget import Widget

Key = tuple[str, str]  # the class that binds it, the key
Scenario = Callable[["Keys"], Awaitable[None]]
SCENARIOS: dict[str, tuple[Scenario, frozenset[Key]]] = {}


class Keys:
    """Presses keys, and holds that each does something."""

    def __init__(self) -> None:
        self.pressed: set[Key] = set()
        self.pilot: Pilot[str]

    async def __call__(self, owner: str, key: str, so: Callable[[], bool]) -> None:
        """``so`` is not so before the key, and comes to be so after it."""
        await self.pilot.pause()
        assert not so(), f"{owner} {key}: it is so already"
        await self.pilot.press(key)
        await until(self.pilot, so)
        self.pressed.add((owner, key))

    def one(self, kind: type[Widget]) -> Widget:
        """The first such widget."""
        return self.pilot.app.screen.query(kind).first()

    def seen(self, text: str) -> Callable[[], bool]:
        """Whether a text is on the screen."""
        return lambda: text in everything(self.pilot)

    def gone(self, text: str) -> Callable[[], bool]:
        """Whether it is not."""
        return lambda: text not in everything(self.pilot)

    def on(self, kind: type) -> Callable[[], bool]:
        """Whether this screen is on top."""
        return lambda: isinstance(self.pilot.app.screen, kind)


def covers(**keys: str) -> Callable[[Scenario], Scenario]:
    """Registers a scenario for ``CLASS="key key"``."""

    def register(scenario: Scenario) -> Scenario:
        wanted = {(owner, key) for owner, words in keys.items() for key in words.split()}
        SCENARIOS[scenario.__name__] = (scenario, frozenset(wanted))
        return scenario

    return register
