"""`axrad.report`: render once, check, keep the bytes, and open one delivery per destination."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import structlog

from daemon.assembly.proposing import REJECTED
from daemon.export.send_outcome import items_of
from daemon.ledger.claims import OPEN, Claim, LeaseLost, release
from daemon.ledger.engine import note
from daemon.ledger.rows import RevisionRow, StudyRow
from daemon.ledger.studies import move_study, settle_if_delivered
from daemon.ledger.tables import deliveries, instances
from daemon.metrics.results import result_made
from daemon.work import correction, object_sets
from daemon.work.audit_events import results_created
from daemon.work.context import Context, renewing_lease
from daemon.work.delivery_opening import open_delivery
from daemon.work.exam_source import source_of
from daemon.work.failure import TaskFailed, code_of, revision_failed
from daemon.work.result_rerender import ResultsGone, send_back_to_analysis
from daemon.work.revision_claim import take_revision
from daemon.work.revision_exam import exam_of_revision
from dicom_sr import render
from dicom_sr.report_classes import further_kinds
from dicom_sr.report_source import ReportSource
from pipeline.errors import TryLater
from pipeline.pictures import load_panels
from pipeline.records import InstanceRef
from pipeline.result import StudyResult
from pipeline.roi.grid_regions import load_regions

log = structlog.get_logger("axrad.report")


def run(context: Context, revision_id: str) -> None:
    """Claim, render, check, keep, open deliveries."""
    taken = take_revision(context, revision_id, "report")
    if taken is None:
        return
    held, row, study = taken
    try:
        with renewing_lease(context, held, lambda excess: revision_failed(context, held, study.id, excess)):
            result = _result(context, revision_id)
            objects = _render_once(context, study, row, result)
        opened = _open_deliveries(context, held, study, result, objects)
    except LeaseLost:
        log.warning("lease-lost", revision=revision_id)
        return
    except Exception as error:  # noqa: BLE001 - the outermost loop of this work
        if isinstance(error, ResultsGone) and _sent_back_to_analysis(context, revision_id, error):
            return
        final = revision_failed(context, held, study.id, error)
        raise TaskFailed(code_of(error), revision_id, final=final) from None
    result_made(result, context.settings.metrics.scanners)
    log.info("reported", study=study.id, revision=revision_id, status=result.status, objects=objects)
    for delivery_id in opened:
        context.announce("axrad.deliver", delivery_id)


def _render_once(context: Context, study: StudyRow, row: RevisionRow, result: StudyResult) -> list[str]:
    """The kinds of object there are to send. Bytes that exist are kept: a revision is rendered exactly once."""
    files = context.files
    done = files.get(row.id, "rendered")
    if done is not None:
        return done.read_text().split()
    # What a preliminary report said must not stand where a reader has rejected it.
    rejected = REJECTED in result.reason_codes
    wanted = result.status == "evaluated" or rejected or context.settings.report.report_not_evaluated
    if not wanted:
        return []
    source = report_source(context, study, row)
    if source.undecoded:
        _tell_undecoded(context, study, row, source.undecoded)
    panels = load_panels(_analysis_file(context, row.id, "panels.npz"))
    # Results that an earlier version analysed have none.
    regions_path = files.get(row.id, "regions.npz")
    regions = load_regions(regions_path) if regions_path is not None else ()
    further = further_kinds(context.settings)
    groups, numbers = object_sets.sets_of(context, study.id, row.id, row.number, source)
    settings = correction.for_rendering(context.settings)
    first, *others = groups
    rendered = render(result, source.after(first), panels, settings, regions, further, tuple(others))
    for kind, data in rendered.objects.items():
        files.put(row.id, f"{kind}.dcm", data)
    files.put(row.id, object_sets.SETS_FILE, object_sets.to_bytes(numbers))
    files.put(row.id, "page.pdf", rendered.page_pdf)
    files.put(row.id, "page.png", rendered.page_png)
    kinds = sorted(rendered.objects)
    made = items_of([_analysis_file(context, row.id, f"{kind}.dcm") for kind in kinds])
    results_created(context, study, row.id, [item.sop_class_uid for item in made])
    files.put(row.id, "rendered", " ".join(kinds).encode())
    return kinds


def _result(context: Context, revision_id: str) -> StudyResult:
    return StudyResult.from_json(_analysis_file(context, revision_id, "result.json").read_bytes())


def _analysis_file(context: Context, revision_id: str, name: str) -> Path:
    """A file that analysis has left."""
    path = context.files.get(revision_id, name)
    if path is None:
        raise ResultsGone(f"{name} of this result is no longer in the spool")
    return path


def _sent_back_to_analysis(context: Context, revision_id: str, error: ResultsGone) -> bool:
    try:
        with context.ledger.write() as connection:
            again = send_back_to_analysis(connection, revision_id, context.clock(), error.message.partition(" ")[0])
    except TryLater:
        return False
    if again:
        log.warning("results-gone", revision=revision_id)
    return again


def _tell_undecoded(context: Context, study: StudyRow, row: RevisionRow, keywords: tuple[str, ...]) -> None:
    log.warning("text-undecoded", study=study.id, keywords=list(keywords))
    words = f"{', '.join(keywords)} are in no character set that is declared; set character_set of the [[peer]]"
    with context.ledger.write() as connection:
        note(connection, context.clock(), "text-undecoded", words, study.id, row.id)


def report_source(context: Context, study: StudyRow, row: RevisionRow) -> ReportSource:
    """Headers of the exam's own files."""
    exam, bring = exam_of_revision(context, study.study_uid, row.inputs)
    result = _result(context, row.id)
    began = datetime.fromtimestamp(row.created_at, tz=UTC).astimezone(ZoneInfo(context.settings.site.timezone))
    return source_of(exam, result, began, lambda image: character_set_of(context, image), bring)


