"""A lock on a file: one process at a time, and none that outlives its holder."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daemon.machine.file_lock import FileLock, waiting_for_lock

HOLDER = """
import sys, pathlib
from daemon.machine.file_lock import FileLock
lock = FileLock(pathlib.Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_a_second_holder_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "folder" / "a.lock"), FileLock(tmp_path / "folder" / "a.lock")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()
    second.release()  # harmless


def test_the_lock_of_a_process_that_is_killed_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        lock = FileLock(path)
        assert not lock.acquire()
        process.kill()
    assert lock.acquire()
    lock.release()


def test_who_waits_gets_the_lock_when_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.machine.file_lock.LOCK_POLL_S", 0.01)
    first = FileLock(tmp_path / "a.lock")
    assert first.acquire()
    waits: list[float | None] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            first.release()
            return False

    with waiting_for_lock(tmp_path / "a.lock", Stop()) as acquired:
        assert acquired
        assert not first.acquire()
    assert waits == [0.01]
    assert first.acquire()
    first.release()


def test_who_is_stopped_while_it_waits_has_no_lock(tmp_path: Path) -> None:
    first, stop = FileLock(tmp_path / "a.lock"), threading.Event()
    assert first.acquire()
    stop.set()
    with waiting_for_lock(tmp_path / "a.lock", stop) as acquired:
        assert not acquired
    first.release()
