"""Refusals by the thousand: the first are written one by one, then one alert, then how many more there were.

Each line is synced to the disk; without a limit, whoever is refused could fill it, and hide in what he filled it with.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

WINDOW_S = 60.0
# Refusals of one kind from one address that are written one by one in a window; the next one is the alert.
ONE_BY_ONE = 30
MOST_KEYS = 1000


@dataclass(slots=True)
class _Window:
    began: float
    count: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What to write of one refusal. `alert`: the first beyond the limit. `before`: left out of the last window."""

    written: bool
    alert: bool = False
    before: int = 0


class Floods:
    """Counts refusals by whatever tells them apart, in this process."""

    def __init__(self) -> None:
        self._windows: OrderedDict[tuple[str, ...], _Window] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, key: tuple[str, ...], now: float) -> Answer:
        with self._lock:
            before = 0
            window = self._windows.pop(key, None)
            if window is None or not 0 <= now - window.began < WINDOW_S:
                before = max(0, window.count - ONE_BY_ONE - 1) if window is not None else 0
                window = _Window(now)
            window.count += 1
            self._windows[key] = window
            if len(self._windows) > MOST_KEYS:
                self._windows.popitem(last=False)
            return Answer(window.count <= ONE_BY_ONE, window.count == ONE_BY_ONE + 1, before)
