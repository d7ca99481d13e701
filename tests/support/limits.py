"""When a test is given up: when it makes no progress, whatever the clock on the wall says.

A test has two limits. In `STILL_S` seconds its processes must get some processor time together; and it must be done in
the seconds of its `timeout` marker, or in `WHOLE_S`. Both are counted by the own clock (see `waiting`), which stands
still while other programs have the processors. So a busy machine makes a test late, never failed; a deadlock is noticed
by the first limit, an endless loop by the second, and a wait for something by `waiting` before either.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

import psutil
import pytest

from tests.support.waiting import OwnClock, Work, work

WHOLE_S = 600.0
STILL_S = 180.0
# Processor time in STILL_S below which nothing was done: what daemons take that wait for work.
MOVED_S = 0.02 * STILL_S
LOOK_EVERY_S = 5.0
# Processor time between two looks with which a thread was not only waiting.
RAN_S = 0.05
# After its failure a test has this long for its fixtures to end what they started; then its process is ended.
STUBBORN_S = 120.0


class Progress:
    """Decides, from what it sees now and then, whether a test is to be given up."""

    def __init__(self, whole_s: float, own_s: float, spent_s: float) -> None:
        self._whole_s, self._start_s = whole_s, own_s
        self._moved_at_s, self._spent_s = own_s, spent_s

    def verdict(self, own_s: float, spent_s: float) -> str | None:
        """Why to give it up, or None."""
        # Processes that ended take their time with them, and their end is progress too.
        if spent_s - self._spent_s >= MOVED_S or spent_s < self._spent_s:
            self._moved_at_s, self._spent_s = own_s, spent_s
        if own_s - self._moved_at_s > STILL_S:
            return f"no process of this test did anything for {STILL_S:.0f} s"
        if own_s - self._start_s > self._whole_s:
            return f"not done in {self._whole_s:.0f} s in which the machine served it"
        return None


@dataclass
class _Running:
    name: str
    progress: Progress
    given_up: bool = False


class WithMain:
    """As `waiting.work`; a main thread that computed since the last look counts as well, since another thread looks."""

    def __init__(self) -> None:
        self._main_s = 0.0

    def __call__(self) -> Work:
        seen, main = work(), threading.main_thread().ident
        assert main is not None
        spent_s = time.clock_gettime(time.pthread_getcpuclockid(main))
        ran, self._main_s = spent_s - self._main_s > RAN_S, spent_s
        return Work(seen.spent_s, seen.runnable or ran)


class Limits:
    """The plugin: watches the running test from a thread, and lets it fail from the main one."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._main = threading.main_thread()
        self._clock = OwnClock(work=WithMain())
        self._running: _Running | None = None
        self._reason = ""
        self._over = threading.Event()
        signal.signal(signal.SIGALRM, self._fail)
        threading.Thread(target=self._watch, name="limits", daemon=True).start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        marker = item.get_closest_marker("timeout")
        whole_s = float(marker.args[0]) if marker else WHOLE_S
        self._running = _Running(item.nodeid, Progress(whole_s, self._clock.now(), work().spent_s))
        try:
            return (yield)
        finally:
            self._running = None

    def pytest_unconfigure(self) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            running = self._running
            if running is None:
                continue
            # The time that looking takes is not the test's.
            own_s, spent_s = self._clock.now(), work().spent_s - time.thread_time()
            reason = running.progress.verdict(own_s, spent_s)
            if reason and running.given_up:
                self._end(running)
            elif reason:
                running.given_up, running.progress = True, Progress(STUBBORN_S, own_s, spent_s)
                self._reason = f"{reason}\n{stacks()}\n{processes()}"
                signal.pthread_kill(self._main.ident or 0, signal.SIGALRM)

    def _fail(self, number: int, frame: FrameType | None) -> None:
        if self._running is not None:
            pytest.fail(self._reason)

    def _end(self, running: _Running) -> NoReturn:
        """The main thread hangs where no signal reaches it."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        os.write(2, f"{running.name} cannot be ended: {self._reason}\n".encode())
        os._exit(70)


def stacks() -> str:
    """Where each thread is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    told = []
    for ident, frame in sys._current_frames().items():
        told += [f"thread {names.get(ident, ident)}:", "".join(traceback.format_stack(frame)[-8:])]
    return "\n".join(told)


def processes() -> str:
    """What the test started and still lives."""
    told = []
    for process in psutil.Process().children(recursive=True):
        try:
            told.append(f"process {process.pid} {process.status()}: {' '.join(process.cmdline())[:160]}")
        except psutil.Error:
            continue
    return "\n".join(told)
