"""The sweep: judges studies that changed, and announces whatever is due. Two sweeps at once do no harm."""

from __future__ import annotations

from collections import Counter
from functools import partial

import structlog

from config.schema.values import MAIN_SPOOL
from daemon import audit
from daemon.assembly import Verdict, judge, settling_verdict, too_many_verdict
from daemon.ledger import deliveries, fetches, heartbeats, obsolete, periodic_jobs, proposals, tallies, verdicts
from daemon.ledger.claims import Claimable, announced, forget_announcements
from daemon.ledger.clock_jumps import TOLERANCE_S, JumpWatch, mend
from daemon.ledger.rows import StudyRow
from daemon.ledger.study_merge import join
from daemon.retention import clean
from daemon.work.audit_events import named
from daemon.work.context import Context
from daemon.work.dispatch import ANNOUNCED_S, dispatch_revisions
from daemon.work.failure import code_of, sentence_of, where_in_our_code
from daemon.work.large_exams import LARGE, LargeExamThread
from daemon.work.older_accessions import OlderAccessions
from daemon.work.signatures_that_answer import judge_again_if_changed, signatures_in_use
from pipeline.errors import TryLater

log = structlog.get_logger("axrad.sweep")
SWEEP_SIGN_EVERY_S = 10.0
OBSOLETE_EVERY_S = 10.0
SUM_UP_EVERY_S = 60.0
TASKS = {"delivery": "axrad.deliver", "fetch": "axrad.fetch", "proposal": "axrad.propose"}


def sweep(
    context: Context,
    watch: JumpWatch | None = None,
    large_exams: LargeExamThread | None = None,
    older_accessions: OlderAccessions | None = None,
) -> None:
    """One tick."""
    if watch is not None:
        mend_after_jump(context, watch)
    context.if_emptied(lambda: announce_anew(context))
    close_obsolete(context)
    judge_again_if_changed(context)
    assemble(context, large_exams)
    dispatch_revisions(context)
    announce_due(context)
    clean_up(context)
    sum_up_tallies(context)
    if older_accessions is not None:
        older_accessions.go_on(context)
    _sign(context)


def mend_after_jump(context: Context, watch: JumpWatch) -> None:
    """Correct the times in the ledger where the clock was set, or may have been set before this process began."""
    jumped_s = watch.look()
    if jumped_s is not None and abs(jumped_s) < TOLERANCE_S:
        return
    work = context.settings.work
    with context.ledger.write() as connection:
        mended = mend(connection, context.clock(), jumped_s or 0.0, work.lease_s, work.backoff_s)
    if jumped_s is not None or mended:
        log.warning("clock-jumped", seconds=round(jumped_s or 0.0, 1), mended=mended)


def announce_anew(context: Context) -> None:
    """Announce everything again: the broker has lost its messages."""
    with context.ledger.write() as connection:
        forget_announcements(connection)


def assemble(context: Context, large_exams: LargeExamThread | None = None) -> None:
    """Judge every study that has changed or is due, one transaction each; large ones in the thread of `large_exams`."""
    with context.ledger.read() as connection:
        rows = verdicts.to_judge(connection, context.clock())
        large = {row.id for row in rows if verdicts.has_more_than(connection, row.study_uid, LARGE)}
    for row in sorted(rows, key=lambda row: row.id in large):
        if row.id in large and large_exams is not None:
            large_exams.take(partial(_assemble_large, context, row))
        else:
            _assemble_guarded(context, row)


def _assemble_large(context: Context, row: StudyRow) -> None:
    try:
        _assemble_guarded(context, row)
    except TryLater as error:
        log.warning("judging-put-off", study=row.id, code=error.code)


def _assemble_guarded(context: Context, row: StudyRow) -> None:
    try:
        _assemble(context, row)
    except verdicts.Overtaken:
        return  # dirty again, and judged with the next tick; or cancelled
    except TryLater:
        raise
    except Exception as error:  # noqa: BLE001 - one study must not keep the others from being judged
        log.error("judging-failed", study=row.id, code=code_of(error), at=where_in_our_code(error))
        with context.ledger.write() as connection:
            verdicts.not_judged(connection, row.id, f"{code_of(error)}: {sentence_of(error)}", context.clock())


