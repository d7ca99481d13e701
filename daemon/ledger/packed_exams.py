"""Exams whose files are long gone: their rows packed, read where they lie, and unpacked for whoever changes them.

An exam is in one of two forms, and moves between them in one transaction: rows in `instances`, or one blob with the
same rows and the same ids. Whatever comes for a packed exam, or is done with it, unpacks it first (`unpacked`); what
is only shown is read from the blob (`packed_rows`).

On PostgreSQL who packs and who records arrivals exclude each other by a lock of their own, since rows that are being
packed can be asked for before they are gone. Everybody else meets at the row of the study.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any  # Any: rows of any columns

import sqlalchemy as sa

from daemon.ledger.chunks import in_chunks
from daemon.ledger.packing import Row, pack, unpack
from daemon.ledger.rows import InstanceRow, StudyRow, row_where, rows_where
from daemon.ledger.states import FETCH_OPEN, PROPOSAL_OPEN, SETTLED, WITHOUT_FILE, CountsAs
from daemon.ledger.tables import (
    comparisons,
    copies,
    fetches,
    instances,
    packed_exams,
    packed_series,
    proposals,
    roi_references,
    studies,
)
from pipeline.catalog import InstanceFacts

ADVISORY_LOCK = 4217005
# A series in so many exams is a fault of what writes it, as of a program whose regions all bear one UID: by it alone no
# exam is unpacked, or each arrival would unpack them all.
EXAMS_OF_A_SERIES = 4
# As they stand in the index of those that are not packed, word for word.
_UNPACKED = {"sqlite": sa.text("packed = 0"), "postgresql": sa.text("NOT packed")}


def packed_rows(connection: sa.Connection, exam_uid: str) -> list[InstanceRow]:
    """The instances of an exam that is packed; none of one that is not."""
    content = connection.execute(
        sa.select(packed_exams.c.content).where(packed_exams.c.exam_uid == exam_uid)
    ).scalar_one_or_none()
    return [] if content is None else [InstanceRow(**row) for row in unpack(content)[0]]


def received_of(connection: sa.Connection, exam_uid: str) -> int:
    """How many instances a packed exam has, without results that came back."""
    number = sa.select(packed_exams.c.received).where(packed_exams.c.exam_uid == exam_uid)
    return int(connection.execute(number).scalar_one_or_none() or 0)


def unpack_for(connection: sa.Connection, arrivals: Iterable[InstanceFacts]) -> None:
    """Unpack the exams that some arrivals may concern: of their study or series, or of those that they refer to."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(ADVISORY_LOCK)))
    study_uids, series_uids = set(), set()
    for facts in arrivals:
        for ref in (facts.ref, *facts.references):
            study_uids.add(ref.study_uid)
            series_uids.add(ref.series_uid)
    for some in in_chunks(sorted((study_uids | series_uids) - {""})):
        named = sa.union(
            sa.select(packed_exams.c.exam_uid.label("uid"), packed_exams.c.exam_uid).where(
                packed_exams.c.exam_uid.in_(some)
            ),
            sa.select(packed_series).where(packed_series.c.series_uid.in_(some)),
        )
        rows = connection.execute(named).all()
        exams_of = Counter(uid for uid, _ in rows)
        for exam_uid in sorted({exam_uid for uid, exam_uid in rows if exams_of[uid] < EXAMS_OF_A_SERIES}):
            unpacked(connection, exam_uid)


def unpacked(connection: sa.Connection, exam_uid: str) -> int:
    """Put the rows of an exam back, if it is packed; how many. Of two at once one does it, and the other waits."""
    packed = _taken(connection, exam_uid)
    if packed is None:
        return 0
    rows, references = unpack(packed.content)
    _remove(connection, exam_uid)
    further = _take_over(connection, rows)
    for some in in_chunks(rows):
        connection.execute(instances.insert(), some)
    for some_copies in in_chunks(further):
        connection.execute(copies.insert(), [{"instance_id": row, "spool": spool} for row, spool in some_copies])
    for some_references in in_chunks(references):
        connection.execute(roi_references.insert(), [{"roi_id": roi, "sop_uid": uid} for roi, uid in some_references])
    connection.execute(studies.update().where(studies.c.study_uid == exam_uid).values(packed=False))
    return len(rows)


