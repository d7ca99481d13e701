"""The sweep: judges studies that changed, and announces whatever is due. Two sweeps at once do no harm."""

from __future__ import annotations

import structlog

from daemon.assembly import judge
from daemon.ledger import deliveries, life
from daemon.ledger import studies as ledger_studies
from daemon.ledger.queue import announced
from daemon.work.context import Context
from daemon.work.dispatch import ANNOUNCED_S, dispatch_revisions

log = structlog.get_logger("axrad.sweep")
SIGN_EVERY_S = 10.0


def sweep(context: Context) -> None:
    """One tick."""
    assemble(context)
    dispatch_revisions(context)
    announce_due(context)
    _sign(context)


def assemble(context: Context) -> None:
    """Judge every study that has changed or whose time has come; one transaction each."""
    with context.ledger.read() as connection:
        rows = ledger_studies.to_judge(connection, context.clock())
    for row in rows:
        now = context.clock()
        with context.ledger.read() as connection:
            stored = ledger_studies.stored_of(connection, row.study_uid)
        verdict = judge(row.study_uid, stored, row.last_arrival_at, now, context.settings, row.identity_accepted)
        try:
            with context.ledger.write() as connection:
                ledger_studies.apply(connection, row, verdict, now)
        except ledger_studies.Overtaken:
            continue
        if verdict.state != row.state:
            log.info("assembly", study=row.id, state=verdict.state, code=verdict.code or None)


def announce_due(context: Context) -> None:
    """A hint to the broker for each delivery that is due and not held by a worker."""
    now = context.clock()
    with context.ledger.read() as connection:
        waiting_deliveries = deliveries.due(connection, context.settings, now, limit=100)
    for row in waiting_deliveries:
        context.announce("axrad.deliver", row.id)
        with context.ledger.write() as connection:
            announced(connection, "delivery", row.id, now + ANNOUNCED_S)


def _sign(context: Context) -> None:
    """That sweeps happen is worth knowing; every tick of them is not worth a write."""
    now = context.clock()
    with context.ledger.read() as connection:
        before = life.last(connection, "sweep")
    if before is None or now - before.at >= SIGN_EVERY_S:
        with context.ledger.write() as connection:
            life.sign(connection, "sweep", "sweep", now)
