"""What a batch of arrivals changes in its studies: worked out in memory, written once for each study."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import sqlalchemy as sa

from daemon.ledger.chunks import in_chunks
from daemon.ledger.engine import Note
from daemon.ledger.moves import add_all, move
from daemon.ledger.studies import Touched, study_of_first, waking
from daemon.ledger.tables import studies


class StudyTouches:
    """The studies of a batch as they are, and as its arrivals leave them. `create_or_wake` is the same for one arrival.

    Args:
        notes: events are added to it in the order in which single arrivals would write them.
    """

    def __init__(self, connection: sa.Connection, study_uids: Collection[str], notes: list[Note]) -> None:
        self._connection, self._notes = connection, notes
        self._now: dict[str, Touched] = _touched(connection, study_uids)
        self._new: dict[str, dict[str, object]] = {}
        self._changed: dict[str, dict[str, object]] = {}
        self._woken: set[str] = set()

    def id_of(self, study_uid: str) -> str | None:
        study = self._now.get(study_uid)
        return study.id if study is not None else None

    def touch(self, study_uid: str, patient: tuple[str, str], at: float, priority: int, *, backfill: bool) -> None:
        """As `daemon.ledger.studies.create_or_wake`."""
        study = self._now.get(study_uid)
        if study is None:
            columns, detail = study_of_first(study_uid, patient, at, priority, backfill=backfill)
            study = Touched(str(columns["id"]), "assembling", True, at, priority)
            self._now[study_uid], self._new[study_uid] = study, columns
            self._notes.append(Note(at, "first-instance", detail, study.id))
            return
        wake = waking(study, at, priority)
        self._notes += [Note(at, kind, detail, study.id) for kind, detail in wake.notes]
        if wake.wakes:
            self._woken.add(study_uid)
        self._now[study_uid] = replace(
            study,
            state="assembling" if wake.wakes else study.state,
            dirty=True,
            last_arrival_at=max(at, study.last_arrival_at),
            priority=max(study.priority, priority) if "priority" in wake.columns else study.priority,
        )
        self._change(study_uid, wake.columns)

    def judge_again(self, study_uid: str) -> None:
        """The study, if there is one, is looked at by the next sweep."""
        study = self._now.get(study_uid)
        if study is not None:
            self._now[study_uid] = replace(study, dirty=True)
            self._change(study_uid, {"dirty": True})

    def _change(self, study_uid: str, columns: dict[str, object]) -> None:
        of_study = self._new if study_uid in self._new else self._changed
        of_study.setdefault(study_uid, {}).update(columns)

    def write(self) -> None:
        """One statement for all new studies, one for each that was there."""
        add_all(self._connection, "study", [("assembling", columns) for columns in self._new.values()])
        for study_uid, columns in self._changed.items():
            study_id = self._now[study_uid].id
            if study_uid in self._woken:
                move(self._connection, "study", study_id, "assembling", columns)
            else:
                self._connection.execute(studies.update().where(studies.c.id == study_id).values(**columns))


def _touched(connection: sa.Connection, study_uids: Collection[str]) -> dict[str, Touched]:
    """Locked, in one order whoever asks: what is worked out from them is still true when it is written."""
    c = studies.c
    query = sa.select(c.study_uid, c.id, c.state, c.dirty, c.last_arrival_at, c.priority).order_by(c.id)
    return {
        row.study_uid: Touched(*row[1:])
        for some in in_chunks(sorted(study_uids))
        for row in connection.execute(query.where(c.study_uid.in_(some)).with_for_update())
    }
