"""Deliveries in the ledger: which may be tried now, what became of them, what proves them.

One sender at a time per delivery (a claim), a few at a time per destination, and only one probe now and then to a
destination that keeps failing: a dead archive holds neither the workers nor the other destinations.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from config.schema import Destination, Settings
from daemon.export.statuses import PRESENT, STORED
from daemon.ledger.claims import OPEN, Claim, backoff_s, claim, to_announce
from daemon.ledger.moves import move, queued_anew
from daemon.ledger.rows import BreakerRow, DeliveryRow, JsonObject, SentObjectRow, row_where, rows_where
from daemon.ledger.states import DEAD_LETTER
from daemon.ledger.tables import breakers, deliveries, revisions, sent_objects
from dicom_sr.kinds import REPORT_KINDS, kind_of

# Attempts are bounded by the destination's patience, not by the queue.
UNLIMITED = 10**9
DAY_S = 86400.0


def destination_named(settings: Settings, name: str) -> Destination | None:
    return next((d for d in settings.destination if d.name == name), None)


# What may be tried


def due(connection: sa.Connection, settings: Settings, now: float, limit: int, only: str = "") -> list[DeliveryRow]:
    """Deliveries to announce to workers: due, unclaimed, at most as many as their destination has room for."""
    names = [only]
    if not only:
        waiting = sa.select(deliveries.c.destination).where(OPEN["delivery"] & (deliveries.c.next_attempt_at <= now))
        names = list(connection.execute(waiting.distinct().order_by(deliveries.c.destination)).scalars())
    rows: list[DeliveryRow] = []
    for name in names:
        room = min(_places_left(connection, destination_named(settings, name), name, now), limit - len(rows))
        if room <= 0:
            continue
        to_it = deliveries.c.destination == name
        order = [deliveries.c.next_attempt_at, deliveries.c.created_at]
        rows += rows_where(connection, DeliveryRow, to_announce("delivery", now), to_it, order_by=order, limit=room)
    return rows


def take(connection: sa.Connection, delivery_id: str, owner: str, now: float, settings: Settings) -> Claim | None:
    """Claim one delivery; None if it is not due, is claimed already, or its destination has no room now."""
    name = connection.execute(
        sa.select(deliveries.c.destination).where(deliveries.c.id == delivery_id)
    ).scalar_one_or_none()
    if name is None:
        return None
    _one_at_a_time(connection, name)
    if _places_left(connection, destination_named(settings, name), name, now) <= 0:
        connection.execute(deliveries.update().where(deliveries.c.id == delivery_id).values(enqueued_until=None))
        return None
    return claim(connection, "delivery", delivery_id, owner, now, settings.work.lease_s, UNLIMITED)


def _one_at_a_time(connection: sa.Connection, name: str) -> None:
    """Keep two workers from both taking the last place. On SQLite only one transaction writes at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(4217002, :n)"), {"n": zlib.crc32(name.encode()) >> 1})


def _places_left(connection: sa.Connection, destination: Destination | None, name: str, now: float) -> int:
    """How many more deliveries to this destination may be under way now."""
    # One that is no longer configured is claimed and set aside with that reason.
    most = destination.at_once if destination is not None else 1
    breaker = row_where(connection, BreakerRow, breakers.c.destination == name)
    if breaker is not None and breaker.failures:
        most = 0 if breaker.open_until is not None and breaker.open_until > now else 1
    under_way = connection.execute(
        sa.select(sa.func.count())
        .select_from(deliveries)
        .where(deliveries.c.destination == name, OPEN["delivery"], deliveries.c.lease_until >= now)
    ).scalar_one()
    return most - int(under_way)


# The circuit breaker


def destination_failed(
    connection: sa.Connection, destination: Destination, reason: str, now: float, jitter: float
) -> None:
    """Count a failure to reach the destination; after several in a row it is left alone, each time longer."""
    row = row_where(connection, BreakerRow, breakers.c.destination == destination.name, lock=True)
    failures = (row.failures if row is not None else 0) + 1
    values: dict[str, object] = {"failures": failures, "reason": reason, "open_until": None}
    if failures >= destination.breaker_failures:
        pause = backoff_s(destination.breaker_pause_s, failures - destination.breaker_failures + 1)
        values["open_until"] = now + min(pause, destination.backoff_max_s) * jitter
    if row is None:
        connection.execute(breakers.insert().values(destination=destination.name, failing_since=now, **values))
        return
    if row.failures == 0:
        values["failing_since"] = now
    connection.execute(breakers.update().where(breakers.c.destination == destination.name).values(**values))


def destination_answered(connection: sa.Connection, name: str, now: float) -> None:
    """The destination answered: close its breaker and make the deliveries that waited for it due at once."""
    done = connection.execute(
        breakers.update()
        .where(breakers.c.destination == name, breakers.c.failures > 0)
        .values(failures=0, open_until=None, reason="")
    )
    if done.rowcount:
        connection.execute(
            deliveries.update()
            .where(
                deliveries.c.destination == name, deliveries.c.state == "pending", deliveries.c.next_attempt_at > now
            )
            .values(next_attempt_at=now, enqueued_until=None)
        )


def probe_now(connection: sa.Connection, names: Iterable[str]) -> None:
    """End the pause of these destinations, as an operator asked."""
    connection.execute(breakers.update().where(breakers.c.destination.in_(sorted(names))).values(open_until=None))


