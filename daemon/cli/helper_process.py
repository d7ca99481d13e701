"""Making a command that runs once and ends as short as it can be."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Protocol, TypeVar

from typing_extensions import TypeVarTuple, Unpack

from pipeline.dicom_file import reading_marker
from pipeline.errors import ExamRejected, FileSetAside
from pipeline.parallel import parent_watch

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Ask(Protocol):
    """Ask for `work(*arguments)`; the function that comes back waits for what it returns, or raises what it raised."""

    def __call__(self, work: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Callable[[], Result]: ...


@contextmanager
def another_process(*, risky: bool = False) -> Iterator[Ask]:
    """A forked process that does what it is asked for, one thing after the other; where that is no gain, this one does.

    What it has loaded for one thing it has for the next. A fork is safe while there is one thread. `risky`: it may die
    of what it reads; then the file is named, so there is a process of its own even where that is no gain.
    """
    no_gain = len(os.sched_getaffinity(0)) < 2 and not risky if sys.platform == "linux" else True
    if no_gain or threading.active_count() > 1:
        yield _in_this_process
        return
    parent_watch.prepare()
    fork = multiprocessing.get_context("fork")
    notes = os.memfd_create("axrad-reading")
    # Started by this thread, with the first thing that is asked for.
    with (
        os.fdopen(notes, "rb", buffering=0),
        ProcessPoolExecutor(1, fork, initializer=_begin, initargs=(os.getpid(), notes)) as pool,
    ):

        def ask(work: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Callable[[], Result]:
            return partial(_answer, pool.submit(work, *arguments), notes)

        yield ask


def _begin(asking: int, notes: int) -> None:
    parent_watch.end_with(asking)
    reading_marker.note_for_parent(notes)


def _answer(future: Future[Result], notes: int) -> Result:
    """What was asked for. Raises FileSetAside where the process died over a file."""
    try:
        return future.result()
    except BrokenProcessPool:
        path, last_words = reading_marker.last_read(notes)
        first_line = last_words.decode("ascii", "replace").partition("\n")[0]
        how = first_line.removeprefix("Fatal Python error: ") or "killed"
    if path is None:
        raise ExamRejected(f"the process beside this one ended ({how})", code="process-died")
    raise FileSetAside(
        f"{path} cannot be read: the process that read it died of it ({how}); take it away and try again"
    )


def _in_this_process(work: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Callable[[], Result]:
    result = work(*arguments)
    return lambda: result


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
def without_garbage_collection() -> Iterator[None]:
    """Without garbage collection, which takes a tenth of a short run: the end of the process frees everything."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
