"""Instances in the ledger: recorded when they arrive, restored when they come again, lost when their file vanishes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from config.schema.values import MAIN_SPOOL
from daemon.assembly.duplicates import CONTENT_TAG
from daemon.ledger import comparisons
from daemon.ledger.accessions import add_accessions
from daemon.ledger.chunks import in_chunks
from daemon.ledger.engine import Note, note, note_all
from daemon.ledger.moves import add, move, move_all
from daemon.ledger.packed_exams import unpack_for
from daemon.ledger.proposals import is_ours as is_proposal
from daemon.ledger.roi_filing import adopt_rois, exam_of
from daemon.ledger.spools import add_copy, forget_copies, is_copied, replaced_by_copies
from daemon.ledger.states import GONE, IN_SPOOL, SETTLED, CountsAs
from daemon.ledger.studies import create_or_wake, study_id_of
from daemon.ledger.tables import instances, roi_references, sent_objects, studies
from daemon.ledger.work_order import ROUTINE
from pipeline.catalog import ACCEPTED, REGISTRATION_CLASS, InstanceFacts, facts_to_json
from pipeline.catalog.free_text import to_keep

# Why an instance is ignored.
OUR_RESULT, NOT_USED = "a result of axrad", "not used by axrad"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file in the spool, as journal or walk tell it. `facts` is None if the header is unreadable.

    `torn`: its bytes were not those that had been received, and it was taken away. `key_id`: of the site's key that the
    digests in `facts` were made with, and `plain_patient` its patient without it. `accession`: the digest of its
    accession number, under the same key; empty where it has none. `spool`: the one that the file lies in.
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
    key_id: str = ""
    plain_patient: str = ""
    accession: str = ""
    spool: str = MAIN_SPOOL


def is_known(connection: sa.Connection, sop_uid: str, digest: str, spool_id: str = MAIN_SPOOL) -> bool:
    """Whether this very data set is in the ledger and its file in this spool."""
    return bool(known_of(connection, [(sop_uid, digest)], spool_id))


def known_of(
    connection: sa.Connection, data_sets: Iterable[tuple[str, str]], spool_id: str = MAIN_SPOOL
) -> set[tuple[str, str]]:
    """Those of some data sets, by UID and digest, that are in the ledger and whose files are in this spool."""
    wanted = set(data_sets)
    known = set()
    columns = (instances.c.id, instances.c.sop_uid, instances.c.digest, instances.c.state, instances.c.spool)
    for some in in_chunks(sorted({sop_uid for sop_uid, _ in wanted})):
        for row in connection.execute(sa.select(*columns).where(instances.c.sop_uid.in_(some))).all():
            if row.state not in GONE and (row.spool == spool_id or is_copied(connection, row.id, spool_id)):
                known.add((row.sop_uid, row.digest))
    return known & wanted


def record(connection: sa.Connection, arrival: Arrival) -> str | None:
    """Write one arrival; the exam it belongs to. Repeating it changes nothing, and then, as for what is of no use to
    axrad, there is no exam. A lost or purged instance that came again is back."""
    if arrival.facts is not None:
        unpack_for(connection, [arrival.facts])
    old = connection.execute(
        sa.select(
            instances.c.id, instances.c.state, instances.c.exam_uid, instances.c.counts_as, instances.c.spool
        ).where(instances.c.sop_uid == arrival.sop_uid, instances.c.digest == arrival.digest)
    ).one_or_none()
    facts = arrival.facts
    if arrival.torn:
        if old is None:
            add(connection, "instance", "lost", columns_of(arrival, arrival.note))
            note(connection, arrival.at, "lost", f"{arrival.sop_uid}: {arrival.note}")
        return None
    if old is not None and old.state in GONE and not old.exam_uid:
        # Nobody could read it, or it was torn before anyone had: there is no exam to come back to.
        forget_copies(connection, [old.id])
        connection.execute(instances.delete().where(instances.c.id == old.id))
        old = None
    if old is not None:
        add_accessions(connection, [(old.exam_uid, arrival.accession, arrival.key_id)] if old.exam_uid else [])
        is_result = old.counts_as == CountsAs.RESULT
        if old.state in GONE:
            return _come_back(connection, old.id, old.exam_uid, arrival, is_result)
        if old.spool != arrival.spool:
            add_copy(connection, old.id, arrival.spool)
        return None
    if facts is None:
        add(connection, "instance", "unreadable", columns_of(arrival))
        note_all(connection, [unreadable(arrival)])
        return None
    if facts.ours or _was_sent(connection, facts):
        # A result of axrad that was routed back: it is kept, and nothing else happens.
        add(connection, "instance", "ignored", columns_of(arrival, OUR_RESULT, CountsAs.RESULT))
        return None
    if not is_relevant(facts):
        add(connection, "instance", "ignored", columns_of(arrival, NOT_USED, CountsAs.OTHERS))
        return None
    exam_uid = exam_of(connection, facts)
    instance_id = add(connection, "instance", "stored", columns_of(arrival) | {"exam_uid": exam_uid})
    add_accessions(connection, [(exam_uid, arrival.accession, arrival.key_id)])
    _compare(connection, arrival, exam_uid)
    named = dict.fromkeys(r.sop_instance_uid for r in facts.references if r.sop_instance_uid)
    if named:
        connection.execute(roi_references.insert(), [{"roi_id": instance_id, "sop_uid": u} for u in named])
    _wake(connection, exam_uid, facts, arrival)
    if facts.is_image:
        adopt_rois(connection, arrival.sop_uid, facts, arrival.at, arrival.key_id)
    return exam_uid


def _wake(connection: sa.Connection, exam_uid: str, facts: InstanceFacts, arrival: Arrival) -> None:
    patient = (facts.patient_key, arrival.key_id)
    create_or_wake(connection, exam_uid, patient, arrival.at, arrival.priority, backfill=arrival.backfill)


def _was_sent(connection: sa.Connection, facts: InstanceFacts) -> bool:
    """Whether this is a segmentation that axrad sent, in whose copy an archive left no mark.

    One whose mark says that somebody changed its voxels since is a reader's.
    """
    if not facts.is_roi or facts.tags.get("own_mark") == "changed" or ACCEPTED in facts.tags:
        return False
    uid = facts.ref.sop_instance_uid
    if is_proposal(connection, uid):
        return True
    sent = (sent_objects.c.sop_instance_uid == uid) | (sent_objects.c.coerced_uid == uid)
    return connection.execute(sa.select(sent_objects.c.kind).where(sent)).first() is not None


def is_relevant(facts: InstanceFacts) -> bool:
    """Whether axrad uses it: images, ROIs, registrations and measurements that axrad did not make."""
    used = facts.is_image or facts.is_roi or facts.measures or facts.ref.sop_class_uid == REGISTRATION_CLASS
    return not facts.ours and used


def _come_back(
    connection: sa.Connection, instance_id: int, exam_uid: str, arrival: Arrival, is_result: bool
) -> str | None:
    """Restore an instance that was lost or removed by retention and has come again; its exam, if axrad uses it."""
    facts = arrival.facts
    used = facts is not None and is_relevant(facts) and not is_result
    state = "unreadable" if facts is None else "stored" if used else "ignored"
    columns: dict[str, object] = {
        "path": arrival.path,
        "spool": arrival.spool,
        **({"counts_as": ""} if used else {}),
    }
    forget_copies(connection, [instance_id], arrival.spool)
    if facts is not None:
        columns |= {"facts": to_keep(facts_to_json(facts)), "patient_key": facts.patient_key, "key_id": arrival.key_id}
    move(connection, "instance", instance_id, state, columns)
    if facts is None or not used:
        return None
    _wake(connection, exam_uid, facts, arrival)
    return exam_uid


def columns_of(arrival: Arrival, why: str = "", counts_as: str = "") -> dict[str, object]:
    """Columns of an instance that has come; `why` it is not used, in words, and what it counts as then."""
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
        "counts_as": counts_as,
        "facts": to_keep(facts_to_json(facts)) if facts else {},
        "key_id": arrival.key_id,
        "spool": arrival.spool,
    }


def _compare(connection: sa.Connection, arrival: Arrival, exam_uid: str) -> None:
    """Have data sets with the same SOP Instance UID compared. Both are kept; assembly judges whether it matters.

    A copy with a word on a proposal has the voxels that its mark holds, and no sender.
    """
    if arrival.facts is not None and ACCEPTED in arrival.facts.tags:
        return
    other_data_sets = connection.execute(
        sa.select(instances.c.id).where(instances.c.sop_uid == arrival.sop_uid, instances.c.digest != arrival.digest)
    ).all()
    if other_data_sets:
        if arrival.facts is not None and CONTENT_TAG not in arrival.facts.tags:
            comparisons.request_comparisons(connection, {arrival.sop_uid: arrival.at})
        note_all(connection, [resent_changed(arrival, exam_uid, study_id_of(connection, exam_uid))])


def resent_changed(arrival: Arrival, exam_uid: str, study_id: str | None) -> Note:
    detail = f"{arrival.sop_uid} came again with another data set ({exam_uid})"
    return Note(arrival.at, "resent-changed", detail, study_id)


def unreadable(arrival: Arrival) -> Note:
    return Note(arrival.at, "unreadable", f"{arrival.sop_uid}: {arrival.note}")


def mark_lost(connection: sa.Connection, ids: Iterable[int], now: float) -> None:
    """Mark instances whose file vanished without retention. Exams that are not done yet are judged again. One that lies
    in a further spool is not lost."""
    ids = list(ids)
    replaced = replaced_by_copies(connection, ids, now)
    for instance_id in (i for i in ids if i not in replaced):
        if not move_all(connection, "instance", instances.c.id == instance_id, IN_SPOOL, "lost"):
            continue
        exam_uid = connection.execute(sa.select(instances.c.exam_uid).where(instances.c.id == instance_id)).scalar_one()
        detail = f"the file of instance {instance_id} is missing from the spool"
        note(connection, now, "lost", detail, study_id_of(connection, exam_uid))
        connection.execute(
            studies.update().where(studies.c.study_uid == exam_uid, studies.c.state.not_in(SETTLED)).values(dirty=True)
        )