def rewrite(connection: sa.Connection, exam_uid: str, change: Callable[[Row], Row | None]) -> int:
    """Change rows where they are packed; how many. `change`: the row as it shall be, None: as it is."""
    packed = _taken(connection, exam_uid)
    if packed is None:
        return 0
    rows, references = unpack(packed.content)
    changed = {row["id"]: new for row in rows if (new := change(row)) is not None}
    if changed:
        content = pack([changed.get(row["id"], row) for row in rows], references)
        connection.execute(packed_exams.delete().where(packed_exams.c.exam_uid == exam_uid))
        connection.execute(packed_exams.insert().values({**packed._mapping, "content": content}))
    return len(changed)


def to_pack(connection: sa.Connection, before: float, after: tuple[float, str], limit: int) -> list[StudyRow]:
    """Exams that may be packed, the longest quiet first: done, and nothing came for them since a time.

    `after`: last arrival and id of the one that was looked at last.
    """
    place = sa.tuple_(studies.c.last_arrival_at, studies.c.id) > sa.tuple_(sa.literal(after[0]), sa.literal(after[1]))
    order = [studies.c.last_arrival_at, studies.c.id]
    unpacked_ones = sa.and_(_UNPACKED[connection.dialect.name], studies.c.last_arrival_at.between(after[0], before))
    return rows_where(connection, StudyRow, unpacked_ones, place, _quiet(), order_by=order, limit=limit)


def content_for(connection: sa.Connection, study: StudyRow, most: int) -> tuple[bytes, list[InstanceRow]] | None:
    """What `put` writes for an exam: computed before, so that nobody waits for it. None where it cannot be packed.

    Not where it has more than `most` instances. Not while anything of it has a file in any spool or is under way, nor
    where regions wait for their images: those are looked for by these when they come.
    """
    mine = instances.c.exam_uid == study.study_uid
    # Most that cannot be packed have files: that is asked of an index, before all rows are read.
    here = sa.select(instances.c.id).where(mine, instances.c.state.not_in(WITHOUT_FILE)).limit(1)
    if connection.execute(here).first() is not None:
        return None
    rows = rows_where(connection, InstanceRow, mine, order_by=[instances.c.id], limit=most + 1)
    if not 0 < len(rows) <= most or any(row.state not in WITHOUT_FILE or row.key_id != study.key_id for row in rows):
        return None
    if _has_copies(connection, [row.id for row in rows]):
        return None
    uids = {row.sop_uid for row in rows}
    references = [
        (int(reference.roi_id), str(reference.sop_uid))
        for some in in_chunks([row.id for row in rows])
        for reference in connection.execute(sa.select(roi_references).where(roi_references.c.roi_id.in_(some)))
    ]
    with_images = {roi for roi, uid in references if uid in uids}
    if with_images != {roi for roi, _ in references} or _is_under_way(connection, study, uids):
        return None
    return pack([asdict(row) for row in rows], references), rows


def _has_copies(connection: sa.Connection, instance_ids: list[int]) -> bool:
    """Whether any of these lies in a further spool, whose retention has not removed it yet."""
    return any(
        connection.execute(sa.select(copies.c.spool).where(copies.c.instance_id.in_(some)).limit(1)).first() is not None
        for some in in_chunks(instance_ids)
    )


def put(connection: sa.Connection, study: StudyRow, content: bytes, rows: list[InstanceRow], now: float) -> bool:
    """Put an exam's blob in the place of its rows; False, with nothing written, where something has changed since."""
    if connection.dialect.name == "postgresql" and not _may_pack(connection):
        return False
    now_there = row_where(connection, StudyRow, studies.c.id == study.id, _quiet(), lock=True)
    if now_there is None or now_there != study:
        return False
    here = instances.c.exam_uid == study.study_uid
    there = connection.execute(sa.select(instances.c.id, instances.c.state, instances.c.key_id).where(here)).all()
    if sorted(tuple(row) for row in there) != [(row.id, row.state, row.key_id) for row in rows]:
        return False
    received = sum(row.counts_as != CountsAs.RESULT for row in rows)
    of_it = sa.select(instances.c.id).where(here)
    connection.execute(roi_references.delete().where(roi_references.c.roi_id.in_(of_it)))
    connection.execute(instances.delete().where(here))
    connection.execute(
        packed_exams.insert().values(
            exam_uid=study.study_uid, at=now, instances=len(rows), received=received, content=content
        )
    )
    _lead_to(connection, study.study_uid, sorted({row.series_uid for row in rows} - {""}))
    connection.execute(studies.update().where(studies.c.id == study.id).values(packed=True))
    return True


