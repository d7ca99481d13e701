"""What the ledger should know of one file of the spool: its header, and whether its bytes are those that came."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import structlog

from daemon.ledger.instances import Arrival
from daemon.ledger.keyed_digests import keyed_facts
from daemon.ledger.site_key import SiteKey
from daemon.spool import Spool, is_uid, read_meta
from daemon.spool.journal import Entry
from pipeline.catalog import (
    ACCEPTED,
    ACCESSION,
    MEASURES,
    REJECTED_PROPOSAL,
    UNCONFIRMED,
    InstanceFacts,
    is_sealed,
    measured_images,
    read_facts,
)
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.reading_marker import marked
from pipeline.errors import NotDicom
from pipeline.records import InstanceRef

log = structlog.get_logger("axrad.indexer")
TORN = "not all of its bytes were on the disk when the machine stopped; removed, so that it can be sent again"


def describe(
    spool: Spool,
    path: str,
    sop_uid: str,
    digest: str,
    at: float,
    entry: Entry | None = None,
    key: SiteKey | None = None,
    *,
    measurements: bool = False,
) -> Arrival:
    """One file. One that a power cut has torn is removed: a sender that repeats it must not hear "duplicate".

    `key`: the site's, under which digests of identifiers are kept. `measurements`: whether those of readers count.
    """
    file = spool.root / path
    arrival = Arrival(
        sop_uid=sop_uid,
        digest=digest,
        path=path,
        size=file.stat().st_size if file.exists() else 0,
        at=at,
        association=entry.association if entry else "",
        calling_ae=entry.calling_ae if entry else "",
        sop_class=(entry.sop_class_uid or "") if entry else "",
        key_id=key.id if key else "",
        spool=spool.id,
    )
    try:
        facts = read_facts(file)
        facts = _with_uids_only(with_measurements(facts, file) if measurements else facts)
        if ACCEPTED in facts.tags or REJECTED_PROPOSAL in facts.tags:
            facts = _with_word(facts, file, key)
        whole = entry is None or entry.size is None or _data_set_bytes(spool, path, arrival.size) == entry.size
        if whole or spool.verify(path):
            facts, accession = _without_accession(facts)
            keyed = keyed_facts(facts, key) if key else facts
            accession = key.keyed(accession) if key else accession
            return replace(arrival, facts=keyed, plain_patient=facts.patient_key, accession=accession)
    except NotDicom as error:
        if spool.verify(path):
            return replace(arrival, note=error.message)
    remove_torn(spool, path)
    return replace(arrival, note=TORN, torn=True)


def _without_accession(facts: InstanceFacts) -> tuple[InstanceFacts, str]:
    """The facts as the ledger keeps them, and the digest of the accession number, which it keeps with the exam."""
    number = facts.tags.get(ACCESSION, "")
    return replace(facts, tags={k: v for k, v in facts.tags.items() if k != ACCESSION}), str(number)


def with_measurements(facts: InstanceFacts, file: Path) -> InstanceFacts:
    """The facts of a report or presentation state of others with the images on which something is measured in it."""
    if facts.ours or facts.modality not in ("SR", "PR"):
        return facts
    with marked(file):
        images = measured_images(bounded_reading.read(file, force=None))
    if not images:
        return facts
    return replace(facts, tags={**facts.tags, MEASURES: len(images)}, references=images)


def _with_word(facts: InstanceFacts, file: Path, key: SiteKey | None) -> InstanceFacts:
    """A proposal that this installation accepted counts; a word without our seal does not."""
    if key is not None and is_sealed(bounded_reading.read(file, force=None), key.secret):
        return replace(facts, ours=REJECTED_PROPOSAL in facts.tags)
    words = (ACCEPTED, UNCONFIRMED, REJECTED_PROPOSAL)
    return replace(facts, tags={name: value for name, value in facts.tags.items() if name not in words})


def _with_uids_only(facts: InstanceFacts) -> InstanceFacts:
    """References as far as they are UIDs: anything may stand there, and exams are filed under what stands there."""
    cleaned = [
        InstanceRef(
            *(uid if is_uid(uid) else "" for uid in (r.study_uid, r.series_uid, r.sop_class_uid, r.sop_instance_uid))
        )
        for r in facts.references
    ]
    return replace(facts, references=tuple(r for r in cleaned if r.series_uid or r.sop_instance_uid))


def remove_torn(spool: Spool, path: str) -> None:
    """Take away a file whose bytes are not what its name says."""
    log.error("torn-file-removed", path=path)
    spool.remove(path)


def _data_set_bytes(spool: Spool, path: str, size: int) -> int:
    with (spool.root / path).open("rb") as file:
        return size - read_meta(file).data_set_offset
