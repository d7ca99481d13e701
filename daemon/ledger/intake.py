"""Instances enter the ledger; ROIs find the study of the images they refer to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from daemon.ledger.engine import new_id, note
from daemon.ledger.order import BACKFILL, ROUTINE, words
from daemon.ledger.states import STUDY, check
from daemon.ledger.tables import instances, revisions, roi_references, studies
from pipeline.catalog import REGISTRATION_CLASS, InstanceFacts, facts_to_json


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file in the spool, as journal or walk tell it. `facts` is None if the header is unreadable."""

    sop_uid: str
    digest: str
    path: str
    size: int
    at: float
    association: str = ""
    calling_ae: str = ""
    sop_class: str = ""
    note: str = ""
    facts: InstanceFacts | None = None
    priority: int = ROUTINE
    backfill: bool = False


def known(connection: sa.Connection, sop_uid: str, digest: str) -> bool:
    """Whether this very data set is in the ledger and its file in the spool."""
    row = connection.execute(
        sa.select(instances.c.state).where(instances.c.sop_uid == sop_uid, instances.c.digest == digest)
    ).one_or_none()
    return row is not None and row.state not in ("lost", "purged")


def record(connection: sa.Connection, arrival: Arrival) -> None:
    """Write one arrival. Repeating it changes nothing; a lost or purged instance that came again is back."""
    old = connection.execute(
        sa.select(instances.c.id, instances.c.state).where(
            instances.c.sop_uid == arrival.sop_uid, instances.c.digest == arrival.digest
        )
    ).one_or_none()
    if old is not None:
        if old.state in ("lost", "purged"):
            state = "stored" if arrival.facts is not None else "unreadable"
            connection.execute(
                instances.update().where(instances.c.id == old.id).values(state=state, path=arrival.path)
            )
            if arrival.facts is not None:
                _touch(connection, arrival.facts.ref.study_uid, arrival.facts.patient_key, arrival.at)
        return
    facts = arrival.facts
    if facts is None:
        connection.execute(instances.insert().values(**_columns(arrival, "unreadable", "")))
        note(connection, arrival.at, "unreadable", f"{arrival.sop_uid}: {arrival.note}")
        return
    if facts.ours:
        # Our own results, routed back to us: kept, and nothing else happens.
        connection.execute(instances.insert().values(**_columns(arrival, "ignored", "a result of axrad")))
        return
    exam_uid = facts.ref.study_uid
    if facts.references:
        exam_uid = _study_of(connection, [r.sop_instance_uid for r in facts.references]) or exam_uid
    relevant = facts.is_image or facts.is_roi or facts.ref.sop_class_uid == REGISTRATION_CLASS
    row = _columns(arrival, "stored" if relevant else "ignored", "" if relevant else "not used by axrad")
    instance_id = connection.execute(instances.insert().values(**row | {"exam_uid": exam_uid})).inserted_primary_key[0]  # type: ignore[index]
    if not relevant:
        return
    _flag_conflict(connection, arrival, exam_uid)
    if facts.references:
        connection.execute(
            roi_references.insert(),
            [
                {"roi_id": instance_id, "sop_uid": u}
                for u in dict.fromkeys(r.sop_instance_uid for r in facts.references)
            ],
        )
    _touch(connection, exam_uid, facts.patient_key, arrival.at, arrival.priority, backfill=arrival.backfill)
    if facts.is_image:
        _adopt_rois(connection, arrival.sop_uid, facts, arrival.at)


def _columns(arrival: Arrival, state: str, why: str) -> dict[str, Any]:
    facts = arrival.facts
    return {
        "sop_uid": arrival.sop_uid,
        "digest": arrival.digest,
        "study_uid": facts.ref.study_uid if facts else "",
        "series_uid": facts.ref.series_uid if facts else "",
        "sop_class": facts.ref.sop_class_uid if facts else arrival.sop_class,
        "exam_uid": facts.ref.study_uid if facts else "",
        "patient_key": facts.patient_key if facts else "",
        "path": arrival.path,
        "size": arrival.size,
        "received_at": arrival.at,
        "association": arrival.association,
        "calling_ae": arrival.calling_ae,
        "state": state,
        "note": why or arrival.note,
        "facts": facts_to_json(facts) if facts else {},
    }


def _study_of(connection: sa.Connection, sop_uids: list[str]) -> str | None:
    """The study of the first referenced image that is here."""
    for start in range(0, len(sop_uids), 500):
        row = connection.execute(
            sa.select(instances.c.study_uid)
            .where(instances.c.sop_uid.in_(sop_uids[start : start + 500]), instances.c.state == "stored")
            .limit(1)
        ).one_or_none()
        if row is not None:
            return str(row.study_uid)
    return None


