"""Waking instead of polling, where pynetdicom lets us: its association thread waits here until there is work."""

from __future__ import annotations

from queue import Queue
from threading import Condition
from typing import Any

PATIENCE_S = 0.25


class Gate:
    """Stands in for the event that pynetdicom's association loop waits on once per round.

    pynetdicom's own use of it is kept: `clear` holds the loop back, `set` lets it go. On top of that a round is only
    let through when someone has rung, or every PATIENCE_S, which bounds what a lost ring costs.
    """

    def __init__(self) -> None:
        self._condition = Condition()
        self._allowed = True
        self._rung = False

    def set(self) -> None:
        with self._condition:
            self._allowed = True
            self._rung = True
            self._condition.notify_all()

    def clear(self) -> None:
        with self._condition:
            self._allowed = False

    def ring(self) -> None:
        """There is work: a message, a request to release, an end."""
        with self._condition:
            self._rung = True
            self._condition.notify_all()

    def wait(self) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._allowed and self._rung, PATIENCE_S)
            while not self._allowed:
                self._condition.wait()
            self._rung = False


class RingingQueue(Queue[Any]):
    """A queue that rings when something is put in."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._gate.ring()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        item = super().get(block, timeout)
        if not self.empty():
            self._gate.ring()
        return item