def _lead_to(connection: sa.Connection, exam_uid: str, series_uids: list[str]) -> None:
    """Write down the series of an exam, but for those that lead to so many others that they lead nowhere."""
    for some in in_chunks(series_uids):
        mine = packed_series.c.series_uid.in_(some)
        crowded = sa.select(packed_series.c.series_uid).where(mine).group_by(packed_series.c.series_uid)
        full = set(connection.execute(crowded.having(sa.func.count() >= EXAMS_OF_A_SERIES)).scalars())
        rows = [{"series_uid": uid, "exam_uid": exam_uid} for uid in some if uid not in full]
        if rows:
            connection.execute(packed_series.insert(), rows)


def _quiet() -> sa.ColumnElement[bool]:
    return studies.c.state.in_(SETTLED) & sa.not_(studies.c.dirty) & studies.c.due_at.is_(None)


def _may_pack(connection: sa.Connection) -> bool:
    return bool(connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(ADVISORY_LOCK))).scalar_one())


def _is_under_way(connection: sa.Connection, study: StudyRow, uids: set[str]) -> bool:
    """Whether something is fetched, proposed or compared for an exam."""
    mine = (
        sa.select(fetches.c.id).where(fetches.c.study_id == study.id, fetches.c.state.in_(FETCH_OPEN)),
        sa.select(proposals.c.id).where(proposals.c.study_id == study.id, proposals.c.state.in_(PROPOSAL_OPEN)),
        *(sa.select(comparisons.c.sop_uid).where(comparisons.c.sop_uid.in_(some)) for some in in_chunks(sorted(uids))),
    )
    return any(connection.execute(query.limit(1)).first() is not None for query in mine)


def _taken(connection: sa.Connection, exam_uid: str) -> sa.Row[Any] | None:
    """The packed exam, for this transaction alone. The study is locked first, as by whoever judges it."""
    mine = packed_exams.c.exam_uid == exam_uid
    if connection.execute(sa.select(packed_exams.c.at).where(mine)).first() is None:
        return None
    connection.execute(sa.select(studies.c.id).where(studies.c.study_uid == exam_uid).with_for_update())
    return connection.execute(sa.select(packed_exams).where(mine).with_for_update()).one_or_none()


def _remove(connection: sa.Connection, exam_uid: str) -> None:
    connection.execute(packed_exams.delete().where(packed_exams.c.exam_uid == exam_uid))
    connection.execute(packed_series.delete().where(packed_series.c.exam_uid == exam_uid))


def _take_over(connection: sa.Connection, rows: list[Row]) -> list[tuple[int, str]]:
    """What came of the same data sets since, and could not be read: the packed row is about it from now on. Id and
    spool of what lies in a further one as well, to be written once the rows are back."""
    by_data_set = {(row["sop_uid"], row["digest"]): row for row in rows}
    further: list[tuple[int, str]] = []
    for some in in_chunks(sorted({row["sop_uid"] for row in rows})):
        for other in rows_where(connection, InstanceRow, instances.c.sop_uid.in_(some)):
            row = by_data_set.get((other.sop_uid, other.digest))
            if row is None:
                continue
            of_other = copies.c.instance_id == other.id
            further += [
                (row["id"], spool) for spool in connection.execute(sa.select(copies.c.spool).where(of_other)).scalars()
            ]
            connection.execute(copies.delete().where(of_other))
            connection.execute(instances.delete().where(instances.c.id == other.id))
            if other.state not in WITHOUT_FILE:
                words = {"note": other.note or row["note"], "counts_as": other.counts_as or row["counts_as"]}
                row |= {"state": other.state, "path": other.path, "spool": other.spool, **words}
    return further
