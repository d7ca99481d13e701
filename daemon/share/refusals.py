"""Refusals on their way to the audit trail, in a thread: a trail that takes its time is not in the way of requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

# Address and reason of who was refused.
Report = Callable[[str, str], None]
# Those that wait to be reported; in a flood beyond that some are not counted.
MAX_WAITING = 1000


@contextmanager
def reported_in_background(report: Report) -> Iterator[Report]:
    """Reports in order, and has reported everything when the block has ended."""
    room = threading.BoundedSemaphore(MAX_WAITING)

    def report_one(address: str, reason: str) -> None:
        try:
            report(address, reason)
        finally:
            room.release()

    with ThreadPoolExecutor(1, "share-refusals") as thread:

        def report_soon(address: str, reason: str) -> None:
            if room.acquire(blocking=False):
                thread.submit(report_one, address, reason)

        yield report_soon
