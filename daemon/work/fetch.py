"""`axrad.fetch`: ask archives about an exam, or fetch from them what is missing, until it is here or given up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import structlog

from config.schema import Pacs
from daemon.assembly import Answer
from daemon.fetch import dimse
from daemon.fetch.plan import Batch, NotInArchive, make_plan
from daemon.fetch.retrieve import NoRoom, address_for, directory_of, retrieve
from daemon.ledger import archive_answers
from daemon.ledger import fetches as ledger_fetches
from daemon.ledger.claims import Claim, LeaseLost, backoff_s, update
from daemon.ledger.rows import FetchRow, StudyRow
from daemon.ledger.site_key import key_with
from daemon.work.context import Context, renewing_lease
from daemon.work.failure import TaskFailed, code_of, sentence_of, where_in_our_code
from pipeline.catalog import patient_key
from pipeline.dicom_file import bounded_reading
from pipeline.dicom_file.text_values import text_of
from pipeline.errors import AxradError, PeerUnreachable, TryLater

log = structlog.get_logger("axrad.fetch")
ASK_BACKOFF_S = 5.0
# An archive that is away, a disk that is full: no answer to what was asked for.
SURROUNDINGS = frozenset({PeerUnreachable.code, NoRoom.code})


def run(context: Context, fetch_id: str) -> None:
    """Claim, ask or fetch, write down how it went. The study is judged again either way."""
    with context.ledger.write() as connection:
        taken = ledger_fetches.take(connection, fetch_id, context.owner, context.clock(), context.settings)
        if taken is None:
            return
        held, row, study = taken
        update(connection, held, state="fetching")
    try:
        if held.exhausted:
            raise TryLater(row.reason or "the worker died or ran out of time each time", code="given-up")
        with renewing_lease(context, held, lambda excess: _failed(context, held, row, study, excess)):
            outcome = WORK[row.kind](context, row, study)
        with context.ledger.write() as connection:
            ledger_fetches.finish(connection, held, study, context.clock(), outcome)
    except LeaseLost:
        return
    except Exception as error:  # noqa: BLE001 - the outermost loop of this work
        final = _failed(context, held, row, study, error)
        raise TaskFailed(code_of(error), fetch_id, final=final) from None
    log.info("fetched", study=study.id, fetch=fetch_id, kind=row.kind, outcome=outcome or None)


def _failed(context: Context, held: Claim, row: FetchRow, study: StudyRow, error: Exception) -> bool:
    now, settings = context.clock(), context.settings
    if row.kind == "ask":
        wait, patience = backoff_s(ASK_BACKOFF_S, held.attempt), settings.assembly.ask_patience_s
        final = now + wait > row.created_at + patience
    else:
        wait, final = backoff_s(settings.fetch.backoff_s, held.attempt), held.attempt >= settings.fetch.attempts
    patient = final and code_of(error) in SURROUNDINGS
    final = (final and not patient) or (isinstance(error, AxradError) and not isinstance(error, TryLater))
    # Nobody has said that it is not there: once an hour, for as long as the exam waits.
    attempts = settings.fetch.attempts - 1 if patient else None
    failure = ledger_fetches.Failure(code_of(error), sentence_of(error), final, now + wait, attempts)
    try:
        with context.ledger.write() as connection:
            ledger_fetches.record_failure(connection, held, study, now, failure)
    except LeaseLost:
        return final
    log.warning(
        "fetch-failed" if final else "fetch-retry",
        study=study.id,
        fetch=held.id,
        code=code_of(error),
        attempt=held.attempt,
        at=where_in_our_code(error),
    )
    return final


def _images(context: Context, row: FetchRow, study: StudyRow) -> str:
    """What is missing, from the first archive that has it; in words what came."""
    settings = context.settings
    with context.ledger.read() as connection:
        stored = archive_answers.stored_uids(connection, study.study_uid)
    wanted = ledger_fetches.wanted_of(row)

    def from_one(pacs: Pacs) -> str:
        plan = make_plan(wanted, stored, directory_of(pacs, settings), settings.fetch.max_instances)
        received = retrieve(pacs, plan, settings)
        missing = sum(len(b.sop_uids) for b in plan) - received
        if missing > 0:
            raise NotInArchive(f"{pacs.name} sent {received} images; {missing} more are missing")
        return f"{received} images came from {pacs.name}"

    return _first_of(ledger_fetches.sources(settings), from_one)


def _first_of(archives: tuple[Pacs, ...], work: Callable[[Pacs], str]) -> str:
    """What the first archive said that did not fail; otherwise all failures in one."""
    failures: list[TryLater] = []
    for pacs in archives:
        try:
            return work(pacs)
        except TryLater as error:
            failures.append(error)
    if not failures:
        raise NotInArchive("no [[pacs]] can be fetched from")
    raise TryLater("; ".join(f.message for f in failures), code=failures[0].code)


def _ask(context: Context, row: FetchRow, study: StudyRow) -> str:
    """Every archive that can be asked says whose this exam is and how much of it there is."""
    now = context.clock()
    answers = []
    for pacs in context.settings.pacs:
        if "find" not in pacs.can:
            continue
        directory = dimse.DimseDirectory(address_for(pacs, context.settings))
        answer = directory.study(study.study_uid)
        if answer is None:
            answers.append(Answer(pacs.name, now))
            continue
        patient, issuer = text_of(answer, "PatientID"), text_of(answer, "IssuerOfPatientID")
        series = tuple((s.uid, s.modality, s.instances) for s in directory.series_of(study.study_uid))
        keys = [patient_key(patient, by) if patient else None for by in (issuer, "")]
        answers.append(Answer(pacs.name, now, keys[0], keys[1], series))
    with context.ledger.write() as connection:
        archive_answers.record_answers(connection, study.study_uid, answers, partial(_keyed, context))
    return ""


def _keyed(context: Context, digest: str, key_id: str) -> str:
    return key_with(context.settings, key_id).keyed(digest)


def _priors(context: Context, row: FetchRow, study: StudyRow) -> str:
    """The patient's earlier MR exams, whole; they are kept as priors and not reported."""
    settings = context.settings
    with context.ledger.read() as connection:
        image = archive_answers.an_image(connection, study.study_uid)
    path = context.files.place(image) if image is not None else None
    if image is None or path is None or context.files.bring([image]):
        raise NotInArchive("no image of this study is in the spool, so nobody can tell whose priors to ask for")
    header = bounded_reading.read(path)
    patient = text_of(header, "PatientID")
    if not patient or set("*?\\") & set(patient):
        raise NotInArchive("the exam has no patient id that an archive could be asked for")
    until = text_of(header, "StudyDate") or datetime.fromtimestamp(context.clock(), UTC).strftime("%Y%m%d")

    def from_one(pacs: Pacs) -> str:
        directory = dimse.DimseDirectory(address_for(pacs, settings))
        priors = [f for f in directory.studies_of(patient, until) if str(f.StudyInstanceUID) != study.study_uid]
        priors.sort(key=lambda f: text_of(f, "StudyDate"), reverse=True)
        uids = [str(f.StudyInstanceUID) for f in priors[: settings.fetch.max_priors]]
        if not uids:
            return f"{pacs.name} has no earlier MR exam of this patient"
        with context.ledger.write() as connection:
            archive_answers.expect_priors(connection, study, uids, context.clock())
        received = retrieve(pacs, [Batch(uid) for uid in uids], settings)
        return f"{len(uids)} earlier exams ({received} images) came from {pacs.name}"

    return _first_of(tuple(p for p in ledger_fetches.sources(settings) if "find" in p.can), from_one)


WORK: dict[str, Callable[[Context, FetchRow, StudyRow], str]] = {"images": _images, "ask": _ask, "priors": _priors}
