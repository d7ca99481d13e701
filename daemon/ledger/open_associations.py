"""Associations that are still open, and the exam that each has brought last: it is still arriving."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from daemon.ledger.chunks import in_chunks
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


def associations_ended(connection: sa.Connection, names: Sequence[str]) -> None:
    """Associations were released or aborted, or their processes are gone: what each brought last can be judged."""
    theirs = open_associations.c.name.in_(names)
    exams = connection.execute(sa.select(open_associations.c.exam_uid).where(theirs)).scalars().all()
    if not exams:
        return
    connection.execute(open_associations.delete().where(theirs))
    connection.execute(studies.update().where(studies.c.study_uid.in_(exams)).values(dirty=True))


class OpenAssociations:
    """The same for a batch of lines: worked out in memory, written by two statements."""

    def __init__(self, connection: sa.Connection, names: Collection[str]) -> None:
        self._connection = connection
        self._changed: set[str] = set()
        # By name: the exam and the time of what came last.
        self._now: dict[str, tuple[str, float]] = {}
        for some in in_chunks(sorted(names)):
            for row in connection.execute(sa.select(open_associations).where(open_associations.c.name.in_(some))):
                self._now[row.name] = (row.exam_uid, row.last_at)

    @property
    def exams(self) -> set[str]:
        """What they have brought last."""
        return {exam_uid for exam_uid, _ in self._now.values()}

    def arriving(self, association: str, exam_uid: str, at: float) -> None:
        self._now[association] = (exam_uid, at)
        self._changed.add(association)

    def sending(self, association: str, at: float) -> None:
        if association in self._now:
            self.arriving(association, self._now[association][0], at)

    def end(self, association: str) -> str | None:
        """The exam that can be judged now."""
        if association not in self._now:
            return None
        self._changed.add(association)
        return self._now.pop(association)[0]

    def write(self) -> None:
        for some in in_chunks(sorted(self._changed)):
            self._connection.execute(open_associations.delete().where(open_associations.c.name.in_(some)))
        rows = [
            {"name": name, "exam_uid": self._now[name][0], "last_at": self._now[name][1]}
            for name in sorted(self._changed & self._now.keys())
        ]
        if rows:
            self._connection.execute(open_associations.insert(), rows)
