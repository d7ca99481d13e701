"""Deliveries are opened: when a report is made, and later when an operator names a destination for it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import sqlalchemy as sa

from config.schema import Destination, Settings
from daemon.assembly.proposing import REJECTED
from daemon.export.statuses import PRESENT, STORED
from daemon.ledger.deliveries import destination_named, probe_now
from daemon.ledger.engine import new_id, note
from daemon.ledger.moves import add
from daemon.ledger.obsolete import why_gone
from daemon.ledger.rows import JsonObject, StudyRow
from daemon.ledger.states import FINISHED
from daemon.ledger.studies import newest_revision, reopen
from daemon.ledger.tables import deliveries, revisions, sent_objects
from daemon.share.exam_files import Files
from daemon.work.correction import kinds_for
from daemon.work.object_sets import number_of
from daemon.work.result_rerender import can_be_rerendered
from dicom_sr.kinds import REPORT_KINDS, kind_of
from pipeline.errors import InputRejected
from pipeline.result import StudyResult


def open_delivery(
    connection: sa.Connection,
    settings: Settings,
    destination: Destination,
    place: tuple[str, str],
    result: StudyResult,
    objects: Sequence[str],
    now: float,
    number: int,
) -> tuple[str, str]:
    """A delivery of what goes there of these objects: its id (empty: nothing does), and why it may not go.

    A preliminary result opens none where it is not asked for, one that a rejection leaves none where no report was.

    Args:
        place: the ids of study and revision.
        number: of the sets of objects of this destination.
    """
    study_id, revision_id = place
    kinds = kinds_for(destination, objects, settings, number)
    if not kinds:
        return "", ""
    withheld = why_withheld(result, destination, may_have_report(connection, study_id, revision_id, destination.name))
    if withheld:
        return "", withheld
    refused = refusal(result, destination, settings)
    delivery_id = new_id()
    add(
        connection,
        "delivery",
        "refused" if refused else "pending",
        {
            "id": delivery_id,
            "revision_id": revision_id,
            "destination": destination.name,
            "objects": kinds,
            "reason": refused,
            "created_at": now,
            "next_attempt_at": now,
        },
    )
    if refused:
        note(connection, now, "delivery-refused", f"{destination.name}: {refused}", study_id, revision_id)
    return delivery_id, refused


def why_withheld(result: StudyResult, destination: Destination, has_report: bool) -> str:
    """Why a preliminary result, or the one that a rejection leaves, does not go there; empty if it does.

    `has_report`: whether an earlier report of the study may be there.
    """
    if REJECTED in result.reason_codes:
        return "" if has_report else "it takes back a report that never went there"
    if destination.preliminary or not result.preliminary:
        return ""
    return "preliminary results go only to a [[destination]] with preliminary = true"


def may_have_report(connection: sa.Connection, study_id: str, revision_id: str, destination: str) -> bool:
    """Whether a report of another result of the study was taken there, or is on its way without an answer yet."""
    of_it = (revisions.c.study_id == study_id) & (revisions.c.id != revision_id)
    earlier = sa.select(deliveries.c.id, deliveries.c.state).join(revisions, deliveries.c.revision_id == revisions.c.id)
    rows = connection.execute(earlier.where(of_it, deliveries.c.destination == destination)).all()
    if any(row.state == "sending" for row in rows):
        return True
    taken = sent_objects.c.status.is_(None) | sent_objects.c.status.in_(STORED) | sent_objects.c.content.in_(PRESENT)
    mine = sent_objects.c.delivery_id.in_([row.id for row in rows])
    kinds = connection.execute(sa.select(sent_objects.c.kind).where(mine, taken)).scalars()
    return any(kind_of(kind) in REPORT_KINDS for kind in kinds)


def refusal(result: StudyResult, destination: Destination, settings: Settings) -> str:
    """Why this result may not go there; empty if it may."""
    if not result.demonstration or destination.allow_demonstration:
        return ""
    host = destination.host or next(p.host for p in settings.pacs if p.name == destination.pacs)
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if loopback:
        return ""
    return "results of the demonstration signature go to this machine only (allow_demonstration = true lifts this)"


def send_to(
    connection: sa.Connection, settings: Settings, files: Files, study: StudyRow, name: str, now: float
) -> str | None:
    """Open a delivery of a study's newest result to a destination that it was never meant for; the delivery's id.

    None where there is a delivery to it already. Raises InputRejected where nothing can go there.
    """
    destination = destination_named(settings, name)
    if destination is None:
        known = ", ".join(d.name for d in settings.destination) or "none"
        raise InputRejected(f"no [[destination]] is named {name}; there are: {known}")
    revision = newest_revision(connection, study.id, FINISHED)
    if revision is None:
        raise InputRejected(f"study {study.id} has no report yet")
    existing = sa.select(deliveries.c.id).where(
        deliveries.c.revision_id == revision.id, deliveries.c.destination == name
    )
    if connection.execute(existing).first() is not None:
        return None
    rendered, result = files.get(revision.id, "rendered"), files.get(revision.id, "result.json")
    if rendered is None or result is None:
        raise InputRejected(f"the finished result of study {study.id} is not kept any more")
    objects = rendered.read_text().split()
    place = (study.id, revision.id)
    facts = StudyResult.from_json(result.read_bytes())
    number = number_of(files, revision.id, name)
    delivery_id, refused = open_delivery(connection, settings, destination, place, facts, objects, now, number)
    if refused:
        raise InputRejected(f"{name}: {refused}")
    if not delivery_id:
        made = ", ".join(dict.fromkeys(map(kind_of, objects))) or "none"
        raise InputRejected(f"{name} takes {', '.join(destination.what)}; this result has {made}")
    probe_now(connection, {name})
    reopen(connection, revision, now)
    note(connection, now, "resend", f"to {name}, asked for by an operator", study.id, revision.id)
    return delivery_id


def why_not(connection: sa.Connection, settings: Settings, files: Files, letter: JsonObject) -> str:
    """Why sending a delivery that was set aside again must fail; empty if it may succeed."""
    if destination_named(settings, letter["destination"]) is None:
        return why_gone(letter["destination"])
    lacking = any(files.get(letter["revision_id"], f"{kind}.dcm") is None for kind in letter["objects"])
    if lacking and not can_be_rerendered(connection, letter["revision_id"]):
        return "the finished result is not kept any more"
    return ""
