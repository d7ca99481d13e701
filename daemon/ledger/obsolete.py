"""What belongs to destinations and archives that are no longer configured is closed with that reason.

A name counts as gone when neither these settings nor those of any worker that is alive have it: while machines are
restarted one after the other with new settings, nobody closes what another one has just opened.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from config.schema import Settings
from daemon.ledger import fetches as ledger_fetches
from daemon.ledger import heartbeats
from daemon.ledger.engine import note
from daemon.ledger.moves import move
from daemon.ledger.states import DEAD_LETTER, FETCH_OPEN, NEVER_DELIVERED, NOT_DELIVERED, SETTLED
from daemon.ledger.studies import settle_if_delivered
from daemon.ledger.tables import breakers, deliveries, fetches, pacs_answers, revisions, studies
from pipeline.errors import InputRejected

# In one round; the next goes on.
CLOSED_AT_ONCE = 200
CODE = "destination-gone"


def names_of(settings: Settings) -> dict[str, list[str]]:
    """Names of the configured destinations and archives, for a worker's sign of life."""
    return {"destinations": [d.name for d in settings.destination], "archives": [p.name for p in settings.pacs]}


def names_in_use(connection: sa.Connection, settings: Settings, kind: str, now: float) -> set[str]:
    """Names (`destinations` or `archives`) in the settings of this process or of any worker that is alive."""
    names = set(names_of(settings)[kind])
    for row in heartbeats.signs_of(connection, "worker", now - heartbeats.WORKER_GONE_S):
        names.update(row.detail.get(kind, ()))
    return names


def close(connection: sa.Connection, settings: Settings, now: float) -> int:
    """Close what belongs to destinations and archives that are gone; how much that was."""
    return _destinations(connection, settings, now) + _archives(connection, settings, now)


def _destinations(connection: sa.Connection, settings: Settings, now: float) -> int:
    in_use = names_in_use(connection, settings, "destinations", now)
    waiting = sa.select(deliveries.c.destination).where(deliveries.c.state.in_(NOT_DELIVERED)).distinct()
    closed = 0
    for name in connection.execute(waiting).scalars().all():
        if name not in in_use:
            closed += close_deliveries(connection, name, why_gone(name), now, NOT_DELIVERED)
    silent = connection.execute(sa.select(breakers.c.destination)).scalars().all()
    for name in set(silent) - in_use:
        connection.execute(breakers.delete().where(breakers.c.destination == name))
    return closed


def why_gone(name: str) -> str:
    return f"no [[destination]] is named {name} any more"


def close_deliveries(connection: sa.Connection, name: str, reason: str, now: float, states: Iterable[str]) -> int:
    """Close deliveries to a destination; a worker at one loses its claim. How many: `CLOSED_AT_ONCE` at most."""
    rows = connection.execute(
        sa.select(deliveries.c.id, deliveries.c.revision_id, revisions.c.study_id)
        .join(revisions, revisions.c.id == deliveries.c.revision_id)
        .where(deliveries.c.destination == name, deliveries.c.state.in_(tuple(states)))
        .order_by(deliveries.c.created_at, deliveries.c.id)
        .limit(CLOSED_AT_ONCE)
    ).all()
    for row in rows:
        move(connection, "delivery", row.id, "cancelled", {"reason": reason, "finished_at": now}, void_lease=True)
        note(connection, now, "delivery-closed", f"{name}: {reason}", row.study_id, row.revision_id)
        settle_if_delivered(connection, row.revision_id, now)
        _say_if_nobody_has_it(connection, row.study_id, row.revision_id)
    return len(rows)


def _say_if_nobody_has_it(connection: sa.Connection, study_id: str, revision_id: str) -> None:
    """Give the study its reason where no destination has taken its report and none is left to take it."""
    states = connection.execute(sa.select(deliveries.c.state).where(deliveries.c.revision_id == revision_id))
    if set(states.scalars()) <= set(NEVER_DELIVERED):
        connection.execute(
            studies.update()
            .where(studies.c.id == study_id, studies.c.state == "reported")
            .values(
                reason="no destination has the report, and none is left that it waits for; "
                f"`axrad deliver {study_id} --to NAME` sends it",
                reason_code=CODE,
            )
        )


def _archives(connection: sa.Connection, settings: Settings, now: float) -> int:
    in_use = names_in_use(connection, settings, "archives", now)
    sources = [p.name for p in ledger_fetches.sources(settings)]
    is_open = fetches.c.state.in_(FETCH_OPEN) & (fetches.c.kind != "ask")
    closed = 0
    if in_use <= set(names_of(settings)["archives"]):
        # Otherwise a worker that is alive may know archives that are not known here.
        closed += _fetches(connection, is_open, sources, now)
    answers = connection.execute(sa.select(pacs_answers.c.pacs).distinct()).scalars().all()
    for name in set(answers) - in_use:
        exams = sa.select(pacs_answers.c.exam_uid).where(pacs_answers.c.pacs == name)
        # What it said of an exam counts no more: those that are still judged are judged without it.
        connection.execute(
            studies.update().where(studies.c.study_uid.in_(exams), studies.c.state.not_in(SETTLED)).values(dirty=True)
        )
        connection.execute(pacs_answers.delete().where(pacs_answers.c.pacs == name))
        closed += 1
    return closed


def _fetches(connection: sa.Connection, is_open: sa.ColumnElement[bool], sources: list[str], now: float) -> int:
    """Close open fetches where no archive is configured; otherwise name the archives as they are now."""
    if sources:
        renamed = fetches.update().where(is_open, fetches.c.kind == "images", fetches.c.pacs != " or ".join(sources))
        connection.execute(renamed.values(pacs=" or ".join(sources)))
        return 0
    rows = connection.execute(sa.select(fetches.c.id, fetches.c.study_id).where(is_open).limit(CLOSED_AT_ONCE)).all()
    reason = "no [[pacs]] can be fetched from any more"
    for row in rows:
        move(connection, "fetch", row.id, "cancelled", {"reason": reason, "finished_at": now}, void_lease=True)
        note(connection, now, "fetch-closed", reason, row.study_id)
        connection.execute(studies.update().where(studies.c.id == row.study_id).values(dirty=True))
    return len(rows)


def require_heard_of(connection: sa.Connection, settings: Settings, name: str) -> None:
    """Raise InputRejected for a name that no destination has or had: a typing error."""
    configured = names_of(settings)["destinations"]
    delivered_to = connection.execute(sa.select(deliveries.c.destination).distinct()).scalars().all()
    if name not in {*configured, *delivered_to}:
        listed = ", ".join(sorted({*configured, *delivered_to})) or "none"
        raise InputRejected(f'no [[destination]] is or was named "{name}"; there are: {listed}')


def forget(connection: sa.Connection, settings: Settings, name: str, now: float) -> int:
    """As an operator asks, close the dead letters of a destination and, where it is gone, all that waits for it."""
    configured = name in names_of(settings)["destinations"]
    closed = 0
    while done := close_deliveries(
        connection, name, "forgotten by an operator", now, DEAD_LETTER if configured else NOT_DELIVERED
    ):
        closed += done
    if not configured:
        connection.execute(breakers.delete().where(breakers.c.destination == name))
    return closed
