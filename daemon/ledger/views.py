"""The ledger as people read it: counts, lists, one study's timeline. Plain dictionaries, ready for JSON."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from daemon.ledger import set_aside, tallies
from daemon.ledger.packed_exams import packed_rows, received_of
from daemon.ledger.rows import DeliveryRow, InstanceRow, JsonObject, RevisionRow, StudyRow, rows_where
from daemon.ledger.states import IN_SPOOL, SETTLED, CountsAs
from daemon.ledger.studies import newest_revision
from daemon.ledger.tables import deliveries, events, fetches, instances, proposals, revisions, studies
from daemon.ledger.work_order import priority_in_words

# A result of axrad that an archive sent back is no part of what was received for the exam.
NO_RESULT = instances.c.counts_as != CountsAs.RESULT


def counts(connection: sa.Connection, now: float) -> JsonObject:
    """Studies per state with the age of the oldest, deliveries per state, instances per state, and what is packed: how
    many exams in how many bytes of the ledger, and their instances, which are in no state."""
    studies_in = {t.state: t.number for t in tallies.tallied(connection, "study")}
    oldest = _oldest_change(connection, studies_in)
    by_destination: dict[str, dict[str, int]] = {}
    for tally in tallies.tallied(connection, "delivery"):
        by_destination.setdefault(tally.subject, {})[tally.state] = tally.number
    return {
        "studies": {state: {"count": n, "oldest_s": round(now - oldest[state], 1)} for state, n in studies_in.items()},
        "deliveries": by_destination,
        "packed": {t.state: {"count": t.number, "bytes": t.bytes} for t in tallies.tallied(connection, "packed")},
        "instances": {t.state: {"count": t.number, "bytes": t.bytes} for t in tallies.tallied(connection, "instance")},
    }


def _oldest_change(connection: sa.Connection, states: Iterable[str]) -> dict[str, float]:
    """When the study that has been longest in each state came into it: one look into an index per state."""
    looks = [
        sa.select(sa.literal(state), sa.func.min(studies.c.changed_at)).where(studies.c.state == state)
        for state in states
    ]
    return {state: float(at) for state, at in connection.execute(sa.union_all(*looks))} if looks else {}


def list_studies(connection: sa.Connection, state: str | None = None, limit: int = 1000) -> list[JsonObject]:
    """Studies, the most recently changed first, each with its newest revision and its deliveries."""
    where = [] if state is None else [studies.c.state == state]
    order = [studies.c.changed_at.desc(), studies.c.id]
    rows = rows_where(connection, StudyRow, *where, order_by=order, limit=limit)
    return [describe(connection, row) for row in rows]


def describe(connection: sa.Connection, row: StudyRow) -> JsonObject:
    """One study in a line."""
    of_it = sa.select(sa.func.count()).select_from(instances).where(instances.c.exam_uid == row.study_uid, NO_RESULT)
    received = received_of(connection, row.study_uid) if row.packed else connection.execute(of_it).scalar_one()
    revision = newest_revision(connection, row.id)
    sent = []
    if revision is not None:
        sent = [
            {
                "destination": d.destination,
                "state": d.state,
                "attempts": d.attempts,
                "proof": d.proof,
                "reason": d.reason,
            }
            for d in rows_where(
                connection,
                DeliveryRow,
                deliveries.c.revision_id == revision.id,
                order_by=[deliveries.c.destination],
            )
        ]
    return {
        "id": row.id,
        "study_uid": row.study_uid,
        "role": row.role,
        "state": row.state,
        "reason": row.reason,
        "reason_code": row.reason_code,
        "flagged": row.flagged,
        "priority": priority_in_words(row.priority),
        "instances": received,
        "first_arrival_at": row.first_arrival_at,
        "last_arrival_at": row.last_arrival_at,
        "changed_at": row.changed_at,
        "settled": row.state in SETTLED,
        "lacked": row.lacked.split(",") if row.lacked else [],
        "chosen_series": row.chosen_series or {},
        "revision": revision.number if revision is not None else 0,
        "attempts": revision.attempts if revision is not None else 0,
        "deliveries": sent,
    }


def caption(connection: sa.Connection, kind: str, row_id: str) -> str:
    """A revision, delivery, fetch or proposal in opaque words: study, revision, destination, attempt."""
    if kind == "fetch":
        query = sa.select(fetches.c.study_id, fetches.c.kind.label("what"), fetches.c.attempts)
        query = query.where(fetches.c.id == row_id)
    elif kind == "proposal":
        query = sa.select(proposals.c.study_id, sa.literal("proposal").label("what"), proposals.c.attempts)
        query = query.where(proposals.c.id == row_id)
    else:
        of_revision = sa.literal("revision ") + sa.cast(revisions.c.number, sa.String)
        if kind == "delivery":
            subject = of_revision + ", to " + deliveries.c.destination
            query = sa.select(revisions.c.study_id, subject.label("what"), deliveries.c.attempts)
            query = query.join(revisions, revisions.c.id == deliveries.c.revision_id).where(deliveries.c.id == row_id)
        else:
            query = sa.select(revisions.c.study_id, of_revision.label("what"), revisions.c.attempts)
            query = query.where(revisions.c.id == row_id)
    row = connection.execute(query).one_or_none()
    return row_id if row is None else f"study {row.study_id}, {row.what}, attempt {row.attempts + 1}"


def arrivals(connection: sa.Connection, study_uid: str) -> list[JsonObject]:
    """What came of a study by which association, the first to come first."""
    rows = (
        _packed_arrivals(connection, study_uid)
        or connection.execute(
            sa.select(
                instances.c.association,
                instances.c.calling_ae,
                sa.func.count(),
                sa.func.sum(instances.c.size),
                sa.func.min(instances.c.received_at),
                sa.func.max(instances.c.received_at),
            )
            .where(instances.c.exam_uid == study_uid, NO_RESULT)
            .group_by(instances.c.association, instances.c.calling_ae)
            .order_by(sa.func.min(instances.c.received_at), instances.c.association)
        ).all()
    )
    return [
        {
            "association": association,
            "calling_ae": calling_ae,
            "instances": number,
            "bytes": int(size),
            "first_at": first,
            "last_at": last,
        }
        for association, calling_ae, number, size, first, last in rows
    ]


def spools_of(connection: sa.Connection, study_uid: str) -> JsonObject:
    """How many instances of a study, of those that are here, lie in each spool."""
    here = (instances.c.exam_uid == study_uid) & instances.c.state.in_(IN_SPOOL)
    query = sa.select(instances.c.spool, sa.func.count()).where(here).group_by(instances.c.spool)
    return {row.spool: row[1] for row in connection.execute(query.order_by(instances.c.spool))}


def _packed_arrivals(connection: sa.Connection, study_uid: str) -> list[tuple[str, str, int, int, float, float]]:
    """The same of an exam that is packed; nothing of one that is not."""
    by_association: dict[tuple[str, str], list[InstanceRow]] = {}
    for row in packed_rows(connection, study_uid):
        if row.counts_as != CountsAs.RESULT:
            by_association.setdefault((row.association, row.calling_ae), []).append(row)
    counted = [
        (*sender, len(rows), sum(r.size for r in rows), min(times), max(times))
        for sender, rows in by_association.items()
        for times in [[r.received_at for r in rows]]
    ]
    return sorted(counted, key=lambda row: (row[4], row[0]))


def timeline(connection: sa.Connection, row: StudyRow) -> JsonObject:
    """One study from first instance to proof of delivery."""
    happened = connection.execute(
        sa.select(events).where(events.c.study_id == row.id).order_by(events.c.at, events.c.id)
    ).all()
    revisions_made = rows_where(connection, RevisionRow, revisions.c.study_id == row.id, order_by=[revisions.c.number])
    return describe(connection, row) | {
        "arrivals": arrivals(connection, row.study_uid),
        "spools": spools_of(connection, row.study_uid),
        "set_aside": set_aside.listed(connection, row.id),
        "events": [{"at": e.at, "kind": e.kind, "detail": e.detail, "revision_id": e.revision_id} for e in happened],
        "revisions": [
            {
                "id": r.id,
                "number": r.number,
                "state": r.state,
                "stage": r.stage,
                "reason": r.reason,
                "attempts": r.attempts,
                "created_at": r.created_at,
                "finished_at": r.finished_at,
                "inputs": len(r.inputs["selected"]),
                "spool": r.spool,
            }
            for r in revisions_made
        ],
    }
