"""Work beside loading: the same answer and the same errors as one after the other."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from daemon.cli.helper_process import another_process, load, without_garbage_collection
from pipeline.errors import ExamRejected

ROOT = Path(__file__).resolve().parents[3]


def owner(path: Path) -> tuple[str, int]:
    return path.name, os.getpid()


def is_loaded(module: str) -> bool:
    return module in sys.modules


def refused(path: Path) -> None:
    raise ExamRejected(f"{path.name} holds nothing", code="no-images", uid="1.2")


several_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: nothing is done beside anything")


@several_cores
def test_work_is_done_by_one_other_process_that_keeps_what_it_has_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    with another_process() as ask:
        first = ask(owner, Path("exam"))
        ask(load, "colorsys")
        loaded = ask(is_loaded, "colorsys")
        again = ask(owner, Path("other"))
    (name, process), other = first(), again()
    assert name == "exam"
    assert process != os.getpid()
    assert other == ("other", process)
    assert loaded()


def test_beside_other_threads_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    with another_process() as ask:
        assert ask(owner, Path("exam"))() == ("exam", os.getpid())


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_comes_through_with_its_code(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: threads)
    with pytest.raises(ExamRejected, match="exam holds nothing") as error, another_process() as ask:
        ask(refused, Path("exam"))()
    assert (error.value.code, error.value.uid, error.value.message) == ("no-images", "1.2", "exam holds nothing")


def test_blas_has_one_thread_unless_it_is_loaded_or_told_otherwise() -> None:
    script = (
        "import os, sys\n{}\nfrom daemon.cli.helper_process import without_blas_threads\nwithout_blas_threads()\n"
        "print(os.environ.get('OPENBLAS_NUM_THREADS'))"
    )
    usual = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for before, environ, wanted in (
        ("", usual, "1"),
        ("", {**usual, "OPENBLAS_NUM_THREADS": "3"}, "3"),
        ("import numpy", usual, "None"),
    ):
        command = [sys.executable, "-c", script.format(before)]
        assert subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True).stdout.strip() == wanted


def test_the_command_loads_numpy_only_after_blas_was_told() -> None:
    script = "import sys, daemon.main, daemon.cli.run\nprint('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_cycles_are_collected_again_afterwards() -> None:
    def fail() -> None:
        with without_garbage_collection():
            assert not gc.isenabled()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.isenabled()