def _adopt_rois(connection: sa.Connection, sop_uid: str, facts: InstanceFacts, at: float) -> None:
    """ROIs that came before this image and were filed under their own study move to the image's."""
    study_uid = facts.ref.study_uid
    rows = connection.execute(
        sa.select(instances.c.id, instances.c.exam_uid)
        .join(roi_references, roi_references.c.roi_id == instances.c.id)
        .where(roi_references.c.sop_uid == sop_uid, instances.c.exam_uid != study_uid)
    ).all()
    for row in rows:
        connection.execute(instances.update().where(instances.c.id == row.id).values(exam_uid=study_uid))
        _drop_if_empty(connection, row.exam_uid)
    if rows:
        _touch(connection, study_uid, facts.patient_key, at)


def _drop_if_empty(connection: sa.Connection, study_uid: str) -> None:
    """A study that existed only because a ROI was filed under it goes away with the ROI."""
    left = connection.execute(
        sa.select(sa.func.count())
        .select_from(instances)
        .where(instances.c.exam_uid == study_uid, instances.c.state == "stored")
    ).scalar_one()
    if left:
        return
    row = connection.execute(sa.select(studies.c.id).where(studies.c.study_uid == study_uid)).one_or_none()
    if row is None:
        return
    has_revision = connection.execute(
        sa.select(sa.func.count()).select_from(revisions).where(revisions.c.study_id == row.id)
    ).scalar_one()
    if not has_revision:
        connection.execute(studies.delete().where(studies.c.id == row.id))


def _flag_conflict(connection: sa.Connection, arrival: Arrival, exam_uid: str) -> None:
    """Same SOP Instance UID, other data set: both are kept; whether it matters is assembly's to judge."""
    others = connection.execute(
        sa.select(sa.func.count())
        .select_from(instances)
        .where(instances.c.sop_uid == arrival.sop_uid, instances.c.digest != arrival.digest)
    ).scalar_one()
    if others:
        note(
            connection, arrival.at, "resent-changed", f"{arrival.sop_uid} came again with another data set ({exam_uid})"
        )


def _touch(
    connection: sa.Connection,
    study_uid: str,
    patient_key: str,
    at: float,
    priority: int = ROUTINE,
    *,
    backfill: bool = False,
) -> None:
    """Something of this study arrived: create it or wake it. Urgency of any instance makes the study urgent."""
    row = connection.execute(sa.select(studies).where(studies.c.study_uid == study_uid)).one_or_none()
    if row is None:
        study_id = new_id()
        connection.execute(
            studies.insert().values(
                id=study_id,
                study_uid=study_uid,
                state="assembling",
                patient_key=patient_key,
                first_arrival_at=at,
                last_arrival_at=at,
                changed_at=at,
                dirty=True,
                priority=priority,
                role=BACKFILL if backfill else "current",
            )
        )
        how = ", ".join([*(["backfill"] if backfill else []), *([words(priority)] if priority != ROUTINE else [])])
        note(connection, at, "first-instance", how, study_id=study_id)
        return
    values: dict[str, Any] = {"last_arrival_at": max(at, row.last_arrival_at), "dirty": True}
    if priority > max(row.priority, ROUTINE):
        values["priority"] = priority
        note(connection, at, "prioritised", f"{words(priority)}, as an instance of it asks", study_id=row.id)
    if row.state in ("waiting", "expired"):
        check(STUDY, row.state, "assembling")
        values |= {"state": "assembling", "reason": "", "reason_code": "", "changed_at": at}
        if row.state == "expired":
            note(connection, at, "revived", "new data arrived after the study had expired", study_id=row.id)
    connection.execute(studies.update().where(studies.c.id == row.id).values(**values))


def facts_of_study(connection: sa.Connection, study_uid: str) -> list[tuple[str, Any, str]]:
    """(path, facts JSON, digest) of every stored instance of an exam, oldest first."""
    rows = connection.execute(
        sa.select(instances.c.path, instances.c.facts, instances.c.digest)
        .where(instances.c.exam_uid == study_uid, instances.c.state == "stored")
        .order_by(instances.c.received_at, instances.c.id)
    ).all()
    return [(row.path, row.facts, row.digest) for row in rows]


def mark_lost(connection: sa.Connection, ids: Iterable[int], now: float) -> None:
    """The file of these rows is gone although nobody cleaned it away."""
    for instance_id in ids:
        connection.execute(instances.update().where(instances.c.id == instance_id).values(state="lost"))
        note(connection, now, "lost", f"the file of instance {instance_id} is missing from the spool")
