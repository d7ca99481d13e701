"""Making a command that runs once and ends as short as it can be."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

from typing_extensions import TypeVarTuple, Unpack

from pipeline import parent

Found = TypeVar("Found")
Given = TypeVarTuple("Given")


class Ask(Protocol):
    """Ask for `work(*given)`; the function that comes back waits for what it returns, or raises what it raised."""

    def __call__(self, work: Callable[[Unpack[Given]], Found], *given: *Given) -> Callable[[], Found]: ...


@contextmanager
def another_process() -> Iterator[Ask]:
    """A forked process that does what it is asked for, one thing after the other; where that is no gain, this one does.

    What it has loaded for one thing it has for the next. A fork is safe while there is one thread.
    """
    if sys.platform != "linux" or threading.active_count() > 1 or len(os.sched_getaffinity(0)) < 2:
        yield _here
        return
    parent.prepare()
    fork = multiprocessing.get_context("fork")
    # Started by this thread, with the first thing that is asked for.
    with ProcessPoolExecutor(1, fork, initializer=parent.end_with, initargs=(os.getpid(),)) as pool:

        def ask(work: Callable[[Unpack[Given]], Found], *given: *Given) -> Callable[[], Found]:
            return pool.submit(work, *given).result

        yield ask


def _here(work: Callable[[Unpack[Given]], Found], *given: *Given) -> Callable[[], Found]:
    found = work(*given)
    return lambda: found


def load(module: str) -> None:
    """Import a module."""
    importlib.import_module(module)


def without_blas_threads() -> None:
    """BLAS starts its threads when it is loaded, and again after a fork, and they wait busily; an exam uses one.

    Without effect once numpy is loaded, and where the environment says how many there should be.
    """
    if "numpy" not in sys.modules:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for unreachable cycles, a tenth of a short run: a process that ends gives back everything."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
