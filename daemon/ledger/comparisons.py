"""Instances that came again with another data set: which are still to be compared, and how their pixels compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from config.schema.values import MAIN_SPOOL
from daemon.assembly.duplicates import CONTENT_TAG, NOT_COMPARABLE
from daemon.ledger.chunks import in_chunks
from daemon.ledger.engine import note
from daemon.ledger.moves import move
from daemon.ledger.rows import InstanceRow, rows_where
from daemon.ledger.studies import study_id_of
from daemon.ledger.tables import comparisons, instances, studies


@dataclass(frozen=True, slots=True)
class PixelDigest:
    """Digest of one data set's decoded pixels, or why there is none. `damaged`: they cannot be decoded."""

    digest: str | None
    why_not: str = ""
    damaged: bool = False


def request_comparisons(connection: sa.Connection, since: Mapping[str, float]) -> None:
    """The data sets under these UIDs are to be compared, from a time on."""
    for some in in_chunks(since):
        connection.execute(comparisons.delete().where(comparisons.c.sop_uid.in_(some)))
        connection.execute(comparisons.insert(), [{"sop_uid": uid, "since": since[uid]} for uid in some])


def uids_to_compare(connection: sa.Connection, limit: int, spool_id: str = MAIN_SPOOL) -> list[str]:
    """UIDs to be compared of which a data set lies in this spool, or none anywhere; the longest waiting first."""
    query = (
        sa.select(comparisons.c.sop_uid)
        .where(_stored().where(instances.c.spool == spool_id).exists() | ~_stored().exists())
        .order_by(comparisons.c.since, comparisons.c.sop_uid)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def _stored() -> sa.Select[tuple[int]]:
    """Data sets with the UID of a row of `comparisons`."""
    of_it = instances.c.sop_uid == comparisons.c.sop_uid
    return sa.select(instances.c.id).where(of_it, instances.c.state == "stored").correlate(comparisons)


def waiting_since(connection: sa.Connection, exam_uid: str) -> float | None:
    """Since when an exam has waited for its newest comparison; None if it waits for none."""
    of_it = sa.select(instances.c.sop_uid).where(instances.c.exam_uid == exam_uid)
    query = sa.select(sa.func.max(comparisons.c.since)).where(comparisons.c.sop_uid.in_(of_it))
    at = connection.execute(query).scalar_one()
    return None if at is None else float(at)


def data_sets(connection: sa.Connection, sop_uid: str) -> list[InstanceRow]:
    """Data sets in the spool with this UID, in the order of arrival."""
    of_it = (instances.c.sop_uid == sop_uid) & (instances.c.state == "stored")
    return rows_where(connection, InstanceRow, of_it, order_by=[instances.c.received_at, instances.c.id])


def record_digests(connection: sa.Connection, sop_uid: str, shown: Mapping[int, PixelDigest], now: float) -> None:
    """Write down what each data set shows. Those that cannot be decoded are set aside, but never all of a UID: the exam
    must still say which image it is that ails it."""
    rows = [row for row in data_sets(connection, sop_uid) if row.id in shown]
    undamaged = [row for row in rows if not shown[row.id].damaged]
    readable_ids = {row.id for row in (undamaged or rows[:1])}
    for row in rows:
        pixels = shown[row.id]
        facts = {**row.facts, "tags": row.facts["tags"] | {CONTENT_TAG: pixels.digest or NOT_COMPARABLE}}
        if row.id in readable_ids:
            connection.execute(instances.update().where(instances.c.id == row.id).values(facts=facts))
        else:
            move(connection, "instance", row.id, "unreadable", {"facts": facts, "note": pixels.why_not})
            study_id = study_id_of(connection, row.exam_uid)
            note(connection, now, "set-aside", f"instance {sop_uid}, which came again: {pixels.why_not}", study_id)
    connection.execute(comparisons.delete().where(comparisons.c.sop_uid == sop_uid))
    exams = {row.exam_uid for row in rows}
    connection.execute(
        studies.update().where(studies.c.study_uid.in_(exams), studies.c.state != "cancelled").values(dirty=True)
    )
