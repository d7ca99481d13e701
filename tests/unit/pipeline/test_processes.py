"""Work shared between processes gives the answers of one process, whatever becomes of the others."""

from __future__ import annotations

import math
import os
import time
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Work
from pipeline import processes
from pipeline.processes import cores_for, share
from pipeline.records import Json

SELF = os.getpid()
PLAIN = st.floats(allow_nan=False) | st.integers() | st.none() | st.text()


def same(answer: Json) -> Json:
    return answer


def owner() -> Json:
    time.sleep(0.05)  # long enough for another process to take one, too
    return os.getpid()


def only_here(answer: Json) -> Json:
    if os.getpid() != SELF:
        os._exit(9)
    time.sleep(0.02)
    return answer


def fails_elsewhere(answer: Json) -> Json:
    if os.getpid() != SELF:
        raise RuntimeError
    time.sleep(0.02)
    return answer


def no_json_elsewhere(answer: Json) -> Json:
    time.sleep(0.02)
    return answer if os.getpid() == SELF else {1, 2}  # type: ignore[return-value]


def children() -> set[str]:
    return set(Path(f"/proc/{SELF}/task/{SELF}/children").read_text().split())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.dictionaries(st.text(), PLAIN), max_size=6), st.integers(1, 3))
def test_answers_come_in_order_and_to_the_last_bit(answers: list[Json], many: int) -> None:
    found = share([partial(same, answer) for answer in answers], many)
    assert repr(found) == repr(answers)


def test_several_processes_take_part_and_none_is_left() -> None:
    before = children()
    found = share([owner] * 8, 3)
    assert SELF in found
    assert 2 <= len({str(pid) for pid in found}) <= 3
    assert children() == before


@pytest.mark.parametrize("work", [only_here, fails_elsewhere, no_json_elsewhere])
@pytest.mark.filterwarnings("ignore")
def test_what_another_process_does_not_answer_is_done_here(work: object) -> None:
    assert callable(work)
    assert share([partial(work, n) for n in range(6)], 2) == list(range(6))


def test_a_process_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE_S", 0.2)

    def stuck(n: int) -> Json:
        if os.getpid() != SELF:
            time.sleep(3600)
        time.sleep(0.02)
        return n

    before = children()
    assert share([partial(stuck, n) for n in range(4)], 2) == [0, 1, 2, 3]
    assert children() == before


def test_an_error_is_raised_as_it_would_be_by_one_process() -> None:
    def bad() -> Json:
        raise ZeroDivisionError("by zero")

    before = children()
    with pytest.raises(ZeroDivisionError, match="by zero"):
        share([owner, bad, owner], 2)
    assert children() == before


def test_more_pieces_than_the_queue_holds_are_done_all_the_same() -> None:
    assert share([partial(same, n) for n in range(300)], 2) == list(range(300))


def test_long_answers_come_through() -> None:
    long: Json = [math.sqrt(n) for n in range(100_000)]
    assert share([partial(same, long)] * 3, 2) == [long] * 3


def test_a_worker_uses_its_part_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert [cores_for(Work(processes=n)) for n in (1, 2, 3, 16)] == [8, 4, 2, 1]
    assert cores_for(Work(processes=2, threads=1)) == 1


def long_elsewhere() -> Json:
    """More than a pipe takes, and only from another process."""
    time.sleep(0.05)
    return "x" * 1_000_000


def test_who_was_asked_ends_when_the_one_that_asked_is_killed() -> None:
    reading, writing = os.pipe()
    asking = os.fork()
    if asking == 0:
        os.close(reading)
        queue, filling = os.pipe()
        os.write(filling, bytes(1))
        os.close(filling)
        helper, _ = processes._fork([long_elsewhere], queue)
        os.write(writing, str(helper).encode())
        os._exit(0)  # without reading the answer
    os.close(writing)
    helper = int(os.read(reading, 32))
    os.close(reading)
    os.waitpid(asking, 0)
    end = time.monotonic() + 30
    while Path(f"/proc/{helper}").exists() and "Z" not in Path(f"/proc/{helper}/stat").read_text().split()[2]:
        assert time.monotonic() < end, "it waits for a reader that there is not"
        time.sleep(0.02)
