"""How a test waits: for an event or a state, and as long as anything moves.

Nothing here ends by the wall clock. Patience is counted in ticks without change, and ticks pass only as fast as the
machine serves the test: while its processes wait for a processor that others have, by the processor time that they got.
`limits`, which counts by the same clock, is the last resort.
"""

from __future__ import annotations

import functools
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from daemon.processes.supervisor import wait_for_port

TICK_S = 0.1
# Ticks without any change after which a test gives up.
PATIENCE = 600
# How often the own clock looks at the machine, and the share of stalled time below which that machine is ours.
LOOK_S = 0.5
IDLE_SHARE = 0.2
PRESSURE = Path("/proc/pressure/cpu")


def stalled_s() -> float:
    """For how long, since its start, the machine had somebody wait for a processor; 0 where no kernel counts it."""
    with suppress(OSError):
        return int(PRESSURE.read_text().split("total=", 1)[1].split()[0]) / 1e6
    return 0.0


@dataclass(frozen=True)
class Work:
    """Processor time of the test's processes, and whether one of them runs, or would if it could."""

    spent_s: float
    runnable: bool


def work() -> Work:
    """Of this process and of everything that it started and that still lives; of this process the time only."""
    here = psutil.Process()
    times = here.cpu_times()
    spent, runnable = times.user + times.system, False
    for process in here.children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError):
            times = process.cpu_times()
            spent += times.user + times.system
            runnable = runnable or "R" in states(process.pid)
    return Work(spent, runnable)


def states(pid: int) -> set[str]:
    """States of a process's threads."""
    return {
        stat.read_text().rsplit(")", 1)[1].split(None, 1)[0] for stat in Path(f"/proc/{pid}/task").glob("[0-9]*/stat")
    }


class OwnClock:
    """Seconds in which the test's processes ran or had nothing to do. The arguments are for tests of the clock."""

    def __init__(
        self,
        wall: Callable[[], float] = time.monotonic,
        stalled: Callable[[], float] = stalled_s,
        work: Callable[[], Work] = work,
    ) -> None:
        self._wall, self._stalled, self._work = wall, stalled, work
        self._seen = wall(), stalled(), work().spent_s
        self._own_s = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        with self._lock:
            wall, stalled, spent = self._seen
            passed = self._wall() - wall
            if passed < LOOK_S:
                return self._own_s
            lost = self._stalled() - stalled
            now = self._work()
            got = max(passed - lost, now.spent_s - spent, 0.0)
            self._own_s += min(passed, got) if now.runnable and lost > IDLE_SHARE * passed else passed
            self._seen = wall + passed, stalled + lost, now.spent_s
            return self._own_s

    def sleep(self, seconds: float) -> None:
        """Until so much own time has passed."""
        end = self.now() + seconds
        while self.now() < end:
            time.sleep(TICK_S)


@functools.cache
def own_clock() -> OwnClock:
    """One for all, since it looks at every process."""
    return OwnClock()


class Patience:
    """Counts ticks since anything changed."""

    def __init__(self, ticks: int = PATIENCE, clock: OwnClock | None = None) -> None:
        self.ticks = ticks
        self._clock = clock or own_clock()
        self._since = self._clock.now()
        self._last: object = None

    def tick(self, moves: object = None, pause_s: float = TICK_S) -> bool:
        """Sleep a little; whether there is still hope. `moves` is equal to the last one as long as nothing changes."""
        now = self._clock.now()
        if moves != self._last:
            self._last, self._since = moves, now
        if now - self._since > self.ticks * TICK_S:
            return False
        time.sleep(pause_s)
        return True


def wait_for(
    condition: Callable[[], Any],
    what: str,
    *,
    moves: Callable[[], object] = lambda: None,
    ticks: int = PATIENCE,
    pause_s: float = TICK_S / 2,
) -> Any:
    """The value of the condition as soon as it holds. Given up after so many ticks in which `moves()` stayed equal."""
    patience = Patience(ticks)
    while not (value := condition()):
        moved = moves()
        if not patience.tick(moved, pause_s):
            raise AssertionError(f"waited in vain for {what}: for {ticks} ticks nothing changed; last: {moved}")
    return value


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    return wait_for_port("127.0.0.1", port, 0.05)


def wait_for_listener(port: int, said: Callable[[], str] = lambda: "") -> None:
    """Until somebody takes connections there. `said`: the log of who should, for the failure."""
    try:
        wait_for(lambda: listens(port), "a listener", ticks=2 * PATIENCE)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{said()}") from None


def wait_for_end(process: subprocess.Popen[Any], what: str = "a process to end", ticks: int = 2 * PATIENCE) -> int:
    """The exit code of a process that ends by itself."""
    wait_for(lambda: process.poll() is not None, what, ticks=ticks)
    return int(process.returncode)
