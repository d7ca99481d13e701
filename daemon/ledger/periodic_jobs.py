"""Periodic jobs: one of several sweeps does each of them when it is due."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables import chores


def take_if_due(connection: sa.Connection, name: str, now: float, every_s: float) -> bool:
    """Whether the job is due and no other sweep has taken it. A time in the future is a wrong clock's."""
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


def make_due(connection: sa.Connection, name: str) -> None:
    """Make the job due at once: there is more to do."""
    connection.execute(chores.update().where(chores.c.name == name).values(done_at=0.0))
