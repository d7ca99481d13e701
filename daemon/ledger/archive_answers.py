"""What the ledger has of an exam when archives are asked about it, and what they answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from daemon.assembly import Answer
from daemon.ledger.engine import new_id
from daemon.ledger.moves import add
from daemon.ledger.rows import InstanceRow, StudyRow, rows_where
from daemon.ledger.tables import instances, pacs_answers, studies
from pipeline.catalog import MR_CLASSES


def stored_uids(connection: sa.Connection, study_uid: str) -> frozenset[str]:
    """SOP Instance UIDs of an exam whose files are here."""
    rows = connection.execute(
        sa.select(instances.c.sop_uid).where(instances.c.exam_uid == study_uid, instances.c.state == "stored")
    ).scalars()
    return frozenset(rows)


def an_image(connection: sa.Connection, study_uid: str) -> InstanceRow | None:
    """Some image of the exam whose file is here."""
    stored = (instances.c.exam_uid == study_uid) & (instances.c.state == "stored")
    rows = rows_where(connection, InstanceRow, stored, instances.c.sop_class.in_(MR_CLASSES), limit=1)
    return rows[0] if rows else None


def record_answers(
    connection: sa.Connection, study_uid: str, answers: Sequence[Answer], keyed: Callable[[str, str], str] | None = None
) -> None:
    """Replace what the archives said of an exam before.

    Args:
        keyed: brings a plain digest under the key with this id, as the digests of the exam are.
    """
    key_id = connection.execute(
        sa.select(studies.c.key_id).where(studies.c.study_uid == study_uid).with_for_update()
    ).scalar_one_or_none()

    def as_the_exam(digest: str | None) -> str | None:
        return digest if digest is None or not key_id or keyed is None else keyed(digest, key_id)

    connection.execute(pacs_answers.delete().where(pacs_answers.c.exam_uid == study_uid))
    for a in answers:
        connection.execute(
            pacs_answers.insert().values(
                exam_uid=study_uid,
                pacs=a.pacs,
                asked_at=a.asked_at,
                patient_key=as_the_exam(a.patient_key),
                patient_id_key=as_the_exam(a.patient_id_key),
                key_id=key_id or "",
                series=[list(s) for s in a.series],
            )
        )


def expect_priors(connection: sa.Connection, study: StudyRow, study_uids: Sequence[str], now: float) -> None:
    """Mark these studies as priors before their images arrive, unless the ledger has them as exams already."""
    known = set(connection.execute(sa.select(studies.c.study_uid).where(studies.c.study_uid.in_(study_uids))).scalars())
    for uid in study_uids:
        if uid in known:
            continue
        add(
            connection,
            "study",
            "assembling",
            {
                "id": new_id(),
                "study_uid": uid,
                "role": "prior",
                "patient_key": study.patient_key,
                "key_id": study.key_id,
                "first_arrival_at": now,
                "last_arrival_at": now,
                "changed_at": now,
                "dirty": True,
            },
        )
