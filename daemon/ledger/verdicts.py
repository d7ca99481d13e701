"""Assembly's judgements in the ledger: which studies are to be judged, on what, and what a verdict changes."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from config.schema import Settings
from daemon.assembly import Answer, Arrived, Stored, Verdict
from daemon.assembly.proposing import CODE as MEASURED
from daemon.assembly.proposing import REJECTED, STILL_MISSING
from daemon.assembly.records import ANY_IDENTITY
from daemon.ledger import comparisons
from daemon.ledger import fetches as ledger_fetches
from daemon.ledger import proposals as ledger_proposals
from daemon.ledger.engine import note
from daemon.ledger.judged_revisions import Shown, compared, hold_revision, make_revision, show_revision
from daemon.ledger.moves import move_all
from daemon.ledger.packed_exams import packed_rows, unpacked
from daemon.ledger.rows import ArchiveAnswerRow, StudyRow, rows_where, the_row
from daemon.ledger.states import (
    BEFORE_A_REVISION,
    FINISHED,
    JUDGING_FAILED,
    KNOWN_STATES,
    NOT_FETCHED_FOR,
    NOT_FOR_LACK,
    STUDY,
    TOO_MANY,
    UNJUDGED,
    CountsAs,
    check,
    may_become,
)
from daemon.ledger.studies import newest_revision
from daemon.ledger.tables import instances, open_associations, pacs_answers, revisions, studies
from daemon.ledger.tables.columns import DUE
from pipeline.catalog import facts_from_json

# A study whose judge dies is judged again after this.
JUDGING_S = 60.0
# Series are compared with each other: their number counts twice.
MOST_SERIES = 500
ROWS_AT_ONCE = 1000
# A file that was set aside after its header had been read is part of the exam all the same.
OF_THE_EXAM = instances.c.state.in_(KNOWN_STATES) | (
    (instances.c.state == "unreadable") & (instances.c.counts_as == CountsAs.SET_ASIDE)
)
# A cancelled study is judged no more: only `axrad retry` moves it on.
NOT_CANCELLED = studies.c.state != "cancelled"
# Kinds of event.
PATIENT_CORRECTED, PATIENT_FOLLOWED = "patient-corrected", "patient-followed"


class Overtaken(Exception):
    """Something arrived between judging and writing, or an operator cancelled the study; the verdict does not count."""


class TooLarge(Exception):
    """An exam has more than may be judged. `what`: the limit that it exceeds."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


def to_judge(connection: sa.Connection, now: float) -> list[StudyRow]:
    """Studies that changed since their last judgement, or that are due to be judged again."""
    # Two questions: asked with OR, SQLite would look at every study there ever was.
    changed = rows_where(connection, StudyRow, studies.c.dirty, NOT_CANCELLED, order_by=[studies.c.last_arrival_at])
    due = rows_where(
        connection, StudyRow, sa.and_(DUE, studies.c.due_at <= now), sa.not_(studies.c.dirty), NOT_CANCELLED
    )
    return sorted((*changed, *due), key=lambda row: row.last_arrival_at)


def judge_waiting_again(connection: sa.Connection) -> int:
    """Have every study judged again that waits and has no report; how many."""
    reported = sa.select(revisions.c.study_id).where(
        revisions.c.study_id == studies.c.id, revisions.c.state.in_(FINISHED)
    )
    waiting = (studies.c.state == "waiting") & ~reported.exists()
    return connection.execute(studies.update().where(waiting).values(dirty=True)).rowcount


def take_to_judge(connection: sa.Connection, study_id: str, now: float) -> StudyRow | None:
    """Claim a study for one judge; None if another has it. Any later change makes the study dirty again.

    A last arrival in the future comes from a clock that was wrong, and counts as now.
    """
    done = connection.execute(
        studies.update()
        .where(studies.c.id == study_id, studies.c.dirty | (studies.c.due_at <= now), NOT_CANCELLED)
        .values(
            dirty=False,
            due_at=now + JUDGING_S,
            last_arrival_at=sa.case((studies.c.last_arrival_at > now, now), else_=studies.c.last_arrival_at),
        )
    )
    if done.rowcount != 1:
        return None
    study = the_row(connection, StudyRow, study_id)
    if not study.packed:
        return study
    unpacked(connection, study.study_uid)
    return the_row(connection, StudyRow, study_id)