def failing(connection: sa.Connection) -> list[JsonObject]:
    """Destinations that do not answer."""
    rows = rows_where(connection, BreakerRow, breakers.c.failures > 0, order_by=[breakers.c.destination])
    return [
        {
            "destination": r.destination,
            "failures": r.failures,
            "failing_since": r.failing_since,
            "open_until": r.open_until,
            "reason": r.reason,
        }
        for r in rows
    ]


# Dead letters


def why_given_up(row: DeliveryRow, destination: Destination, now: float) -> str:
    """Why this delivery (a row as it is now) is not tried any more; empty if it is."""
    if destination.give_up_attempts is not None and row.attempts >= destination.give_up_attempts:
        return f"given up after {row.attempts} attempts"
    since = row.tried_since if row.tried_since is not None else row.created_at
    if now - since > destination.give_up_days * DAY_S:
        return f"given up after {(now - since) / DAY_S:.1f} days"
    return ""


def dead_letters(connection: sa.Connection, destination: str | None = None) -> list[JsonObject]:
    """Deliveries that were set aside, oldest first."""
    query = (
        sa.select(deliveries, revisions.c.study_id, revisions.c.number)
        .join(revisions, revisions.c.id == deliveries.c.revision_id)
        .where(deliveries.c.state.in_(DEAD_LETTER))
        .order_by(deliveries.c.finished_at, deliveries.c.id)
    )
    if destination is not None:
        query = query.where(deliveries.c.destination == destination)
    return [
        {
            "id": r.id,
            "study": r.study_id,
            "revision": r.number,
            "revision_id": r.revision_id,
            "objects": list(r.objects),
            "destination": r.destination,
            "attempts": r.attempts,
            "reason": r.reason,
            "set_aside_at": r.finished_at,
        }
        for r in connection.execute(query).all()
    ]


def send_again(connection: sa.Connection, delivery_id: str, now: float) -> None:
    """Open a finished delivery anew: everything is sent, with fresh patience. What happened stays in the events."""
    connection.execute(sent_objects.delete().where(sent_objects.c.delivery_id == delivery_id))
    unproven = {"proof": "", "reason": "", "transaction_uid": None, "stored_at": None, "proof_asks": 0}
    anew = queued_anew(now) | unproven | {"tried_since": now}
    move(connection, "delivery", delivery_id, "pending", anew, void_lease=True)


# What was sent


def record_sent(
    connection: sa.Connection, delivery_id: str, objects: Iterable[Mapping[str, object]], now: float
) -> None:
    """Record the destination's answers, also when another worker holds the delivery by now: the objects were sent.

    Args:
        objects: kind, sop_class_uid, sop_instance_uid, status, coerced_uid, content.
    """
    for values in objects:
        place = (sent_objects.c.delivery_id == delivery_id) & (sent_objects.c.kind == values["kind"])
        done = connection.execute(sent_objects.update().where(place).values(**values, at=now, committed=None))
        if done.rowcount == 0:
            connection.execute(sent_objects.insert().values(delivery_id=delivery_id, at=now, **values))


def objects_of(connection: sa.Connection, delivery_id: str) -> dict[str, SentObjectRow]:
    """What was said of each kind of object of a delivery."""
    rows = rows_where(connection, SentObjectRow, sent_objects.c.delivery_id == delivery_id)
    return {row.kind: row for row in rows}


def forget_objects(connection: sa.Connection, delivery_id: str, kinds: Iterable[str] | None = None) -> None:
    """Forget the answers on these objects (without `kinds`: all), so that they are sent again."""
    place = sent_objects.c.delivery_id == delivery_id
    if kinds is not None:
        place &= sent_objects.c.kind.in_(list(kinds))
    connection.execute(
        sent_objects.update().where(place).values(status=None, committed=None, coerced_uid=None, content="")
    )


def forget_report(connection: sa.Connection, delivery_id: str, kind: str) -> None:
    """The report goes in another class than was planned: what was said of that one counts no more."""
    place = (sent_objects.c.delivery_id == delivery_id) & (sent_objects.c.kind == kind)
    connection.execute(sent_objects.delete().where(place))


def taken_before(
    connection: sa.Connection, study_id: str, number: int, destination: str
) -> tuple[str, dict[str, str | None]] | None:
    """Of the newest revision before `number` whose report this destination took: its id, and the names of the objects
    taken, each with the UID under which it is kept there if that is another.

    Whether it was proven does not matter here: a reader may have it.
    """
    rows = connection.execute(
        sa.select(revisions.c.id, revisions.c.number, sent_objects.c.kind, sent_objects.c.coerced_uid)
        .join(deliveries, deliveries.c.revision_id == revisions.c.id)
        .join(sent_objects, sent_objects.c.delivery_id == deliveries.c.id)
        .where(
            revisions.c.study_id == study_id,
            revisions.c.number < number,
            deliveries.c.destination == destination,
            sent_objects.c.status.in_(STORED) | sent_objects.c.content.in_(PRESENT),
        )
        .order_by(revisions.c.number.desc(), sent_objects.c.kind)
    ).all()
    newest = next((row.number for row in rows if kind_of(row.kind) in REPORT_KINDS), None)
    of_newest = [row for row in rows if row.number == newest]
    if not of_newest:
        return None
    return str(of_newest[0].id), {row.kind: row.coerced_uid for row in of_newest}