def character_set_of(context: Context, image: InstanceRef) -> tuple[str, ...]:
    """In what the sender of this image writes where it declares nothing."""
    with context.ledger.read() as connection:
        senders = connection.execute(
            sa.select(instances.c.calling_ae).where(instances.c.sop_uid == image.sop_instance_uid)
        ).scalars()
        titles = set(senders)
    named = (peer.character_set for peer in context.settings.peer if peer.ae_title in titles)
    return tuple(name for name in named if name is not None)[:1]


def _open_deliveries(
    context: Context, held: Claim, study: StudyRow, result: StudyResult, objects: list[str]
) -> list[str]:
    """One transaction: the revision leaves the analysis queue and its deliveries enter theirs."""
    now = context.clock()
    state = "reported" if result.status == "evaluated" else "not_evaluated"
    reason = "; ".join(result.reasons)
    opened: list[str] = []
    numbers = {d.name: object_sets.number_of(context.files, held.id, d.name) for d in context.settings.destination}
    with context.ledger.write() as connection:
        columns = {"reason": reason, "reason_code": _first(result.reason_codes), "finished_at": now}
        release(connection, held, columns, state=state, stage="done")
        move_study(connection, study.id, state, now, reason, _first(result.reason_codes))
        note(connection, now, state, reason, study.id, held.id)
        before = _hasten_open_deliveries(connection, held.id, now)
        opened += before.values()
        for destination in context.settings.destination if objects else ():
            if destination.name in before:
                continue
            place = (study.id, held.id)
            number = numbers[destination.name]
            delivery_id, refused = open_delivery(
                connection, context.settings, destination, place, result, objects, now, number
            )
            if delivery_id and not refused:
                opened.append(delivery_id)
        settle_if_delivered(connection, held.id, now)
    return opened


def _hasten_open_deliveries(connection: sa.Connection, revision_id: str, now: float) -> dict[str, str]:
    """Deliveries of a result that was made again, by destination: they wait no longer."""
    mine = deliveries.c.revision_id == revision_id
    connection.execute(
        deliveries.update().where(mine & OPEN["delivery"]).values(next_attempt_at=now, enqueued_until=None)
    )
    rows = connection.execute(sa.select(deliveries.c.destination, deliveries.c.id).where(mine)).all()
    return {row.destination: row.id for row in rows}


def _first(codes: tuple[str, ...]) -> str:
    return codes[0] if codes else ""
