"""Instances enter the ledger; ROIs find the study of the images they refer to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from daemon.assembly.duplicates import CONTENT_TAG
from daemon.ledger import comparisons
from daemon.ledger.engine import new_id, note
from daemon.ledger.moves import add, move, move_all
from daemon.ledger.states import GONE, IN_SPOOL, KNOWN_STATES, SETTLED, WOKEN_BY_ARRIVALS
from daemon.ledger.tables import fetches, instances, open_associations, revisions, roi_references, sent_objects, studies
from daemon.ledger.work_order import BACKFILL, ROUTINE, words
from pipeline.catalog import REGISTRATION_CLASS, InstanceFacts, facts_to_json

# Two data sets under one UID are decoded to compare them, up to this.
MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file in the spool, as journal or walk tell it. `facts` is None if the header is unreadable.

    `torn`: its bytes were not those that had been received, and it was taken away.
    """

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
    torn: bool = False


def known(connection: sa.Connection, sop_uid: str, digest: str) -> bool:
    """Whether this very data set is in the ledger and its file in the spool."""
    row = connection.execute(
        sa.select(instances.c.state).where(instances.c.sop_uid == sop_uid, instances.c.digest == digest)
    ).one_or_none()
    return row is not None and row.state not in GONE


def bytes_shown(tags: Mapping[str, Any], frames: int) -> float:
    """What the pixels take once they are decoded, by what the header says: anything may stand there."""
    sides = (tags.get(k) for k in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"))
    rows, columns, samples, bits = (float(v) if isinstance(v, int | float) else 1.0 for v in sides)
    return rows * columns * samples * bits * frames / 8


def record(connection: sa.Connection, arrival: Arrival) -> str | None:
    """Write one arrival; the exam it belongs to. Repeating it changes nothing, and then, as for what is of no use to
    axrad, there is no exam. A lost or purged instance that came again is back."""
    old = connection.execute(
        sa.select(instances.c.id, instances.c.state, instances.c.exam_uid).where(
            instances.c.sop_uid == arrival.sop_uid, instances.c.digest == arrival.digest
        )
    ).one_or_none()
    facts = arrival.facts
    if arrival.torn:
        if old is None:
            add(connection, "instance", "lost", columns_of(arrival, arrival.note))
            note(connection, arrival.at, "lost", f"{arrival.sop_uid}: {arrival.note}")
        return None
    if old is not None and old.state == "lost" and not old.exam_uid:
        # It was torn before anyone had read it: there is nothing to come back to.
        connection.execute(instances.delete().where(instances.c.id == old.id))
        old = None
    if old is not None:
        return _back(connection, old, arrival) if old.state in GONE else None
    if facts is None:
        add(connection, "instance", "unreadable", columns_of(arrival))
        note(connection, arrival.at, "unreadable", f"{arrival.sop_uid}: {arrival.note}")
        return None
    if facts.ours or _was_sent(connection, facts):
        # Our own results, routed back to us: kept, and nothing else happens.
        add(connection, "instance", "ignored", columns_of(arrival, "a result of axrad"))
        return None
    if not is_relevant(facts):
        add(connection, "instance", "ignored", columns_of(arrival, "not used by axrad"))
        return None
    exam_uid = _exam_of(connection, facts)
    instance_id = add(connection, "instance", "stored", columns_of(arrival) | {"exam_uid": exam_uid})
    _compare(connection, arrival, exam_uid)
    named = dict.fromkeys(r.sop_instance_uid for r in facts.references if r.sop_instance_uid)
    if named:
        connection.execute(roi_references.insert(), [{"roi_id": instance_id, "sop_uid": u} for u in named])
    _touch(connection, exam_uid, facts.patient_key, arrival.at, arrival.priority, backfill=arrival.backfill)
    if facts.is_image:
        _adopt_rois(connection, arrival.sop_uid, facts, arrival.at)
    return exam_uid


def _was_sent(connection: sa.Connection, facts: InstanceFacts) -> bool:
    """Whether this is a segmentation that axrad sent, in whose copy an archive left no mark.

    One whose mark says that somebody changed its voxels since is a reader's.
    """
    if not facts.is_roi or facts.tags.get("own_mark") == "changed":
        return False
    uid = facts.ref.sop_instance_uid
    sent = (sent_objects.c.sop_instance_uid == uid) | (sent_objects.c.coerced_uid == uid)
    return connection.execute(sa.select(sent_objects.c.kind).where(sent)).first() is not None


def is_relevant(facts: InstanceFacts) -> bool:
    """Images, ROIs and registrations of others; everything else is kept and not looked at."""
    return not facts.ours and (facts.is_image or facts.is_roi or facts.ref.sop_class_uid == REGISTRATION_CLASS)


def _back(connection: sa.Connection, old: Any, arrival: Arrival) -> str | None:
    """What was lost or cleaned away has come again."""
    facts = arrival.facts
    state = "unreadable" if facts is None else "stored" if is_relevant(facts) else "ignored"
    move(connection, "instance", old.id, state, {"path": arrival.path})
    if facts is None or state != "stored":
        return None
    _touch(connection, old.exam_uid, facts.patient_key, arrival.at, arrival.priority, backfill=arrival.backfill)
    return str(old.exam_uid)


def _exam_of(connection: sa.Connection, facts: InstanceFacts) -> str:
    """The exam of the images that are referred to, where any ever came; else the study that is named for them."""
    if facts.is_image or not facts.references:
        return facts.ref.study_uid
    found = _study_of(connection, [r.sop_instance_uid for r in facts.references if r.sop_instance_uid])
    named = next((r.study_uid for r in facts.references if r.study_uid), "")
    return found or named or facts.ref.study_uid


def columns_of(arrival: Arrival, why: str = "") -> dict[str, object]:
    """Columns of an instance that has come; `why` it is not used."""
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
        "note": why or arrival.note,
        "facts": facts_to_json(facts) if facts else {},
    }