def has_more_than(connection: sa.Connection, study_uid: str, most: int) -> bool:
    """Whether an exam has more instances than that, if it is not packed. Costs no more for an exam of any size."""
    some = (
        sa.select(instances.c.id)
        .where(instances.c.exam_uid == study_uid, instances.c.state.in_(KNOWN_STATES))
        .limit(most + 1)
        .subquery()
    )
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()) > most


def stored_of(connection: sa.Connection, study_uid: str, most: int | None = None) -> list[Stored]:
    """Every instance of an exam that ever came and that axrad uses.

    Raises TooLarge where their images have more than `most` frames, or lie in more than MOST_SERIES series.
    """
    packed = [(r.id, r.facts, r.digest, r.received_at, r.state) for r in packed_rows(connection, study_uid)]
    rows = connection.execute(
        sa.select(instances.c.id, instances.c.facts, instances.c.digest, instances.c.received_at, instances.c.state)
        .where(instances.c.exam_uid == study_uid, OF_THE_EXAM)
        .order_by(instances.c.id)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    instances_of_exam: list[Stored] = []
    frames, series = 0, set()
    for id_, document, digest, at, state in packed or rows:
        facts = facts_from_json(document)
        instances_of_exam.append(Stored(id_, facts, digest, at, state == "stored", state == "unreadable"))
        if most is None:
            continue
        frames += facts.frames if facts.is_image else 0
        series.add(facts.ref.series_uid)
        if frames > most:
            raise TooLarge(f"{most} frames (assembly.max_instances)")
        if len(series) > MOST_SERIES:
            raise TooLarge(f"{MOST_SERIES} series")
    return instances_of_exam


def evidence_of(connection: sa.Connection, study: StudyRow, most: int | None = None) -> Arrived:
    """All that a judgement rests on. Raises TooLarge as `stored_of` does."""
    uid = study.study_uid
    sending_at = connection.execute(
        sa.select(sa.func.max(open_associations.c.last_at)).where(open_associations.c.exam_uid == uid)
    ).scalar_one()
    answers = rows_where(connection, ArchiveAnswerRow, pacs_answers.c.exam_uid == uid)
    accepted = [ANY_IDENTITY] if study.accepted_keys is None and study.identity_accepted else study.accepted_keys or []
    return Arrived(
        uid,
        tuple(stored_of(connection, uid, most)),
        study.first_arrival_at,
        study.last_arrival_at,
        study.role,
        frozenset(accepted),
        sending_at,
        tuple(
            Answer(a.pacs, a.asked_at, a.patient_key, a.patient_id_key, tuple((s[0], s[1], s[2]) for s in a.series))
            for a in answers
        ),
        ledger_fetches.in_words(connection, study.id),
        bool(study.taken_as_ours),
        study.identity_key,
        comparisons.waiting_since(connection, uid),
        study.answerable_since,
        ledger_proposals.proposed_for(connection, study.id),
        study.chosen_series or {},
    )


def apply(connection: sa.Connection, study: StudyRow, verdict: Verdict, now: float, settings: Settings) -> str | None:
    """Write a verdict on `study` (a row as it was taken). Returns the id of a new revision, if any.

    Compare-and-swap on the last arrival, and on not being cancelled: if something arrived while we judged, or an
    operator cancelled the study, Overtaken is raised and nothing written.
    """
    values: dict[str, object] = {
        "due_at": verdict.due_at,
        "flagged": verdict.flagged,
        "answerable_since": verdict.answerable_since,
    }
    if verdict.basis is not None or verdict.lacked:
        values["lacked"] = ",".join(verdict.lacked)
    elif verdict.state in NOT_FOR_LACK:
        values["lacked"] = ""
    if verdict.role is not None:
        values["role"] = verdict.role
    _note_identity(connection, study, verdict, now, values)
    latest = newest_revision(connection, study.id)
    revision_id, shown = None, None
    outcome = compared(latest, verdict, study)
    done = latest is not None and latest.state in FINISHED and outcome is not None and not outcome.new
    if verdict.state == "ready" and outcome is not None and not outcome.new and latest is not None:
        values["flagged"] = "; ".join(filter(None, (verdict.flagged, outcome.flagged)))
        shown = show_revision(connection, study, latest, now)
    elif verdict.state == "ready":
        revision_id, shown = make_revision(connection, study, latest, verdict, now)
    elif verdict.state == "held":
        hold_revision(connection, latest)
        shown = Shown("held", now, verdict.reason, verdict.code)
    elif latest is None or study.state in BEFORE_A_REVISION:
        shown = Shown(verdict.state, now, verdict.reason, verdict.code)
    elif verdict.state == "waiting" and not done:
        values["flagged"] = "; ".join(
            filter(None, (verdict.flagged, f"newer data are incomplete, missing: {verdict.reason}"))
        )
    elif verdict.state == "waiting" and verdict.code in (MEASURED, REJECTED):
        # The report stays; what is proposed for the exam since is told beside it.
        values["flagged"] = "; ".join(filter(None, (verdict.flagged, verdict.reason.partition(STILL_MISSING)[0])))
    if verdict.state in NOT_FETCHED_FOR:
        ledger_fetches.cancel(connection, study.id, now)
    elif not done:
        words = ledger_fetches.open_for(connection, study, verdict, now, settings)
        if words and shown is not None:
            shown = replace(shown, reason=f"{shown.reason}; {words}")
    ledger_proposals.open_for(connection, study, verdict, now)
    _write(connection, study, shown, values)
    if shown is not None and shown.state != study.state:
        note(connection, now, shown.state, shown.reason, study_id=study.id)
    return revision_id


def _write(connection: sa.Connection, study: StudyRow, shown: Shown | None, values: dict[str, object]) -> None:
    """Raises Overtaken, with nothing written, where the study is no more as it was taken to be judged."""
    as_judged = (studies.c.id == study.id) & (studies.c.last_arrival_at == study.last_arrival_at) & NOT_CANCELLED
    # Digests in the verdict are under the key that those in the row were under.
    as_judged &= studies.c.key_id == study.key_id
    if shown is None:
        done = connection.execute(studies.update().where(as_judged).values(**values)).rowcount
    else:
        check(STUDY, study.state, shown.state)
        columns = values | {"reason": shown.reason, "reason_code": shown.code}
        if shown.state != study.state:
            columns["changed_at"] = shown.at
        done = move_all(connection, "study", as_judged, may_become(STUDY, shown.state), shown.state, columns)
    if done != 1:
        raise Overtaken


def not_judged(connection: sa.Connection, study_id: str, why: str, now: float) -> None:
    """Judging failed: a study that has no report yet says so, until it is judged. It comes again at its `due_at`."""
    unexplained = studies.c.state.in_(UNJUDGED) & (studies.c.reason_code != JUDGING_FAILED)
    done = connection.execute(
        studies.update().where(studies.c.id == study_id, unexplained).values(reason=why, reason_code=JUDGING_FAILED)
    )
    if done.rowcount:
        note(connection, now, JUDGING_FAILED, why, study_id)


def _note_identity(
    connection: sa.Connection, study: StudyRow, verdict: Verdict, now: float, values: dict[str, object]
) -> None:
    """Record whose exam it is once that is decided; until then, that an operator has to decide."""
    undecided = verdict.corrected is None and (verdict.state == "assembling" or verdict.code == TOO_MANY)
    if verdict.corrected != study.corrected_key and not undecided:
        values["corrected_key"] = verdict.corrected
        if verdict.corrected is not None:
            note(connection, now, PATIENT_CORRECTED, "came again under another Patient ID", study.id)
    if verdict.identity is not None and verdict.identity != study.identity_key:
        values |= {"identity_key": verdict.identity, "patient_key": verdict.identity}
        note(connection, now, PATIENT_FOLLOWED, "the archive has it under the new Patient ID", study.id)
