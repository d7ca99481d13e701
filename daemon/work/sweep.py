"""The sweep: judges studies that changed, and announces whatever is due. Two sweeps at once do no harm."""

from __future__ import annotations

import structlog

from daemon.assembly import judge
from daemon.ledger import studies as ledger_studies
from daemon.ledger.queue import announced, due
from daemon.work.context import Context

log = structlog.get_logger("axrad.sweep")
# A message that was sent is trusted this long before another is sent for the same row.
ANNOUNCED_S = 60.0
TASK = {"analyse": "axrad.analyse", "report": "axrad.report"}


def sweep(context: Context) -> None:
    """One tick."""
    assemble(context)
    announce_due(context)


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
    """A hint to the broker for each row that is due and not held by a worker."""
    now = context.clock()
    with context.ledger.read() as connection:
        waiting_revisions = due(connection, "revision", now, limit=100)
        waiting_deliveries = due(connection, "delivery", now, limit=100)
    for kind, rows in (("revision", waiting_revisions), ("delivery", waiting_deliveries)):
        for row in rows:
            context.announce(TASK[row.stage] if kind == "revision" else "axrad.deliver", row.id)
            with context.ledger.write() as connection:
                announced(connection, kind, row.id, now + ANNOUNCED_S)
