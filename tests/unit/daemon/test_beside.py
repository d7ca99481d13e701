"""Work beside loading: the same answer and the same errors as one after the other."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

from daemon.beside import beside, uncollected
from pipeline.errors import ExamRejected


def owner(path: Path) -> tuple[str, int]:
    return path.name, os.getpid()


def refused(path: Path) -> None:
    raise ExamRejected(f"{path.name} holds nothing", code="no-images", uid="1.2")


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: nothing is done beside anything")
def test_work_is_done_by_another_process_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    done: list[str] = []
    name, process = beside(owner, Path("exam"), lambda: done.append("loaded"))
    assert (name, done) == ("exam", ["loaded"])
    assert process != os.getpid()


def test_beside_other_threads_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    done: list[str] = []
    assert beside(owner, Path("exam"), lambda: done.append("loaded")) == ("exam", os.getpid())
    assert done == ["loaded"]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_comes_through_with_its_code(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: threads)
    with pytest.raises(ExamRejected, match="exam holds nothing") as error:
        beside(refused, Path("exam"), lambda: None)
    assert (error.value.code, error.value.uid, error.value.message) == ("no-images", "1.2", "exam holds nothing")


def test_cycles_are_collected_again_afterwards() -> None:
    def fail() -> None:
        with uncollected():
            assert not gc.isenabled()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.isenabled()
