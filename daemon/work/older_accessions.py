"""Accession numbers of exams that came before the ledger kept their digests, read once from what is left of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
import structlog

from daemon.ledger import accessions, periodic_jobs, site_key
from daemon.ledger.site_key import SiteKey, SiteKeyTrouble
from daemon.ledger.tables import instances, revisions
from daemon.work.context import Context
from pipeline.catalog import read_facts
from pipeline.catalog.facts import ACCESSION
from pipeline.errors import AxradError

log = structlog.get_logger("axrad.sweep")
# Exams read with one tick, and files tried of each.
EXAMS_AT_ONCE, FILES_OF_AN_EXAM = 20, 3
NEVER_AGAIN_S = 1e9


class OlderAccessions:
    """Goes through the exams once, a portion with each tick. Where it stands is forgotten with the process: what has
    its number by then is passed over.
    """

    def __init__(self) -> None:
        self._after = ""
        self._done = False

    def go_on(self, context: Context) -> None:
        """Read the numbers of some exams."""
        if self._done:
            return
        with context.ledger.read() as connection:
            self._done = accessions.is_complete(connection)
        key = None if self._done else _key(context)
        if key is None:
            return
        with context.ledger.read() as connection:
            exams, last = accessions.without_number(connection, self._after, EXAMS_AT_ONCE)
        numbers = [(uid, _number(context, study_id, uid, key), key.id) for study_id, uid in exams]
        try:
            with context.ledger.write() as connection:
                accessions.add_accessions(connection, numbers)
                if not last:
                    periodic_jobs.take_if_due(connection, accessions.CHORE, context.clock(), NEVER_AGAIN_S)
        except sa.exc.IntegrityError:
            return  # another sweep has just written some of them
        self._after, self._done = last, not last
        if exams:
            unknown = sum(digest == accessions.UNKNOWN for _, digest, _ in numbers)
            log.info("older-accessions", exams=len(exams), unknown=unknown)


def _key(context: Context) -> SiteKey | None:
    """The site's key; whoever writes arrivals makes it, and says where it is missing."""
    try:
        return site_key.read(site_key.path_of(context.settings))
    except SiteKeyTrouble:
        return None


def _number(context: Context, study_id: str, exam_uid: str, key: SiteKey) -> str:
    """The digest of an exam's accession number, empty where it has none; UNKNOWN where no file of it can be read."""
    for path in _files(context, study_id, exam_uid):
        try:
            return key.keyed(str(read_facts(path).tags.get(ACCESSION, "")))
        except (AxradError, OSError):
            continue
    return accessions.UNKNOWN


def _files(context: Context, study_id: str, exam_uid: str) -> Iterator[Path]:
    """What was received, else the reports: they have the number of the exam that they are of."""
    with context.ledger.read() as connection:
        stored = connection.execute(
            sa.select(instances.c.path)
            .where(instances.c.exam_uid == exam_uid, instances.c.state == "stored")
            .order_by(instances.c.id)
            .limit(FILES_OF_AN_EXAM)
        ).scalars()
        of_study = sa.select(revisions.c.id).where(revisions.c.study_id == study_id).order_by(revisions.c.number.desc())
        paths, made = list(stored), list(connection.execute(of_study.limit(FILES_OF_AN_EXAM)).scalars())
    yield from (context.settings.spool.path / path for path in paths)
    for revision_id in made:
        path = context.files.get(revision_id, "sr.dcm")
        if path is not None:
            yield path
