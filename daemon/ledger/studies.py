"""Studies and their revisions: judged, moved, superseded."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon.assembly import Stored, Verdict, input_digest
from daemon.ledger.engine import new_id, note
from daemon.ledger.states import REVISION, STUDY, check
from daemon.ledger.tables import deliveries, instances, revisions, studies
from pipeline.catalog import facts_from_json


def to_judge(connection: sa.Connection, now: float) -> list[Any]:
    """Studies with arrivals since the last judgement, or whose time to look again has come."""
    return list(
        connection.execute(
            sa.select(studies)
            .where(studies.c.dirty | (studies.c.due_at <= now), studies.c.state != "cancelled")
            .order_by(studies.c.last_arrival_at)
        ).all()
    )


def stored_of(connection: sa.Connection, study_uid: str) -> list[Stored]:
    """Every stored instance of an exam."""
    rows = connection.execute(
        sa.select(instances)
        .where(instances.c.exam_uid == study_uid, instances.c.state == "stored")
        .order_by(instances.c.id)
    ).all()
    return [Stored(r.id, facts_from_json(r.facts), r.digest, r.received_at) for r in rows]


def apply(connection: sa.Connection, study: Any, verdict: Verdict, now: float) -> str | None:
    """Write a verdict on `study` (a row as read when it was judged). Returns the id of a new revision, if any.

    Compare-and-swap on the last arrival: if something arrived while we judged, nothing is written and the study
    stays dirty.
    """
    values: dict[str, Any] = {
        "dirty": verdict.state == "assembling",
        "due_at": verdict.due_at,
        "flagged": verdict.flagged,
    }
    if verdict.state == "assembling":
        values["dirty"] = False
    if verdict.role is not None and study.role == "current":
        values["role"] = verdict.role
    revision_id = None
    if verdict.state == "ready":
        revision_id = _new_revision(connection, study, verdict, now, values)
    elif verdict.state == "held" or _latest(connection, study.id) is None:
        # A study with a revision to which something incomplete was added keeps its revision and its state.
        _move(values, study, verdict, now)
    done = connection.execute(
        studies.update()
        .where(studies.c.id == study.id, studies.c.last_arrival_at == study.last_arrival_at)
        .values(**values)
    )
    if done.rowcount != 1:
        raise Overtaken
    if "state" in values and values["state"] != study.state:
        note(connection, now, values["state"], verdict.reason, study_id=study.id)
    return revision_id


class Overtaken(Exception):
    """Something arrived between judging and writing; judge again."""


def _move(values: dict[str, Any], study: Any, verdict: Verdict, now: float) -> None:
    if study.state != verdict.state:
        check(STUDY, study.state, verdict.state)
        values["changed_at"] = now
    values |= {"state": verdict.state, "reason": verdict.reason, "reason_code": verdict.code}


def _latest(connection: sa.Connection, study_id: str) -> Any:
    return connection.execute(
        sa.select(revisions).where(revisions.c.study_id == study_id).order_by(revisions.c.number.desc()).limit(1)
    ).one_or_none()


def _new_revision(
    connection: sa.Connection, study: Any, verdict: Verdict, now: float, values: dict[str, Any]
) -> str | None:
    role = values.get("role", study.role)
    digest = input_digest(verdict.inputs, study.redo)
    latest = _latest(connection, study.id)
    if latest is not None and latest.input_digest == digest:
        return None  # nothing that matters has changed
    if role == "prior":
        values |= {
            "state": "expired",
            "reason": "a prior exam: kept, not reported",
            "reason_code": "prior",
            "changed_at": now,
        }
        return None
    if latest is not None:
        supersede(connection, latest, now)
    revision_id = new_id()
    connection.execute(
        revisions.insert().values(
            id=revision_id,
            study_id=study.id,
            number=1 if latest is None else latest.number + 1,
            input_digest=digest,
            inputs={"selected": [list(pair) for pair in verdict.inputs], "context": list(verdict.context)},
            state="ready",
            stage="analyse",
            created_at=now,
            next_attempt_at=now,
        )
    )
    check(STUDY, study.state, "ready")
    values |= {"state": "ready", "reason": "", "reason_code": "", "changed_at": now}
    note(connection, now, "revision", f"revision {1 if latest is None else latest.number + 1}", study.id, revision_id)
    return revision_id


def supersede(connection: sa.Connection, revision: Any, now: float) -> None:
    """Newer inputs replace this revision. What of it was not delivered is cancelled; its lease is void by the fence."""
    check(REVISION, revision.state, "superseded")
    connection.execute(
        revisions.update()
        .where(revisions.c.id == revision.id)
        .values(
            state="superseded", stage="done", fence=revisions.c.fence + 1, owner=None, lease_until=None, finished_at=now
        )
    )
    connection.execute(
        deliveries.update()
        .where(deliveries.c.revision_id == revision.id, deliveries.c.state.in_(("pending", "sending", "failed")))
        .values(state="cancelled", reason="superseded by newer inputs", fence=deliveries.c.fence + 1, lease_until=None)
    )
    note(connection, now, "superseded", study_id=revision.study_id, revision_id=revision.id)


def move_study(
    connection: sa.Connection, study_id: str, state: str, now: float, reason: str = "", code: str = ""
) -> None:
    """Follow a revision: a study shows the state of its newest one."""
    row = connection.execute(sa.select(studies.c.state).where(studies.c.id == study_id)).one()
    check(STUDY, row.state, state)
    connection.execute(
        studies.update()
        .where(studies.c.id == study_id)
        .values(state=state, reason=reason, reason_code=code, changed_at=now)
    )


def settle_if_delivered(connection: sa.Connection, revision_id: str, now: float) -> None:
    """When the last delivery of a revision is proven, the revision and its study are delivered."""
    revision = connection.execute(sa.select(revisions).where(revisions.c.id == revision_id)).one()
    rows = (
        connection.execute(sa.select(deliveries.c.state).where(deliveries.c.revision_id == revision_id)).scalars().all()
    )
    if revision.state != "reported" or any(state not in ("delivered", "refused", "cancelled") for state in rows):
        return
    connection.execute(
        revisions.update().where(revisions.c.id == revision_id).values(state="delivered", finished_at=now)
    )
    move_study(connection, revision.study_id, "delivered", now)
    note(connection, now, "delivered", study_id=revision.study_id, revision_id=revision_id)


def find(connection: sa.Connection, name: str) -> Any:
    """A study by opaque id or Study Instance UID, or None."""
    return connection.execute(
        sa.select(studies).where((studies.c.id == name) | (studies.c.study_uid == name))
    ).one_or_none()
