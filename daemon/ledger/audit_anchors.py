"""How far the audit trail had come, noted in the ledger: a trail that ends before is cut."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables import audit_anchors

# So many of a trail are kept: enough to find lines that were rotated away and kept beside it.
KEPT = 500


def note(connection: sa.Connection, trail: str, number: int, digest: str, now: float) -> None:
    """Line `number` of the trail has this SHA-256. A line that was noted before stays as it was."""
    where = (audit_anchors.c.trail == trail, audit_anchors.c.number == number)
    if connection.execute(sa.select(audit_anchors.c.number).where(*where)).first() is not None:
        return
    connection.execute(audit_anchors.insert().values(trail=trail, number=number, digest=digest, at=now))
    oldest = connection.execute(
        sa.select(audit_anchors.c.number)
        .where(audit_anchors.c.trail == trail)
        .order_by(audit_anchors.c.number.desc())
        .offset(KEPT)
        .limit(1)
    ).scalar()
    if oldest is not None:
        connection.execute(
            audit_anchors.delete().where(audit_anchors.c.trail == trail, audit_anchors.c.number <= oldest)
        )


def noted(connection: sa.Connection) -> list[tuple[str, int, str]]:
    """Every noted line: trail, number, SHA-256."""
    columns = (audit_anchors.c.trail, audit_anchors.c.number, audit_anchors.c.digest)
    return [(row.trail, row.number, row.digest) for row in connection.execute(sa.select(*columns).order_by(*columns))]


def last_noted(connection: sa.Connection, trail: str) -> int:
    """The number of the last noted line of a trail; 0: none."""
    newest = sa.select(sa.func.max(audit_anchors.c.number)).where(audit_anchors.c.trail == trail)
    return connection.execute(newest).scalar() or 0
