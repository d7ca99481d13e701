"""Associations that are still open, and the exam that each has brought last: it is still arriving."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.ledger.tables import open_associations, studies


def still_arriving(connection: sa.Connection, association: str, exam_uid: str, at: float) -> None:
    """The last instance of an open association was of this exam."""
    done = connection.execute(
        open_associations.update().where(open_associations.c.name == association).values(exam_uid=exam_uid, last_at=at)
    )
    if done.rowcount == 0:
        connection.execute(open_associations.insert().values(name=association, exam_uid=exam_uid, last_at=at))


def still_sending(connection: sa.Connection, association: str, at: float) -> None:
    """An open association that has brought part of an exam is still sending, even if axrad does not use it."""
    connection.execute(open_associations.update().where(open_associations.c.name == association).values(last_at=at))


def association_ended(connection: sa.Connection, association: str) -> None:
    """The association was released or aborted, or its process is gone: the exam that it brought last can be judged."""
    exam_uid = connection.execute(
        sa.select(open_associations.c.exam_uid).where(open_associations.c.name == association)
    ).scalar_one_or_none()
    if exam_uid is None:
        return
    connection.execute(open_associations.delete().where(open_associations.c.name == association))
    connection.execute(studies.update().where(studies.c.study_uid == exam_uid).values(dirty=True))
