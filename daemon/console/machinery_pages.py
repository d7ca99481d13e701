"""Destinations and workers: what the machinery is, and whether it works."""

from __future__ import annotations

import time

import sqlalchemy as sa
from starlette.responses import Response

from config.schema import Destination, Settings
from daemon.console.order_pages import carried_out
from daemon.console.visit import Visit
from daemon.export.association import address_of
from daemon.ledger import deliveries, heartbeats, tallies, work_order
from daemon.ledger.rows import JsonObject, RevisionRow, rows_where
from daemon.ledger.tables import breakers, revisions
from pipeline.errors import InputRejected


def destinations(visit: Visit) -> Response:
    """Every destination: what goes there and how, what waits, whether it fails and since when."""
    now = time.time()
    with visit.state.ledger.read() as connection:
        failing = {
            row.destination: row for row in connection.execute(sa.select(breakers).where(breakers.c.failures > 0))
        }
        counted: dict[str, dict[str, int]] = {}
        for tally in tallies.tallied(connection, "delivery"):
            counted.setdefault(tally.subject, {})[tally.state] = tally.number
        letters = deliveries.dead_letters(connection)
    visit.viewed("destinations")
    shown = [
        {
            "name": destination.name,
            "where": _where(destination, visit.settings),
            "what": destination.what,
            "proof": destination.proof,
            "counts": counted.get(destination.name, {}),
            "failing": failing.get(destination.name),
            "letters": [letter for letter in letters if letter["destination"] == destination.name][:5],
        }
        for destination in visit.settings.destination
    ]
    return visit.render("destinations.html", section="destinations", destinations=shown, now=now)


def _where(destination: Destination, settings: Settings) -> str:
    address = address_of(destination, settings)
    return f"{address.ae_title} {address.host}:{address.port}"


def test_destination(visit: Visit) -> Response:
    """Ask a destination for what a delivery uses of it; nothing changes there."""
    name = visit.named["name"]
    if name not in {d.name for d in visit.settings.destination}:
        raise InputRejected("there is no such destination", code="no-such-destination")
    return carried_out(visit, "test-destination", ["doctor", f"--destination={name}"], "/destinations")


def workers(visit: Visit) -> Response:
    """Every worker that has given a sign of life, and every exam that one holds."""
    now = time.time()
    with visit.state.ledger.read() as connection:
        signs = heartbeats.signs_of(connection, "worker", now - heartbeats.WORKER_GONE_S)
        held = rows_where(
            connection, RevisionRow, revisions.c.lease_until >= now, order_by=[revisions.c.lease_until], limit=200
        )
        running, announced = work_order.under_way(connection, now)
        last_sweep = heartbeats.last_sign(connection, "sweep")
    visit.viewed("workers")
    listed: list[JsonObject] = [{"name": s.name, "seen_s": now - s.at, **s.detail} for s in signs]
    return visit.render(
        "workers.html", section="workers", workers=listed, held=held, running=running, announced=announced,
        sweep_s=None if last_sweep is None else now - last_sweep.at, now=now,
        flower_url=visit.settings.console.flower_url,
    )  # fmt: skip
