"""Work shared between processes gives the answers of one process, whatever becomes of the others."""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Work
from pipeline.parallel import forked_work
from pipeline.parallel.forked_work import cores_for, share
from pipeline.records import Json
from tests.support.waiting import TICK_S, wait_for

SELF = os.getpid()
PLAIN = st.floats(allow_nan=False) | st.integers() | st.none() | st.text()


def same(answer: Json) -> Json:
    return answer


class Meeting:
    """Where a piece of work waits until this and another process have one each: bytes in pipes that nobody reads."""

    def __init__(self) -> None:
        self._here, self._elsewhere = os.pipe(), os.pipe()

    def attend(self) -> None:
        (_, mine), (theirs, _) = (self._here, self._elsewhere) if os.getpid() == SELF else (self._elsewhere, self._here)
        os.write(mine, b"x")
        wait_for(lambda: select.select([theirs], [], [], TICK_S)[0], "the other process to take a piece")

    def close(self) -> None:
        for end in (*self._here, *self._elsewhere):
            os.close(end)


@pytest.fixture
def meeting() -> Iterator[Meeting]:
    made = Meeting()
    yield made
    made.close()


def owner(meeting: Meeting) -> Json:
    meeting.attend()
    return os.getpid()


def only_here(meeting: Meeting, answer: Json) -> Json:
    meeting.attend()
    if os.getpid() != SELF:
        os._exit(9)
    return answer


def fails_elsewhere(meeting: Meeting, answer: Json) -> Json:
    meeting.attend()
    if os.getpid() != SELF:
        raise RuntimeError
    return answer


def no_json_elsewhere(meeting: Meeting, answer: Json) -> Json:
    meeting.attend()
    return answer if os.getpid() == SELF else {1, 2}  # type: ignore[return-value]


def children() -> set[str]:
    return set(Path(f"/proc/{SELF}/task/{SELF}/children").read_text().split())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.dictionaries(st.text(), PLAIN), max_size=6), st.integers(1, 3))
def test_answers_come_in_order_and_to_the_last_bit(answers: list[Json], many: int) -> None:
    found = share([partial(same, answer) for answer in answers], many)
    assert repr(found) == repr(answers)


def test_several_processes_take_part_and_none_is_left(meeting: Meeting) -> None:
    before = children()
    found = share([partial(owner, meeting)] * 8, 3)
    assert SELF in found
    assert 2 <= len({str(pid) for pid in found}) <= 3
    assert children() == before


@pytest.mark.parametrize("work", [only_here, fails_elsewhere, no_json_elsewhere])
@pytest.mark.filterwarnings("ignore")
def test_what_another_process_does_not_answer_is_done_here(work: object, meeting: Meeting) -> None:
    assert callable(work)
    assert share([partial(work, meeting, n) for n in range(6)], 2) == list(range(6))


def test_a_process_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch, meeting: Meeting) -> None:
    monkeypatch.setattr(forked_work, "SILENCE_LIMIT_S", 0.2)

    def stuck(n: int) -> Json:
        meeting.attend()
        if os.getpid() != SELF:
            time.sleep(3600)
        return n

    before = children()
    assert share([partial(stuck, n) for n in range(4)], 2) == [0, 1, 2, 3]
    assert children() == before


def test_an_error_is_raised_as_it_would_be_by_one_process(meeting: Meeting) -> None:
    def bad() -> Json:
        meeting.attend()
        raise ZeroDivisionError("by zero")

    before = children()
    with pytest.raises(ZeroDivisionError, match="by zero"):
        share([partial(owner, meeting), bad, partial(owner, meeting)], 2)
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


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


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
        helper, _ = forked_work._fork([long_elsewhere], queue)
        os.write(writing, str(helper).encode())
        os._exit(0)  # without reading the answer
    os.close(writing)
    helper = int(os.read(reading, 32))
    os.close(reading)
    os.waitpid(asking, 0)
    wait_for(lambda: not alive(helper), "the end of a process that waits for a reader that there is not")
