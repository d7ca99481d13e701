"""Waking instead of polling, where pynetdicom lets us: its association thread waits here until there is work."""

from __future__ import annotations

from queue import Queue
from threading import Condition
from typing import Any  # Any: pynetdicom's objects, whose types mypy does not follow

MAX_ROUND_S = 0.25


class RoundGate:
    """Stands in for the event that pynetdicom's association loop waits on once per round.

    pynetdicom's own use of it is kept: `clear` holds the loop back, `set` lets it go. On top of that a round is only
    let through when someone has rung, or every MAX_ROUND_S, which bounds what a lost ring costs.
    """

    def __init__(self) -> None:
        self._condition = Condition()
        self._allowed = True
        self._woken = False

    def set(self) -> None:
        with self._condition:
            self._allowed = True
            self._woken = True
            self._condition.notify_all()

    def clear(self) -> None:
        with self._condition:
            self._allowed = False

    def wake(self) -> None:
        """There is work: a message, a request to release, an end."""
        with self._condition:
            self._woken = True
            self._condition.notify_all()

    def wait(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._allowed and self._woken, MAX_ROUND_S)
            while not self._allowed:
                self._condition.wait()
            self._woken = False


class WakingQueue(Queue[Any]):
    """A queue that rings when something is put in."""

    def __init__(self, gate: RoundGate) -> None:
        super().__init__()
        self._gate = gate

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._gate.wake()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        item = super().get(block, timeout)
        if not self.empty():
            self._gate.wake()
        return item