def _assemble(context: Context, row: StudyRow) -> None:
    now, settings = context.clock(), context.settings
    with context.ledger.write() as connection:
        study = verdicts.take_to_judge(connection, row.id, now)
        if study is not None and settings.assembly.join:
            study = join(connection, study, settings.assembly.join, now)
    if study is None:
        return
    verdict = _judged(context, study, now)
    with context.ledger.write() as connection:
        verdicts.apply(connection, study, verdict, now, settings)
    audited = audit.Study(study.study_uid, Counter(), study.id)
    if verdict.corrected is not None and verdict.corrected != study.corrected_key:
        audit.patient_changed(settings, named(settings, context.ledger, audited), followed=False)
    if verdict.identity is not None and verdict.identity != study.identity_key:
        audit.patient_changed(settings, named(settings, context.ledger, audited), followed=True)
    if verdict.state != study.state:
        log.info("assembly", study=study.id, state=verdict.state, code=verdict.code or None)


def _judged(context: Context, study: StudyRow, now: float) -> Verdict:
    """The verdict. An exam that is too large is not looked at: one exam must not take the time of all others."""
    wait = context.settings.assembly
    with context.ledger.read() as connection:
        if verdicts.has_more_than(connection, study.study_uid, wait.max_instances):
            return too_many_verdict(f"{wait.max_instances} instances (assembly.max_instances)")
        soon = settling_verdict(study.last_arrival_at, wait)
        if now < (soon.due_at or now) and verdicts.has_more_than(connection, study.study_uid, LARGE):
            return soon
        try:
            exam = verdicts.evidence_of(connection, study, wait.max_instances)
        except verdicts.TooLarge as error:
            return too_many_verdict(error.what)
    return judge(exam, now, context.settings, signatures_in_use(context.settings.signature))


def announce_due(context: Context) -> None:
    """A hint to the broker for each delivery, fetch and proposal that is due and not held by a worker."""
    now = context.clock()
    with context.ledger.read() as connection:
        waiting_deliveries = deliveries.due(connection, context.settings, now, limit=100)
        waiting_fetches = fetches.due(connection, now)
        waiting_proposals = proposals.due(connection, now)
    waiting: dict[Claimable, list[str]] = {
        "delivery": [row.id for row in waiting_deliveries],
        "fetch": [row.id for row in waiting_fetches],
        "proposal": [row.id for row in waiting_proposals],
    }
    for kind, ids in waiting.items():
        for row_id in ids:
            if not context.announce(TASKS[kind], row_id):
                return
            with context.ledger.write() as connection:
                announced(connection, kind, row_id, now + ANNOUNCED_S)


def close_obsolete(context: Context) -> None:
    """Close what waits for destinations and archives that are no longer configured."""
    now = context.clock()
    with context.ledger.write() as connection:
        if periodic_jobs.take_if_due(connection, "obsolete", now, OBSOLETE_EVERY_S):
            closed = obsolete.close(connection, context.settings, now)
            if closed:
                log.warning("obsolete-closed", rows=closed)


def clean_up(context: Context) -> None:
    """Retention, every now and then, and then round after round until all is done: in each spool, by a sweep there."""
    if context.settings.spool.remote:
        return
    spool_id = context.settings.spool.id
    chore = "retention" if spool_id == MAIN_SPOOL else f"retention:{spool_id}"
    with context.ledger.write() as connection:
        if not periodic_jobs.take_if_due(connection, chore, context.clock(), context.settings.retention.every_s):
            return
    if clean(context.ledger, context.settings, context.clock()).more:
        with context.ledger.write() as connection:
            periodic_jobs.make_due(connection, chore)


def sum_up_tallies(context: Context) -> None:
    """Keep what counts are read from small, whatever came."""
    with context.ledger.write() as connection:
        if not periodic_jobs.take_if_due(connection, "tallies", context.clock(), SUM_UP_EVERY_S):
            return
        more = tallies.sum_up(connection)
    if more:
        with context.ledger.write() as connection:
            periodic_jobs.make_due(connection, "tallies")


def _sign(context: Context) -> None:
    """Leave the sweep's sign of life, at most every SWEEP_SIGN_EVERY_S."""
    now = context.clock()
    with context.ledger.read() as connection:
        before = heartbeats.last_sign(connection, "sweep")
    if before is None or abs(now - before.at) >= SWEEP_SIGN_EVERY_S:
        with context.ledger.write() as connection:
            heartbeats.sign(connection, "sweep", "sweep", now)
