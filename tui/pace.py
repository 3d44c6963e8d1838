"""How often frames come: 4, 2 or 1 a second; slower when they cost too much."""

from __future__ import annotations

from typing import Final

EXPENSIVE: Final = 0.25  # of a frame's period
CHEAP: Final = 0.10  # of the faster period
CHEAP_FRAMES: Final = 24  # in a row before it gets faster
WEIGHT: Final = 0.8  # of the past in the mean cost


class Pace:
    """Chooses the time between frames from what they cost."""

    def __init__(self, hz: float = 4.0) -> None:
        self._levels = (hz, hz / 2, hz / 4)
        self._level = 0
        self._mean_s = 0.0
        self._seen = 0
        self._cheap = 0
        self._by_hand = False

    @property
    def hz(self) -> float:
        return self._levels[self._level]

    @property
    def period_s(self) -> float:
        return 1.0 / self.hz

    @property
    def badge(self) -> str:
        """``4 Hz``, or ``2 Hz (slowed)`` when frames cost too much."""
        slow = self._level and not self._by_hand
        return f"{self.hz:g} Hz" + (" (slowed)" if slow else "")

    def choose_next(self) -> None:
        """The next slower rate; after the slowest the fastest."""
        self._level = (self._level + 1) % len(self._levels)
        self._seen, self._cheap, self._by_hand = 0, 0, True

    def record(self, cost_s: float) -> None:
        """One frame took this long, from its data to the last byte that the terminal read."""
        self._seen += 1
        if self._seen <= 2:  # the first layout and the first paint are slow everywhere
            return
        self._mean_s = cost_s if self._seen == 3 else WEIGHT * self._mean_s + (1 - WEIGHT) * cost_s
        if self._seen >= 7 and self._mean_s > EXPENSIVE * self.period_s:
            if self._level < len(self._levels) - 1:
                self._level += 1
                self._by_hand = False
                self._seen, self._cheap = 2, 0
            return
        faster = self._levels[max(self._level - 1, 0)]
        self._cheap = self._cheap + 1 if self._mean_s < CHEAP / faster else 0
        if self._level and not self._by_hand and self._cheap >= CHEAP_FRAMES:
            self._level -= 1
            self._cheap = 0
