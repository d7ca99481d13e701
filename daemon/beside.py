"""Making a command that runs once and ends as short as it can be."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

Found = TypeVar("Found")


def beside(work: Callable[[Path], Found], path: Path, meanwhile: Callable[[], object]) -> Found:
    """`work(path)`, done by a forked process while this one does `meanwhile()`; in turn where that would be no gain.

    Exceptions of `work` are raised here. A fork is safe while there is one thread.
    """
    if sys.platform != "linux" or threading.active_count() > 1 or len(os.sched_getaffinity(0)) < 2:
        meanwhile()
        return work(path)
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        found = pool.submit(work, path)
        meanwhile()
        return found.result()


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
