"""Accession numbers of exams that came before the ledger kept their digests, read once from what is left of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
import structlog

from daemon.ledger import accessions, periodic_jobs, site_key
from daemon.ledger.rows import InstanceRow, rows_where
from daemon.ledger.site_key import SiteKey, SiteKeyTrouble
from daemon.ledger.tables import instances, revisions
from daemon.share.spool_files import SpoolOutOfReach
from daemon.work.context import Context
from pipeline.catalog import read_facts
from pipeline.catalog.facts import ACCESSION
from pipeline.errors import AxradError, TryLater

log = structlog.get_logger("axrad.sweep")
# Exams read with one tick, and files tried of each.
EXAMS_AT_ONCE, FILES_OF_AN_EXAM = 20, 3
NEVER_AGAIN_S = 1e9
# After a spool of another machine did not answer.
AGAIN_S = 600.0


class OlderAccessions:
    """Goes through the exams once, a portion with each tick. Where it stands is forgotten with the process: what has
    its number by then is passed over.
    """

    def __init__(self) -> None:
        self._after = ""
        self._done = False
        self._not_before = 0.0
        self._read_all = True

    def go_on(self, context: Context) -> None:
        """Read the numbers of some exams. Waits where files lie in a spool that does not answer: they are not gone."""
        if self._done or context.clock() < self._not_before:
            return
        with context.ledger.read() as connection:
            self._done = accessions.is_complete(connection)
        key = None if self._done else _key(context)
        if key is None:
            return
        with context.ledger.read() as connection:
            exams, last = accessions.without_number(connection, self._after, EXAMS_AT_ONCE)
        try:
            numbers = [
                (uid, number, key.id)
                for study_id, uid in exams
                if (number := self._read(context, study_id, uid, key)) is not None
            ]
        except TryLater as error:
            log.warning("older-accessions-put-off", code=error.code, reason=error.message)
            self._not_before = context.clock() + AGAIN_S
            return
        try:
            with context.ledger.write() as connection:
                accessions.add_accessions(connection, numbers)
                if not last and self._read_all:
                    periodic_jobs.take_if_due(connection, accessions.CHORE, context.clock(), NEVER_AGAIN_S)
        except sa.exc.IntegrityError:
            return  # another sweep has just written some of them
        self._after, self._done = last, not last
        if exams:
            unknown = sum(digest == accessions.UNKNOWN for _, digest, _ in numbers)
            log.info("older-accessions", exams=len(exams), unknown=unknown)

    def _read(self, context: Context, study_id: str, exam_uid: str, key: SiteKey) -> str | None:
        """None where another machine has to look. Raises TryLater."""
        try:
            return _number(context, study_id, exam_uid, key)
        except SpoolOutOfReach:
            self._read_all = False
            return None


def _key(context: Context) -> SiteKey | None:
    """The site's key; whoever writes arrivals makes it, and says where it is missing."""
    try:
        return site_key.read(site_key.path_of(context.settings))
    except SiteKeyTrouble:
        return None


def _number(context: Context, study_id: str, exam_uid: str, key: SiteKey) -> str:
    """The digest of an exam's accession number, empty where it has none; UNKNOWN where no file of it can be read.
    Raises TryLater."""
    for path in _files(context, study_id, exam_uid):
        try:
            return key.keyed(str(read_facts(path).tags.get(ACCESSION, "")))
        except (AxradError, OSError):
            continue
    return accessions.UNKNOWN


def _files(context: Context, study_id: str, exam_uid: str) -> Iterator[Path]:
    """What was received, in whichever spool, else the reports: they have the number of the exam that they are of."""
    with context.ledger.read() as connection:
        stored = rows_where(
            connection,
            InstanceRow,
            instances.c.exam_uid == exam_uid,
            instances.c.state == "stored",
            order_by=[instances.c.id],
            limit=FILES_OF_AN_EXAM,
        )
        of_study = sa.select(revisions.c.id).where(revisions.c.study_id == study_id).order_by(revisions.c.number.desc())
        made = list(connection.execute(of_study.limit(FILES_OF_AN_EXAM)).scalars())
    for row in stored:
        path = context.files.place(row)
        if path is not None and not context.files.bring([row]):
            yield path
    for revision_id in made:
        path = context.files.get(revision_id, "sr.dcm")
        if path is not None:
            yield path
