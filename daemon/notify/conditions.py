"""What people should be told of: things that happened to studies, and states that last. Read from ledger and disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

from config.schema import Settings
from daemon.health import standing_checks
from daemon.ledger.tables import events, revisions, studies

# Kinds of trouble, in words; each has a section in docs/operations.md.
WORDS = {
    "failed": "exams were set aside after errors",
    "not_evaluated": "exams could not be evaluated",
    "held": "exams are held for an operator",
    "patient_corrected": "exams came again under another Patient ID",
    "dead_letter": "deliveries were set aside",
    "disk": "the spool's disk is nearly full",
    "peer_down": "a destination does not answer",
    "unreadable": "a file is set aside: its readers died of it",
    "no_workers": "work is queued and nobody does it",
    "stalled": "exams do not advance",
}
# Event of the timeline → kind of trouble.
OF_EVENT = {
    "failed": "failed",
    "not_evaluated": "not_evaluated",
    "held": "held",
    "delivery-failed": "dead_letter",
    "patient-corrected": "patient_corrected",
}
EVENT_KINDS = tuple(dict.fromkeys(OF_EVENT.values()))
# Code of a check (daemon.health.standing_checks) → kind of trouble.
OF_CHECK = {
    "disk": "disk",
    "inodes": "disk",
    "destination": "peer_down",
    "workers": "no_workers",
    "sweep": "stalled",
    "index": "stalled",
    "judging": "stalled",
    "rules": "stalled",
    "in-use": "stalled",
    "unreadable": "unreadable",
    "broker": "stalled",
}
# Told when it is near already; of the others when it has come.
TOLD_EARLY = ("disk", "inodes", "unreadable")
SUBJECTS = {"disk": "spool"}


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
    findings = [*standing_checks.of_machine(settings, None, now), *standing_checks.broker(settings)]
    findings += standing_checks.of_ledger(connection, settings, now)
    for finding in findings:
        kind = OF_CHECK.get(finding.code)
        if kind is None or finding.ok or (finding.level == "warn" and finding.code not in TOLD_EARLY):
            continue
        if finding.code == "sweep" and finding.value is None:
            continue  # nothing has ever been started here
        yield Lasting(kind, finding.subject or SUBJECTS.get(finding.code, finding.code), finding.sentence)
