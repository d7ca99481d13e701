"""Signs of life: who was last seen when, and what it said. The ledger is where everybody can leave one."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon.ledger.tables import signs_of_life

# A worker that has given no sign for this long is taken for gone; it gives one three times as often.
WORKER_GONE_S = 90.0


def sign(connection: sa.Connection, name: str, kind: str, now: float, detail: dict[str, Any] | None = None) -> None:
    """Leave a sign under `name`; the one before is overwritten."""
    values = {"kind": kind, "at": now, "detail": detail or {}}
    done = connection.execute(signs_of_life.update().where(signs_of_life.c.name == name).values(**values))
    if done.rowcount == 0:
        # Two that sign at the same time for the first time: the second's insert is the one that fails, harmlessly.
        with connection.begin_nested() as savepoint:
            try:
                connection.execute(signs_of_life.insert().values(name=name, **values))
            except sa.exc.IntegrityError:
                savepoint.rollback()


def last(connection: sa.Connection, name: str) -> Any:
    """The last sign under `name` (`at`, `detail`), or None."""
    return connection.execute(sa.select(signs_of_life).where(signs_of_life.c.name == name)).one_or_none()


def signs(connection: sa.Connection, kind: str, since: float = 0.0) -> list[Any]:
    """Every sign of a kind that is not older than `since`, by name."""
    return list(
        connection.execute(
            sa.select(signs_of_life)
            .where(signs_of_life.c.kind == kind, signs_of_life.c.at >= since)
            .order_by(signs_of_life.c.name)
        ).all()
    )


def forget(connection: sa.Connection, name: str) -> None:
    """Somebody ends in order."""
    connection.execute(signs_of_life.delete().where(signs_of_life.c.name == name))


def slots(connection: sa.Connection, queue: str, now: float) -> int:
    """Worker processes that take from `queue`, by their own signs."""
    return sum(
        int(row.detail.get("processes", 0))
        for row in signs(connection, "worker", now - WORKER_GONE_S)
        if queue in row.detail.get("queues", ())
    )
