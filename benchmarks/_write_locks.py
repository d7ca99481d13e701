"""How long transactions keep others from writing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from daemon.ledger import Ledger


@contextmanager
def write_locks(ledger: Ledger, clock: Callable[[], float]) -> Iterator[list[float]]:
    """Seconds of each transaction that may write, from before its beginning (SQLite's BEGIN IMMEDIATE) to its end."""
    held: list[float] = []
    write = ledger.write

    @contextmanager
    def timed() -> Iterator[sa.Connection]:
        began = clock()
        with write() as connection:
            yield connection
        held.append(clock() - began)

    setattr(ledger, "write", timed)  # noqa: B010 - a method of this one ledger
    try:
        yield held
    finally:
        delattr(ledger, "write")
