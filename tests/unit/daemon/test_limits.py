"""An exam that takes too long or too much memory is given back with the reason, and its process replaced."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daemon.work.exam_limits import EXIT_CODE, OutgrewMemory, TookTooLong, excess, resident_bytes, watching_limits
from pipeline.errors import TryLater

MIB = 1024**2


@pytest.mark.parametrize(
    ("seconds", "used", "limit_s", "limit_bytes", "expected"),
    [
        (10, 100, 20, 200, None),
        (21, 100, 20, 200, TookTooLong),
        (10, 201, 20, 200, OutgrewMemory),
        (10, 10**12, 20, None, None),
    ],
)
def test_a_limit_that_is_exceeded_is_named(
    seconds: float, used: int, limit_s: float, limit_bytes: int | None, expected: type[TryLater] | None
) -> None:
    found = excess(seconds, used, limit_s, limit_bytes)
    assert type(found) is (expected or type(None))


def test_the_memory_that_is_measured_is_the_one_that_is_used() -> None:
    before = resident_bytes()
    held = bytearray(64 * MIB)
    held[:: 1024 * 4] = b"x" * len(held[:: 1024 * 4])
    assert resident_bytes() - before > 48 * MIB


def watch(limit_s: float, limit_bytes: int | None) -> list[object]:
    """What is given back and how the process would end, when nothing else ends the body."""
    seen: list[object] = []
    ended = threading.Event()

    def end(code: int) -> None:
        seen.append(code)
        ended.set()

    with watching_limits(limit_s, limit_bytes, lambda error: seen.append(error.code), end):
        ended.wait()
    return seen


def test_an_exam_that_takes_too_long_is_given_back_before_its_process_ends() -> None:
    assert watch(0.0, None) == ["took-too-long", EXIT_CODE]


def test_an_exam_that_outgrows_its_memory_is_given_back_before_its_process_ends() -> None:
    assert watch(1000.0, 1) == ["outgrew-memory", EXIT_CODE]


def test_a_ledger_that_is_away_does_not_keep_the_process() -> None:
    seen: list[int] = []
    ended = threading.Event()

    def away(error: TryLater) -> None:
        raise error

    def end(code: int) -> None:
        seen.append(code)
        ended.set()

    with watching_limits(0.0, None, away, end):
        assert ended.wait()
    assert seen == [EXIT_CODE]


def test_an_exam_within_its_limits_is_left_alone() -> None:
    with watching_limits(1000.0, 10**15, pytest.fail, pytest.fail):
        pass


HUNGRY = """
import time
from daemon.work.exam_limits import watching_limits
with watching_limits(60.0, 128 * 1024**2, lambda error: print(error.code, flush=True)):
    held = [bytearray(8 * 1024**2) for _ in range(64)]
    for piece in held:
        piece[::4096] = b"x" * len(piece[::4096])
    time.sleep(30)
print("was not ended")
"""


def test_a_hungry_process_really_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HUNGRY], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
    )
    assert (done.stdout.split(), done.returncode) == (["outgrew-memory"], EXIT_CODE)
