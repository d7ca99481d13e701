"""A child process that is started again when it ends, after a pause that doubles with every quick end.

`tend` reports what happened, so that each caller logs it under its own event name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

# subprocess.Popen or multiprocessing's BaseProcess
P = TypeVar("P")
# The pause stops doubling here, before the power overflows.
MOST_DOUBLINGS = 10


@dataclass(frozen=True, slots=True)
class Pauses:
    """The first pause before a restart and the longest one. An end within `quick_s` of the start doubles the next."""

    first_s: float
    longest_s: float
    quick_s: float

    def after(self, failures: int) -> float:
        return min(self.longest_s, self.first_s * 2.0 ** min(failures, MOST_DOUBLINGS))


@dataclass(frozen=True, slots=True)
class Started:
    """The process was started."""


@dataclass(frozen=True, slots=True)
class Ended(Generic[P]):
    """The process has ended; it is started again after its pause."""

    process: P
    exit_code: int


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The machine lacks something for a new process (descriptors, memory); the start is repeated after a pause."""

    error: OSError


class KeptProcess(Generic[P]):
    """One child process. `failures` counts quick ends and failed starts in a row; no start before `not_before`.

    Args:
        name: how logs call it.
        start: starts it, or raises OSError.
        exit_code: the exit code of a process, None while it runs.
    """

    def __init__(self, name: str, start: Callable[[], P], exit_code: Callable[[P], int | None], pauses: Pauses) -> None:
        self.name = name
        self.process: P | None = None
        self.failures = 0
        self.not_before = float("-inf")
        self._start = start
        self._exit_code = exit_code
        self._pauses = pauses
        self._started_at = float("-inf")

    def launch(self) -> None:
        """Start it now. Raises OSError."""
        self.process = self._start()
        self._started_at = time.monotonic()

    def tend(self) -> Started | Ended[P] | NotStarted | None:
        """Notice that it has ended, or start it when its pause is over. None: nothing has changed."""
        now = time.monotonic()
        if self.process is None:
            return self._launch_or_wait(now) if now >= self.not_before else None
        code = self._exit_code(self.process)
        if code is None:
            return None
        ended = Ended(self.process, code)
        self.process = None
        self.failures = self.failures + 1 if now - self._started_at < self._pauses.quick_s else 0
        self.not_before = now + self._pauses.after(self.failures)
        return ended

    def _launch_or_wait(self, now: float) -> Started | NotStarted:
        try:
            self.launch()
        except OSError as error:
            self.failures += 1
            self.not_before = now + self._pauses.after(self.failures)
            return NotStarted(error)
        return Started()
