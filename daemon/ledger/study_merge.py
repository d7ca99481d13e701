"""Two studies that are one exam by a configured rule: all of it is filed under one of them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from daemon.assembly.study_join import common_properties
from daemon.ledger.accessions import move_accessions
from daemon.ledger.engine import note
from daemon.ledger.moves import move
from daemon.ledger.packed_exams import packed_rows, unpacked
from daemon.ledger.rows import JsonObject, StudyRow, rows_where, the_row
from daemon.ledger.states import WOKEN_BY_ARRIVALS
from daemon.ledger.tables import events, fetches, instances, pacs_answers, proposals, revisions, studies
from pipeline.catalog import MR_CLASSES, RTSTRUCT_CLASS, SEGMENTATION_CLASSES, InstanceFacts, facts_from_json


def join(connection: sa.Connection, study: StudyRow, rule: Sequence[str], now: float) -> StudyRow | None:
    """Join what the rule says belongs together; the row to go on with, None where this study is no more.

    The one that the ROIs are drawn on stays, then the one that has been reported, then the one that came first. Two
    that have both been reported are left alone.
    """
    siblings = rows_where(
        connection,
        StudyRow,
        studies.c.patient_key == study.patient_key,
        studies.c.id != study.id,
        studies.c.role == study.role,
        studies.c.state != "cancelled",
    )
    for sibling in siblings:
        why = common_properties(_images(connection, study.study_uid), _images(connection, sibling.study_uid), rule)
        if why is None:
            continue
        unpacked(connection, sibling.study_uid)
        stays, goes = sorted((study, sibling), key=lambda row: _precedence(connection, row))
        if _has_revision(connection, goes.id):
            continue
        _file_under(connection, stays, goes, why, now)
        if goes.id == study.id:
            return None
        study = the_row(connection, StudyRow, stays.id)
    return study


def _precedence(connection: sa.Connection, row: StudyRow) -> tuple[bool, bool, float, str]:
    has_rois = connection.execute(
        sa.select(sa.func.count())
        .select_from(instances)
        .where(
            instances.c.exam_uid == row.study_uid, instances.c.sop_class.in_((*SEGMENTATION_CLASSES, RTSTRUCT_CLASS))
        )
    ).scalar_one()
    return not has_rois, not _has_revision(connection, row.id), row.first_arrival_at, row.id


def _has_revision(connection: sa.Connection, study_id: str) -> bool:
    query = sa.select(sa.func.count()).select_from(revisions).where(revisions.c.study_id == study_id)
    return bool(connection.execute(query).scalar_one())


def _images(connection: sa.Connection, study_uid: str) -> list[InstanceFacts]:
    """One image of each series."""
    first = (
        sa.select(sa.func.min(instances.c.id))
        .where(instances.c.exam_uid == study_uid, instances.c.sop_class.in_(MR_CLASSES))
        .group_by(instances.c.series_uid)
    )
    rows = connection.execute(sa.select(instances.c.facts).where(instances.c.id.in_(first))).scalars()
    packed: dict[str, JsonObject] = {}
    for row in packed_rows(connection, study_uid):
        if row.sop_class in MR_CLASSES:
            packed.setdefault(row.series_uid, row.facts)
    return [facts_from_json(facts) for facts in (*packed.values(), *rows)]


def _file_under(connection: sa.Connection, stays: StudyRow, goes: StudyRow, why: str, now: float) -> None:
    connection.execute(
        instances.update().where(instances.c.exam_uid == goes.study_uid).values(exam_uid=stays.study_uid)
    )
    move_accessions(connection, goes.study_uid, stays.study_uid)
    connection.execute(events.update().where(events.c.study_id == goes.id).values(study_id=stays.id))
    connection.execute(fetches.delete().where(fetches.c.study_id == goes.id))
    connection.execute(proposals.delete().where(proposals.c.study_id == goes.id))
    connection.execute(pacs_answers.delete().where(pacs_answers.c.exam_uid == goes.study_uid))
    connection.execute(studies.delete().where(studies.c.id == goes.id))
    arrived = {
        "first_arrival_at": min(stays.first_arrival_at, goes.first_arrival_at),
        "last_arrival_at": max(stays.last_arrival_at, goes.last_arrival_at),
        "dirty": True,
        "chosen_series": {**(goes.chosen_series or {}), **(stays.chosen_series or {})} or None,
    }
    if stays.state in WOKEN_BY_ARRIVALS:
        move(connection, "study", stays.id, "assembling", {"reason": "", "reason_code": "", **arrived})
    else:
        connection.execute(studies.update().where(studies.c.id == stays.id).values(**arrived))
    note(connection, now, "joined", f"with study {goes.study_uid}: {why}", stays.id)
