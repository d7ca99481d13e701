"""Which exam a ROI belongs to: the one whose images it refers to, whatever study it names itself."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from daemon.ledger.chunks import in_chunks
from daemon.ledger.states import KNOWN_STATES
from daemon.ledger.studies import create_or_wake
from daemon.ledger.tables import fetches, instances, proposals, revisions, roi_references, studies
from pipeline.catalog import InstanceFacts


def exam_of(connection: sa.Connection, facts: InstanceFacts) -> str:
    """The exam of the images that the ROI refers to, if any of them ever came; otherwise the study that it names."""
    if facts.is_image or not facts.references:
        return facts.ref.study_uid
    exam_uid = _exam_of_images(connection, [r.sop_instance_uid for r in facts.references if r.sop_instance_uid])
    named = next((r.study_uid for r in facts.references if r.study_uid), "")
    return exam_uid or named or facts.ref.study_uid


def _exam_of_images(connection: sa.Connection, sop_uids: list[str]) -> str | None:
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


def adopt_rois(connection: sa.Connection, sop_uid: str, facts: InstanceFacts, at: float, key_id: str) -> None:
    """ROIs that came before any of their images, and so were filed elsewhere, move to the first one's study."""
    study_uid = facts.ref.study_uid
    rows = connection.execute(
        sa.select(instances.c.id, instances.c.exam_uid)
        .join(roi_references, roi_references.c.roi_id == instances.c.id)
        .where(roi_references.c.sop_uid == sop_uid, instances.c.exam_uid != study_uid, ~_with_their_images())
    ).all()
    for row in rows:
        connection.execute(instances.update().where(instances.c.id == row.id).values(exam_uid=study_uid))
        _drop_if_empty(connection, row.exam_uid)
    if rows:
        create_or_wake(connection, study_uid, (facts.patient_key, key_id), at)


def _with_their_images() -> sa.ColumnElement[bool]:
    """Of a row of `instances` with references: one of the images that it refers to is, or was, in its exam."""
    image = instances.alias("image")
    theirs = roi_references.alias("theirs")
    return (
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


def first_images(connection: sa.Connection, study_of: Mapping[str, str]) -> set[str]:
    """UIDs of those images of a batch to which ROIs will move that came before any of their images.

    A ROI moves once at most: to the study of the first of its images that comes.

    Args:
        study_of: the study of each image, by its UID, in the order of their coming.
    """
    place = {sop_uid: number for number, sop_uid in enumerate(study_of)}
    first: dict[int, tuple[int, str, str]] = {}
    for some in in_chunks(study_of):
        rows = connection.execute(
            sa.select(instances.c.id, instances.c.exam_uid, roi_references.c.sop_uid)
            .join(roi_references, roi_references.c.roi_id == instances.c.id)
            .where(roi_references.c.sop_uid.in_(some), ~_with_their_images())
        )
        for roi_id, exam_uid, sop_uid in rows:
            candidate = (place[sop_uid], sop_uid, exam_uid)
            first[roi_id] = min(first.get(roi_id, candidate), candidate)
    return {sop_uid for _, sop_uid, exam_uid in first.values() if study_of[sop_uid] != exam_uid}


def _drop_if_empty(connection: sa.Connection, study_uid: str) -> None:
    """A study that existed only because a ROI was filed under it goes away with the ROI."""
    remaining = connection.execute(
        sa.select(sa.func.count())
        .select_from(instances)
        .where(instances.c.exam_uid == study_uid, instances.c.state.in_(KNOWN_STATES))
    ).scalar_one()
    if remaining:
        return
    row = connection.execute(sa.select(studies.c.id).where(studies.c.study_uid == study_uid)).one_or_none()
    if row is None:
        return
    has_revision = connection.execute(
        sa.select(sa.func.count()).select_from(revisions).where(revisions.c.study_id == row.id)
    ).scalar_one()
    if not has_revision:
        connection.execute(fetches.delete().where(fetches.c.study_id == row.id))
        connection.execute(proposals.delete().where(proposals.c.study_id == row.id))
        connection.execute(studies.delete().where(studies.c.id == row.id))
