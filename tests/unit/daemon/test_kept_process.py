"""A child process that is kept running: when it is started again, and what its keeper learns of that."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.machine.kept_process import Ended, KeptProcess, NotStarted, Pauses, Started

PAUSES = Pauses(first_s=1.0, longest_s=30.0, quick_s=60.0)


class Process:
    """What a process shows of itself: an exit code once it has ended."""

    code: int | None = None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("daemon.machine.kept_process.time.monotonic", lambda: now[0])
    return now


def kept(start: Callable[[], Process] = Process) -> KeptProcess[Process]:
    return KeptProcess("worker", start, lambda process: process.code, PAUSES)


def test_a_process_is_started_once_and_then_left_alone(clock: list[float]) -> None:
    child = kept()
    assert [child.tend() for _ in range(3)] == [Started(), None, None]


def test_an_end_is_told_once_with_the_process_and_its_exit_code(clock: list[float]) -> None:
    child = kept()
    child.launch()
    process = child.process
    assert process is not None
    process.code = -9
    assert child.tend() == Ended(process, -9)
    assert child.process is None
    assert child.tend() is None, "its pause is not over"


def test_every_quick_end_doubles_the_pause_and_a_long_life_forgives_them(clock: list[float]) -> None:
    child, pauses = kept(), []
    for _ in range(8):
        child.launch()
        assert child.process is not None
        child.process.code = 1
        child.tend()
        pauses.append(child.not_before - clock[0])
    assert pauses == [2, 4, 8, 16, 30, 30, 30, 30]
    child.launch()
    assert child.process is not None
    child.process.code = 1
    clock[0] += PAUSES.quick_s
    child.tend()
    assert child.failures == 0
    assert child.not_before - clock[0] == PAUSES.first_s


def test_a_start_for_which_the_machine_lacks_something_is_repeated_after_a_pause(clock: list[float]) -> None:
    lacking = OSError(errno.EMFILE, "Too many open files")
    attempts: list[OSError | None] = [lacking, None]

    def start() -> Process:
        if error := attempts.pop(0):
            raise error
        return Process()

    child = kept(start)
    assert child.tend() == NotStarted(lacking)
    assert child.tend() is None
    clock[0] = child.not_before
    assert child.tend() == Started()


@given(st.integers(0, 10**6))
def test_a_pause_is_never_longer_than_the_longest(failures: int) -> None:
    assert PAUSES.first_s <= PAUSES.after(failures) <= PAUSES.longest_s
