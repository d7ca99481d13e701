"""Signs of life: when each worker, sweep and check was last seen, with details. Every machine reaches the ledger."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.rows import JsonObject, SignOfLifeRow, row_where, rows_where
from daemon.ledger.tables import signs_of_life

# A worker that has given no sign for this long is taken for gone; it gives one three times as often.
WORKER_GONE_S = 90.0
# Kind of the sign that the indexer of a spool gives.
SPOOL_SIGN = "spool"


def sign(connection: sa.Connection, name: str, kind: str, now: float, detail: JsonObject | None = None) -> None:
    """Leave a sign under `name`; the one before is overwritten."""
    values = {"kind": kind, "at": now, "detail": dict(detail or {})}
    done = connection.execute(signs_of_life.update().where(signs_of_life.c.name == name).values(**values))
    if done.rowcount == 0:
        # Two that sign at the same time for the first time: the second's insert is the one that fails, harmlessly.
        with connection.begin_nested() as savepoint:
            try:
                connection.execute(signs_of_life.insert().values(name=name, **values))
            except sa.exc.IntegrityError:
                savepoint.rollback()


def last_sign(connection: sa.Connection, name: str) -> SignOfLifeRow | None:
    """The last sign under `name` (`at`, `detail`), or None."""
    return row_where(connection, SignOfLifeRow, signs_of_life.c.name == name)


def signs_of(connection: sa.Connection, kind: str, since: float = 0.0) -> list[SignOfLifeRow]:
    """Every sign of a kind that is not older than `since`, by name."""
    recent = (signs_of_life.c.kind == kind) & (signs_of_life.c.at >= since)
    return rows_where(connection, SignOfLifeRow, recent, order_by=[signs_of_life.c.name])


def forget(connection: sa.Connection, name: str) -> None:
    """Remove the sign of a process that ends in order."""
    connection.execute(signs_of_life.delete().where(signs_of_life.c.name == name))


def worker_processes(connection: sa.Connection, queue: str, now: float) -> int:
    """Worker processes that take from `queue`, by their own signs."""
    return sum(
        int(row.detail.get("processes", 0))
        for row in signs_of(connection, "worker", now - WORKER_GONE_S)
        if queue in row.detail.get("queues", ())
    )
