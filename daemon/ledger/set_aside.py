"""Files whose readers died: listed for people, and their instances are not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from daemon.ledger.engine import note
from daemon.ledger.moves import move
from daemon.ledger.rows import InstanceRow, JsonObject, row_where
from daemon.ledger.spools import forget_copies
from daemon.ledger.states import READABLE, CountsAs
from daemon.ledger.studies import study_id_of
from daemon.ledger.tables import instances, set_aside, studies

# The note on the row of such an instance.
NOTE = "set aside: its readers died of it"


@dataclass(frozen=True, slots=True)
class SetAsideFile:
    """A file that is set aside: which instance it is, and what became of its readers."""

    key: str
    sop_uid: str
    digest: str
    signal: str
    deaths: int
    who: str

    @property
    def reason(self) -> str:
        return f"{self.deaths} processes ({self.who}) died while they read it: {self.signal}"


def record(connection: sa.Connection, poison: SetAsideFile, now: float) -> None:
    """Record a file that is set aside. Its instance is not used any more. Safe to repeat."""
    row = _instance(connection, poison.sop_uid, poison.digest)
    study_id = study_id_of(connection, row.exam_uid) if row is not None and row.exam_uid else None
    sender = {"calling_ae": row.calling_ae, "study_id": study_id} if row is not None else {}
    known = connection.execute(sa.select(set_aside.c.key).where(set_aside.c.key == poison.key)).one_or_none()
    if known is None:
        values = {
            "key": poison.key,
            "sop_uid": poison.sop_uid,
            "digest": poison.digest,
            "signal": poison.signal[:64],
            "reason": poison.reason,
            "at": now,
        }
        connection.execute(set_aside.insert().values(**values, **sender))
        note(connection, now, "set-aside", f"instance {poison.sop_uid}: {poison.reason}", study_id)
    elif sender:
        connection.execute(set_aside.update().where(set_aside.c.key == poison.key).values(**sender))
    if row is not None and row.state in READABLE:
        move(
            connection,
            "instance",
            row.id,
            "unreadable",
            {"note": NOTE, "counts_as": row.counts_as or CountsAs.SET_ASIDE},
        )


def take_up(connection: sa.Connection, sop_uid: str, digest: str, now: float) -> bool:
    """Use an instance again whose file was set aside; False if it was not set aside."""
    done = connection.execute(set_aside.delete().where(set_aside.c.sop_uid == sop_uid, set_aside.c.digest == digest))
    row = _instance(connection, sop_uid, digest)
    if done.rowcount == 0 or row is None or row.state != "unreadable":
        return done.rowcount > 0
    if not row.facts:
        # Its facts were never read: it is indexed as if it had just arrived.
        forget_copies(connection, [row.id])
        connection.execute(instances.delete().where(instances.c.id == row.id))
        return True
    if row.counts_as != CountsAs.SET_ASIDE:
        move(connection, "instance", row.id, "ignored", {"note": ""})
        return True
    move(connection, "instance", row.id, "stored", {"note": "", "counts_as": ""})
    connection.execute(
        studies.update().where(studies.c.study_uid == row.exam_uid, studies.c.state != "cancelled").values(dirty=True)
    )
    note(connection, now, "taken-up", f"instance {sop_uid} is read again", study_id_of(connection, row.exam_uid))
    return True


def known(connection: sa.Connection, keys: Sequence[str]) -> dict[str, str]:
    """Those of the keys that the ledger has, each with the sender as far as it is known."""
    query = sa.select(set_aside.c.key, set_aside.c.calling_ae).where(set_aside.c.key.in_(keys))
    return {row.key: row.calling_ae for row in connection.execute(query)}


def listed(connection: sa.Connection, study_id: str | None = None, limit: int = 100) -> list[JsonObject]:
    """What is set aside, the newest first: of one study, or of all."""
    query = sa.select(set_aside).order_by(set_aside.c.at.desc(), set_aside.c.key).limit(limit)
    if study_id is not None:
        query = query.where(set_aside.c.study_id == study_id)
    return [
        {
            "sop_instance_uid": row.sop_uid,
            "digest": row.digest,
            "calling_ae": row.calling_ae,
            "study": row.study_id,
            "signal": row.signal,
            "reason": row.reason,
            "at": row.at,
        }
        for row in connection.execute(query).all()
    ]


def count(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(set_aside)).scalar_one())


def _instance(connection: sa.Connection, sop_uid: str, digest: str) -> InstanceRow | None:
    return row_where(connection, InstanceRow, instances.c.sop_uid == sop_uid, instances.c.digest == digest)