def _study_of(connection: sa.Connection, sop_uids: list[str]) -> str | None:
    """The exam of the first referenced image that ever came."""
    for start in range(0, len(sop_uids), 500):
        row = connection.execute(
            sa.select(instances.c.exam_uid)
            .where(instances.c.sop_uid.in_(sop_uids[start : start + 500]), instances.c.state.in_(KNOWN_STATES))
            .limit(1)
        ).one_or_none()
        if row is not None:
            return str(row.exam_uid)
    return None


def _adopt_rois(connection: sa.Connection, sop_uid: str, facts: InstanceFacts, at: float) -> None:
    """ROIs that came before any of their images, and so were filed elsewhere, move to the first one's study."""
    study_uid = facts.ref.study_uid
    image = instances.alias("image")
    theirs = roi_references.alias("theirs")
    with_their_images = (
        sa.select(sa.literal(1))
        .select_from(theirs.join(image, image.c.sop_uid == theirs.c.sop_uid))
        .where(
            theirs.c.roi_id == instances.c.id,
            image.c.exam_uid == instances.c.exam_uid,
            image.c.state.in_(KNOWN_STATES),
        )
        .correlate(instances)
        .exists()
    )
    rows = connection.execute(
        sa.select(instances.c.id, instances.c.exam_uid)
        .join(roi_references, roi_references.c.roi_id == instances.c.id)
        .where(roi_references.c.sop_uid == sop_uid, instances.c.exam_uid != study_uid, ~with_their_images)
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
        .where(instances.c.exam_uid == study_uid, instances.c.state.in_(KNOWN_STATES))
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
        connection.execute(fetches.delete().where(fetches.c.study_id == row.id))
        connection.execute(studies.delete().where(studies.c.id == row.id))


def _compare(connection: sa.Connection, arrival: Arrival, exam_uid: str) -> None:
    """Same SOP Instance UID, other data set: both are kept; whether it matters is assembly's to judge."""
    others = connection.execute(
        sa.select(instances.c.id).where(instances.c.sop_uid == arrival.sop_uid, instances.c.digest != arrival.digest)
    ).all()
    if others:
        if arrival.facts is not None and CONTENT_TAG not in arrival.facts.tags:
            comparisons.expect(connection, arrival.sop_uid, arrival.at)
        detail = f"{arrival.sop_uid} came again with another data set ({exam_uid})"
        note(connection, arrival.at, "resent-changed", detail, _study_id(connection, exam_uid))


def _study_id(connection: sa.Connection, study_uid: str) -> str | None:
    return connection.execute(sa.select(studies.c.id).where(studies.c.study_uid == study_uid)).scalar_one_or_none()


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
        add(
            connection,
            "study",
            "assembling",
            {
                "id": study_id,
                "study_uid": study_uid,
                "patient_key": patient_key,
                "first_arrival_at": at,
                "last_arrival_at": at,
                "changed_at": at,
                "dirty": True,
                "priority": priority,
                "role": BACKFILL if backfill else "current",
            },
        )
        how = ", ".join([*(["backfill"] if backfill else []), *([words(priority)] if priority != ROUTINE else [])])
        note(connection, at, "first-instance", how, study_id=study_id)
        return
    values: dict[str, Any] = {"last_arrival_at": max(at, row.last_arrival_at), "dirty": True}
    if priority > max(row.priority, ROUTINE):
        values["priority"] = priority
        note(connection, at, "prioritised", f"{words(priority)}, as an instance of it asks", study_id=row.id)
    if row.state == "cancelled" and not row.dirty:
        note(connection, at, "came-after-cancelling", "new data; nothing is done with them until `axrad retry`", row.id)
    if row.state == "expired":
        note(connection, at, "revived", "new data arrived after the study had expired", study_id=row.id)
    if row.state in WOKEN_BY_ARRIVALS:
        move(connection, "study", row.id, "assembling", {"reason": "", "reason_code": "", "changed_at": at, **values})
    else:
        connection.execute(studies.update().where(studies.c.id == row.id).values(**values))


def still_arriving(connection: sa.Connection, association: str, exam_uid: str, at: float) -> None:
    """The last instance of an open association was of this exam."""
    done = connection.execute(
        open_associations.update().where(open_associations.c.name == association).values(exam_uid=exam_uid, last_at=at)
    )
    if done.rowcount == 0:
        connection.execute(open_associations.insert().values(name=association, exam_uid=exam_uid, last_at=at))


def still_sending(connection: sa.Connection, association: str, at: float) -> None:
    """An open association that has brought something of an exam goes on sending, be it what is of no use."""
    connection.execute(open_associations.update().where(open_associations.c.name == association).values(last_at=at))


def association_ended(connection: sa.Connection, association: str) -> None:
    """Released, aborted, or its process is gone: the exam that it brought last can be judged."""
    exam_uid = connection.execute(
        sa.select(open_associations.c.exam_uid).where(open_associations.c.name == association)
    ).scalar_one_or_none()
    if exam_uid is None:
        return
    connection.execute(open_associations.delete().where(open_associations.c.name == association))
    connection.execute(studies.update().where(studies.c.study_uid == exam_uid).values(dirty=True))


def mark_lost(connection: sa.Connection, ids: Iterable[int], now: float) -> None:
    """The file of these rows is gone although nobody cleaned it away. Exams that are not done yet are judged again."""
    for instance_id in ids:
        if not move_all(connection, "instance", instances.c.id == instance_id, IN_SPOOL, "lost"):
            continue
        exam_uid = connection.execute(sa.select(instances.c.exam_uid).where(instances.c.id == instance_id)).scalar_one()
        detail = f"the file of instance {instance_id} is missing from the spool"
        note(connection, now, "lost", detail, _study_id(connection, exam_uid))
        connection.execute(
            studies.update().where(studies.c.study_uid == exam_uid, studies.c.state.not_in(SETTLED)).values(dirty=True)
        )
