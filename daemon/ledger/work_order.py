"""Who comes first: revisions in the order in which they should be worked on, and how many are under way.

A step of priority is worth a head start: an urgent exam goes before routine ones that have waited up to that much
longer, and after those that have waited more, so that nothing starves. Backfills take what is left over: nobody waits
for them, and a new exam must not wait for ten thousand old ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from daemon.ledger.claims import OPEN, to_announce
from daemon.ledger.tables import revisions, studies

# `studies.priority`, and C-STORE's own words for it (PS3.7 E.1-1: LOW 2, MEDIUM 0, HIGH 1).
URGENT, ROUTINE, LOW = 1, 0, -1
PRIORITIES = {"urgent": URGENT, "routine": ROUTINE, "low": LOW}
OF_C_STORE = {0: ROUTINE, 1: URGENT, 2: LOW}
BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class NextRevision:
    """A revision that a worker should be told of."""

    id: str
    stage: str


def priority_in_words(priority: int) -> str:
    return "urgent" if priority > 0 else "low" if priority < 0 else "routine"


def under_way(connection: sa.Connection, now: float) -> tuple[int, int]:
    """Counts of revisions that a worker holds, and of those whose message is trusted to be on its way."""
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
) -> list[NextRevision]:
    """Revisions to announce to workers, in the order in which they should be worked on."""
    condition = to_announce("revision", now)
    if not backfills:
        condition &= studies.c.role != BACKFILL
    rows = connection.execute(_in_line(condition, head_start_s).limit(limit)).all()
    return [NextRevision(row.id, row.stage) for row in rows]


def _in_line(condition: sa.ColumnElement[bool], head_start_s: float) -> sa.Select[tuple[str, str]]:
    """Revisions, id and stage, in the order in which they should be worked on."""
    return (
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
    )


def place_in_line(connection: sa.Connection, revision_id: str, now: float, head_start_s: float) -> int | None:
    """How many revisions that wait are worked on before this one; None if it does not wait."""
    waiting = sa.or_(revisions.c.lease_until.is_(None), revisions.c.lease_until < now)
    rows = connection.execute(_in_line(OPEN["revision"] & waiting, head_start_s))
    return next((place for place, row in enumerate(rows) if row.id == revision_id), None)
