"""What one exam may cost: a watch over time and memory that ends the process, and says why before it does.

Neither can be enforced from inside the work: it is C code for minutes on end. So a thread watches, gives the exam back
to the ledger with the reason, and ends the process; the pool starts another. Without that, a process that the kernel
or Celery kills would leave a lease to expire and no reason.
"""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from daemon.work.background_thread import running_beside
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.work")
MEASURE_EVERY_S = 0.5
# What the parent sees: EX_TEMPFAIL, the work may succeed elsewhere or later.
EXIT_CODE = 75
# How much longer than `time_limit_s` Celery waits before it kills the process: its last resort.
ENDING_GRACE_S = 30.0
GIB = 1024**3


class TookTooLong(TryLater):
    """The exam took longer than work.time_limit_s."""

    code = "took-too-long"


class OutgrewMemory(TryLater):
    """The exam took more memory than work.max_memory_bytes."""

    code = "outgrew-memory"


def resident_bytes() -> int:
    """Memory of this process that is in RAM now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def excess(seconds: float, used_bytes: int, time_limit_s: float, max_memory_bytes: int | None) -> TryLater | None:
    """The limit that is exceeded, as the reason for people; None if none is."""
    if seconds > time_limit_s:
        return TookTooLong(f"it took longer than {time_limit_s:.0f} s (work.time_limit_s) and was stopped")
    if max_memory_bytes is not None and used_bytes > max_memory_bytes:
        return OutgrewMemory(
            f"it took {used_bytes / GIB:.1f} GiB of memory, more than the {max_memory_bytes / GIB:.1f} GiB of "
            "work.max_memory_bytes, and was stopped"
        )
    return None


@contextmanager
def watching_limits(
    time_limit_s: float,
    max_memory_bytes: int | None,
    give_back: Callable[[TryLater], object],
    end: Callable[[int], object] = os._exit,
) -> Iterator[None]:
    """Watch over the body. On excess: `give_back` with the reason, then `end`."""
    began = time.monotonic()

    def watch(stop: threading.Event) -> None:
        while not stop.wait(MEASURE_EVERY_S):
            reason = excess(time.monotonic() - began, resident_bytes(), time_limit_s, max_memory_bytes)
            if reason is None:
                continue
            try:
                give_back(reason)
            except TryLater as error:
                log.warning("not-given-back", code=error.code)  # the lease will expire
            end(EXIT_CODE)
            return

    with running_beside("limits", watch):
        yield
