"""By which accession numbers an exam is found: their digests, under the site's key, as of patients."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from daemon.ledger.chunks import in_chunks
from daemon.ledger.tables import accessions

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


def move_accessions(connection: sa.Connection, exam_uid: str, to: str) -> None:
    """The numbers of an exam that was filed under another one lead there."""
    rows = connection.execute(sa.select(accessions).where(accessions.c.exam_uid == exam_uid)).all()
    add_accessions(connection, [(to, row.accession_key, row.key_id) for row in rows])
    connection.execute(accessions.delete().where(accessions.c.exam_uid == exam_uid))
