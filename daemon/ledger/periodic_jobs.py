"""Chores that one of several sweeps does now and then."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables import chores


def take(connection: sa.Connection, name: str, now: float, every_s: float) -> bool:
    """Whether it is time, and ours to do. A time in the future comes from a clock that was wrong."""
    row = connection.execute(sa.select(chores.c.done_at).where(chores.c.name == name)).one_or_none()
    if row is None:
        try:
            with connection.begin_nested():
                connection.execute(chores.insert().values(name=name, done_at=now))
        except sa.exc.IntegrityError:
            return False
        return True
    if now - every_s < row.done_at <= now + every_s:
        return False
    done = connection.execute(
        chores.update().where(chores.c.name == name, chores.c.done_at == row.done_at).values(done_at=now)
    )
    return done.rowcount == 1


def again(connection: sa.Connection, name: str) -> None:
    """There is more to do: let it be time at once."""
    connection.execute(chores.update().where(chores.c.name == name).values(done_at=0.0))
