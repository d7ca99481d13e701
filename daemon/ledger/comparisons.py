"""Instances that came again with another data set: which are still to be compared, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from daemon.assembly.duplicates import CONTENT_TAG, NOT_COMPARABLE
from daemon.ledger.engine import note
from daemon.ledger.moves import move
from daemon.ledger.tables import comparisons, instances, studies


@dataclass(frozen=True, slots=True)
class Shown:
    """What one data set shows: a digest, or why there is none. `damaged`: its pixels cannot be decoded."""

    digest: str | None
    why_not: str = ""
    damaged: bool = False


def expect(connection: sa.Connection, sop_uid: str, at: float) -> None:
    """The data sets under this UID are to be compared."""
    done = connection.execute(comparisons.update().where(comparisons.c.sop_uid == sop_uid).values(since=at))
    if done.rowcount == 0:
        connection.execute(comparisons.insert().values(sop_uid=sop_uid, since=at))


def expected(connection: sa.Connection, limit: int) -> list[str]:
    """UIDs to be compared, the longest waiting first."""
    query = sa.select(comparisons.c.sop_uid).order_by(comparisons.c.since, comparisons.c.sop_uid).limit(limit)
    return list(connection.execute(query).scalars())


def waiting_since(connection: sa.Connection, exam_uid: str) -> float | None:
    """Since when an exam waits for the newest of its comparisons; None if it waits for none."""
    of_it = sa.select(instances.c.sop_uid).where(instances.c.exam_uid == exam_uid)
    query = sa.select(sa.func.max(comparisons.c.since)).where(comparisons.c.sop_uid.in_(of_it))
    at = connection.execute(query).scalar_one()
    return None if at is None else float(at)


def data_sets(connection: sa.Connection, sop_uid: str) -> Sequence[Any]:
    """Those under a UID that are here, in the order in which they came."""
    return connection.execute(
        sa.select(instances)
        .where(instances.c.sop_uid == sop_uid, instances.c.state == "stored")
        .order_by(instances.c.received_at, instances.c.id)
    ).all()


def settle(connection: sa.Connection, sop_uid: str, shown: Mapping[int, Shown], now: float) -> None:
    """Write down what each data set shows. Those that cannot be decoded are set aside, but never all of a UID: the exam
    must still say which image it is that ails it."""
    rows = [row for row in data_sets(connection, sop_uid) if row.id in shown]
    sound = [row for row in rows if not shown[row.id].damaged]
    kept = {row.id for row in (sound or rows[:1])}
    for row in rows:
        found = shown[row.id]
        facts = row.facts | {"tags": row.facts["tags"] | {CONTENT_TAG: found.digest or NOT_COMPARABLE}}
        if row.id in kept:
            connection.execute(instances.update().where(instances.c.id == row.id).values(facts=facts))
        else:
            move(connection, "instance", row.id, "unreadable", {"facts": facts, "note": found.why_not})
            study_id = connection.execute(
                sa.select(studies.c.id).where(studies.c.study_uid == row.exam_uid)
            ).scalar_one_or_none()
            note(connection, now, "set-aside", f"instance {sop_uid}, which came again: {found.why_not}", study_id)
    connection.execute(comparisons.delete().where(comparisons.c.sop_uid == sop_uid))
    exams = {row.exam_uid for row in rows}
    connection.execute(
        studies.update().where(studies.c.study_uid.in_(exams), studies.c.state != "cancelled").values(dirty=True)
    )
