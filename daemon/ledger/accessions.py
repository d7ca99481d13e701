"""By which accession numbers an exam is found: their digests, under the site's key, as of patients."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from daemon.ledger.chunks import in_chunks
from daemon.ledger.tables import accessions, chores, studies

# In the place of a digest: no file is left that has the number. No key changes it: it has a colon, as keyed ones do.
UNKNOWN = "?:"
# Noted once every exam that came before the ledger kept digests was looked at.
CHORE = "older-accessions"
RANGE = 2000
# (Study Instance UID of the exam, digest of an accession number, id of the key that this was made with)
Numbered = tuple[str, str, str]


def add_accessions(connection: sa.Connection, numbered: Iterable[Numbered]) -> None:
    """Note accession numbers of exams; those that are there stay as they are, and empty ones count for nothing."""
    coming = {(exam, digest): key_id for exam, digest, key_id in numbered if digest}
    for some in in_chunks(sorted({exam for exam, _ in coming})):
        rows = connection.execute(
            sa.select(accessions.c.exam_uid, accessions.c.accession_key).where(accessions.c.exam_uid.in_(some))
        )
        for exam, digest in rows:
            coming.pop((exam, digest), None)
    if coming:
        connection.execute(
            accessions.insert(),
            [
                {"exam_uid": exam, "accession_key": digest, "key_id": key_id}
                for (exam, digest), key_id in sorted(coming.items())
            ],
        )


def exams_of(connection: sa.Connection, digests: Collection[str]) -> list[str]:
    """Study Instance UIDs of the exams that have one of these accession numbers."""
    query = sa.select(accessions.c.exam_uid).where(accessions.c.accession_key.in_(list(digests))).distinct()
    return list(connection.execute(query).scalars())


def without_number(connection: sa.Connection, after: str, most: int) -> tuple[list[tuple[str, str]], str]:
    """Exams for which nothing is noted, by id from `after` on: (id, Study Instance UID), and where to go on from; that
    is empty at the end. Looks at one range of ids, however many exams there are.
    """
    query = sa.select(studies.c.id, studies.c.study_uid).where(studies.c.id > after).order_by(studies.c.id)
    rows = connection.execute(query.limit(RANGE)).all()
    noted: set[str] = set()
    for some in in_chunks([row.study_uid for row in rows]):
        noted |= set(
            connection.execute(sa.select(accessions.c.exam_uid).where(accessions.c.exam_uid.in_(some))).scalars()
        )
    lacking = [(row.id, row.study_uid) for row in rows if row.study_uid not in noted]
    if len(lacking) > most:
        return lacking[:most], lacking[most - 1][0]
    return lacking, rows[-1].id if len(rows) == RANGE else ""


def is_complete(connection: sa.Connection) -> bool:
    """Whether every exam that came before the ledger kept digests was looked at."""
    return connection.execute(sa.select(chores.c.name).where(chores.c.name == CHORE)).first() is not None


def unknown(connection: sa.Connection) -> int:
    """Of how many exams no file is left that has the number."""
    query = sa.select(sa.func.count()).select_from(accessions).where(accessions.c.accession_key == UNKNOWN)
    return int(connection.execute(query).scalar_one())


def move_accessions(connection: sa.Connection, exam_uid: str, to: str) -> None:
    """The numbers of an exam that was filed under another one lead there."""
    rows = connection.execute(sa.select(accessions).where(accessions.c.exam_uid == exam_uid)).all()
    add_accessions(connection, [(to, row.accession_key, row.key_id) for row in rows])
    connection.execute(accessions.delete().where(accessions.c.exam_uid == exam_uid))
