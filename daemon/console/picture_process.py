"""A process that reads files for the console and may die of them; a page then says so, and the next gets a new one."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from typing_extensions import TypeVarTuple, Unpack

from pipeline.errors import ExamRejected, TryLater

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")
LIMIT_S = 60.0


class PicturesBusy(TryLater):
    """Others wait for pictures; the browser asks again."""

    code = "pictures-busy"


class PictureProcess:
    """One child, started when it is needed. It works for one request at a time; `most_waiting` may wait."""

    def __init__(self, most_waiting: int = 32) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._starting = threading.RLock()
        self._room = threading.BoundedSemaphore(most_waiting)

    def ask(self, work: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Result:
        """What `work(*arguments)` returns in the child, or raises there.

        Raises ExamRejected where the child did not survive it, PicturesBusy where too many wait, or where the child did
        not survive what came before.
        """
        if not self._room.acquire(blocking=False):
            raise PicturesBusy("many pictures are being made; try again in a moment")
        try:
            # Together: one that gives up the process in between would leave a pool that takes nothing more.
            with self._starting:
                pool = self._running()
                asked = pool.submit(work, *arguments)
            return asked.result(LIMIT_S)
        except CancelledError as error:
            # The child was ended over the file of somebody else.
            raise PicturesBusy("pictures are being made anew; try again in a moment") from error
        except BrokenProcessPool as error:
            self._give_up(pool)
            raise ExamRejected("the process that read this file died of it", code="process-died") from error
        except TimeoutError as error:
            self._give_up(pool)
            raise ExamRejected(f"this file was not read within {LIMIT_S:g} s", code="process-died") from error
        finally:
            self._room.release()

    def close(self) -> None:
        with self._starting:
            pool, self._pool = self._pool, None
        if pool is not None:
            _end(pool)

    def _running(self) -> ProcessPoolExecutor:
        with self._starting:
            if self._pool is None:
                # Not forked: the console has threads.
                self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
            return self._pool

    def _give_up(self, pool: ProcessPoolExecutor) -> None:
        with self._starting:
            if self._pool is pool:
                self._pool = None
        _end(pool)


def _end(pool: ProcessPoolExecutor) -> None:
    children = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for child in children:
        child.kill()
