"""What people should be told of: things that happened to studies, and states that last. Read from ledger and disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from config.schema import Settings
from daemon.ledger import life
from daemon.ledger.deliveries import failing
from daemon.ledger.tables import events, revisions, studies

# Kinds of trouble, in words; each has a section in docs/operations.md.
WORDS = {
    "failed": "exams were set aside after errors",
    "not_evaluated": "exams could not be evaluated",
    "held": "exams are held for an operator",
    "dead_letter": "deliveries were set aside",
    "disk": "the spool's disk is nearly full",
    "peer_down": "a destination does not answer",
    "no_workers": "exams are queued and nobody works on them",
}
# Event of the timeline → kind of trouble.
OF_EVENT = {
    "failed": "failed",
    "not_evaluated": "not_evaluated",
    "held": "held",
    "delivery-failed": "dead_letter",
}
EVENT_KINDS = tuple(dict.fromkeys(OF_EVENT.values()))
# How long exams are queued without a worker before that is trouble: starting everything takes a while.
NO_WORKERS_S = 120.0


@dataclass(frozen=True, slots=True)
class Happened:
    """One event: the study by opaque id, and why by code alone. A reason in words may quote a label."""

    event_id: int
    study: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Lasting:
    """A state that is trouble for as long as it lasts. `subject` tells two of a kind apart; `text` is a sentence."""

    kind: str
    subject: str
    text: str


def newest_event(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.max(events.c.id))).scalar_one() or 0)


def happened(connection: sa.Connection, kind: str, after: int, limit: int = 500) -> list[Happened]:
    """Trouble of one kind in the timeline after an event, oldest first."""
    of_study = studies.c.reason_code.label("of_study")
    rows = connection.execute(
        sa.select(events.c.id, events.c.kind, events.c.study_id, revisions.c.reason_code, of_study)
        .outerjoin(revisions, revisions.c.id == events.c.revision_id)
        .outerjoin(studies, studies.c.id == events.c.study_id)
        .where(events.c.id > after, events.c.kind.in_([e for e, k in OF_EVENT.items() if k == kind]))
        .order_by(events.c.id)
        .limit(limit)
    ).all()
    return [Happened(r.id, r.study_id or "", (r.of_study if r.kind == "held" else r.reason_code) or "") for r in rows]


def lasting(connection: sa.Connection, settings: Settings, now: float) -> Iterator[Lasting]:
    """States that are trouble now."""
    spool = settings.spool
    if spool.path.exists():
        free = shutil.disk_usage(spool.path).free
        if free < spool.warn_free_bytes:
            what = "senders are refused" if free < spool.refuse_free_bytes else "senders will be refused soon"
            yield Lasting("disk", "spool", f"{free / 1024**3:.1f} GiB are left for the spool: {what}")
    for down in failing(connection):
        destination = next((d for d in settings.destination if d.name == down["destination"]), None)
        if destination is None or down["failures"] < destination.breaker_failures:
            continue
        minutes = (now - down["failing_since"]) / 60
        text = f"{down['destination']} has not taken results for {minutes:.0f} min; they wait and are sent when it does"
        yield Lasting("peer_down", down["destination"], text)
    yield from _no_workers(connection, now)


def _no_workers(connection: sa.Connection, now: float) -> Iterator[Lasting]:
    waiting, oldest = connection.execute(
        sa.select(sa.func.count(), sa.func.min(studies.c.changed_at)).where(studies.c.state == "ready")
    ).one()
    if waiting and now - oldest > NO_WORKERS_S and not life.slots(connection, "analyse", now):
        yield Lasting("no_workers", "analyse", f"{waiting} exams are queued and no worker takes them")
