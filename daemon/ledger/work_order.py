"""Who comes first: revisions in the order in which they should be worked on, and how many are under way.

A step of priority is worth a head start: an urgent exam goes before routine ones that have waited up to that much
longer, and after those that have waited more, so that nothing starves. Backfills take what is left over: nobody waits
for them, and a new exam must not wait for ten thousand old ones.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon.ledger.claims import OPEN
from daemon.ledger.tables import revisions, studies

# `studies.priority`, and C-STORE's own words for it (PS3.7 E.1-1: LOW 2, MEDIUM 0, HIGH 1).
URGENT, ROUTINE, LOW = 1, 0, -1
PRIORITIES = {"urgent": URGENT, "routine": ROUTINE, "low": LOW}
OF_C_STORE = {0: ROUTINE, 1: URGENT, 2: LOW}
BACKFILL = "backfill"


def words(priority: int) -> str:
    return "urgent" if priority > 0 else "low" if priority < 0 else "routine"


def under_way(connection: sa.Connection, now: float) -> tuple[int, int]:
    """Revisions that a worker holds, and those of which a message is still trusted to be on its way."""
    held = revisions.c.lease_until >= now
    row = connection.execute(
        sa.select(
            sa.func.count(sa.case((held, 1))),
            sa.func.count(sa.case((sa.not_(sa.func.coalesce(held, False)) & (revisions.c.enqueued_until >= now), 1))),
        ).where(OPEN["revision"])
    ).one()
    return int(row[0]), int(row[1])


def next_revisions(
    connection: sa.Connection, now: float, limit: int, head_start_s: float, *, backfills: bool
) -> list[Any]:
    """Revisions (`id`, `stage`) that are due and that nobody holds or was told of, the first to be worked on first."""
    condition = (
        OPEN["revision"]
        & (revisions.c.next_attempt_at <= now)
        & (revisions.c.lease_until.is_(None) | (revisions.c.lease_until < now))
        & (revisions.c.enqueued_until.is_(None) | (revisions.c.enqueued_until < now))
    )
    if not backfills:
        condition &= studies.c.role != BACKFILL
    return list(
        connection.execute(
            sa.select(revisions.c.id, revisions.c.stage)
            .join(studies, studies.c.id == revisions.c.study_id)
            .where(condition)
            .order_by(
                # What is analysed needs seconds to be reported: finishing comes before starting.
                sa.case((revisions.c.stage == "report", 0), else_=1),
                sa.case((studies.c.role == BACKFILL, 1), else_=0),
                revisions.c.created_at - studies.c.priority * head_start_s,
                revisions.c.id,
            )
            .limit(limit)
        ).all()
    )


def place_in_line(connection: sa.Connection, revision_id: str, now: float, head_start_s: float) -> int | None:
    """How many revisions that wait are worked on before this one; None if it does not wait."""
    waiting = sa.or_(revisions.c.lease_until.is_(None), revisions.c.lease_until < now)
    rows = connection.execute(
        sa.select(revisions.c.id)
        .join(studies, studies.c.id == revisions.c.study_id)
        .where(OPEN["revision"] & waiting)
        .order_by(
            sa.case((revisions.c.stage == "report", 0), else_=1),
            sa.case((studies.c.role == BACKFILL, 1), else_=0),
            revisions.c.created_at - studies.c.priority * head_start_s,
            revisions.c.id,
        )
    ).scalars()
    return next((place for place, name in enumerate(rows) if name == revision_id), None)
