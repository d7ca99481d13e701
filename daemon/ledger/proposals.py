"""Proposals of regions in the ledger: opened by a verdict, claimed like revisions, waiting for a reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from daemon.assembly.answers import RecordedAnswer
from daemon.assembly.records import Proposed, Verdict
from daemon.assembly.revision_rule import is_preliminary
from daemon.ledger.claims import Claim, release, to_announce
from daemon.ledger.engine import new_id, note
from daemon.ledger.moves import add, move, move_all, queued_anew
from daemon.ledger.proposal_words import KindAnswer, are_open, closed, some_rejected, state_of
from daemon.ledger.proposal_words import in_words as kinds_in_words
from daemon.ledger.rows import ProposalRow, StudyRow, rows_where, the_row
from daemon.ledger.states import AWAITS_READER, IN_SPOOL, PROPOSAL_REPLACED, PROPOSAL_STANDS, TOLD_BY_KIND
from daemon.ledger.tables import deliveries, instances, proposals, revisions, sent_objects, studies
from dicom_sr.kinds import REPORT_KINDS, kind_of
from pipeline.catalog import ACCEPTED, REJECTED_PROPOSAL, facts_from_json

# Kind of event.
REJECTED = "proposal-rejected"
WAITS = "proposal sent, waits for confirmation"
# Kind and detail.
Event = tuple[str, str]


def open_for(connection: sa.Connection, study: StudyRow, verdict: Verdict, now: float) -> None:
    """Queue the proposal that a verdict asks for, unless it is there; others of the study stand no longer."""
    if not verdict.propose:
        return
    of_it = (proposals.c.study_id == study.id) & (proposals.c.digest == verdict.propose)
    same = connection.execute(sa.select(proposals.c.id, proposals.c.state).where(of_it)).one_or_none()
    if same is not None and same.state in PROPOSAL_STANDS:
        return
    earlier = (proposals.c.study_id == study.id) & proposals.c.state.in_(PROPOSAL_REPLACED)
    move_all(connection, "proposal", earlier, PROPOSAL_REPLACED, "superseded", {"finished_at": now}, void_lease=True)
    note(connection, now, "proposal", "regions are proposed", study.id)
    from_now = {"context": list(verdict.context), "created_at": now, **queued_anew(now)}
    if same is not None:
        # The study was cancelled and is resumed, or the measurements are again what they were: the newest one stands.
        move(connection, "proposal", same.id, "pending", from_now | {"reason": "", "answers": None})
        return
    of_study = {"id": new_id(), "study_id": study.id, "digest": verdict.propose, "taken_by": [], "spool": ""}
    add(connection, "proposal", "pending", of_study | from_now)


def proposed_for(connection: sa.Connection, study_id: str) -> Proposed | None:
    """The newest proposal of a study, and what became of it in words."""
    row = newest(connection, study_id)
    if row is None:
        return None
    waits_as = row.sop_uid or "" if row.state in AWAITS_READER and not row.answers else ""
    return Proposed(
        row.digest,
        in_words(row),
        row.state == "rejected" or (some_rejected(row.answers or {}) and not is_open(row)),
        waits_as,
        _evaluated(connection, study_id),
        is_rejected(row),
    )


def is_rejected(row: ProposalRow) -> bool:
    """Whether a reader has rejected it, or one kind of region of it."""
    return row.state == "rejected" or some_rejected(row.answers or {})


def _evaluated(connection: sa.Connection, study_id: str) -> bool:
    """Whether a revision of this study answered by a region that nobody had confirmed."""
    answers = connection.execute(sa.select(revisions.c.answer).where(revisions.c.study_id == study_id)).scalars()
    return any(_is_of_unconfirmed(answer) for answer in answers)


def _is_of_unconfirmed(answer: RecordedAnswer | None) -> bool:
    return answer is not None and any(is_preliminary(region) for region in answer["regions"].values())


def in_words(row: ProposalRow) -> str:
    if row.state in TOLD_BY_KIND and row.answers and (are_open(row.answers) or some_rejected(row.answers)):
        return kinds_in_words(row.answers)
    if row.state == "sent":
        return f"{WAITS}; {row.reason}" if row.reason else WAITS
    if row.state == "accepted":
        return "the proposal was accepted"
    if row.state == "edited":
        return "a reader drew the regions"
    if row.state == "rejected":
        return "the proposal was rejected by the reader"
    if row.state == "superseded":
        return "a newer proposal took its place"
    if row.state == "empty":
        return f"no region could be proposed: {row.reason}"
    if row.state == "failed":
        return f"a proposal failed: {row.reason}"
    return f"regions are being proposed; {row.reason}" if row.reason else "regions are being proposed"


def newest(connection: sa.Connection, study_id: str) -> ProposalRow | None:
    """The proposal of a study that stands."""
    of_it = (proposals.c.study_id == study_id) & proposals.c.state.in_(PROPOSAL_STANDS)
    rows = rows_where(connection, ProposalRow, of_it, order_by=[proposals.c.created_at.desc()], limit=1)
    return rows[0] if rows else None


def due(connection: sa.Connection, now: float) -> list[ProposalRow]:
    """Proposals to be made now."""
    return rows_where(
        connection, ProposalRow, to_announce("proposal", now), order_by=[proposals.c.created_at], limit=100
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a proposal: `sent`, `empty`, `rejected` or `failed`, and what there is to say."""

    state: str
    reason: str = ""


def finish(connection: sa.Connection, held: Claim, study_id: str, outcome: Outcome, now: float) -> None:
    """The last write of the worker; the study is judged again, so that it says so."""
    release(connection, held, {"reason": outcome.reason, "finished_at": now}, state=outcome.state)
    kind = {
        "sent": "proposal-sent",
        "accepted": "proposal-sent",
        "empty": "nothing-proposed",
        "rejected": REJECTED,
    }.get(outcome.state, "proposal-failed")
    note(connection, now, kind, outcome.reason or WAITS, study_id)
    judge_again(connection, study_id)


def try_again(connection: sa.Connection, held: Claim, study_id: str, why: str, at: float, attempts: int) -> None:
    release(connection, held, {"reason": why, "next_attempt_at": at, "attempts": attempts})
    judge_again(connection, study_id)


def awaits_reader(row: ProposalRow) -> bool:
    """Whether a reader may have seen it and has not said what becomes of it: it is where it was to go, or at the first
    of its destinations while another does not answer.
    """
    return row.state in AWAITS_READER or (row.state == "pending" and bool(row.taken_by))


def is_open(row: ProposalRow) -> bool:
    """Whether a reader's word on it, or on one kind of region of it, is still taken."""
    return awaits_reader(row) or (row.state == "accepted" and are_open(row.answers or {}))


def answer(
    connection: sa.Connection, row: ProposalRow, answers: dict[str, KindAnswer], event: Event, now: float
) -> None:
    """The reader's word on kinds of region; the study is judged again, so that it says so. `event`: kind, detail."""
    columns = {"answers": answers, "reason": event[1], "finished_at": now}
    state = state_of(answers)
    if state == row.state:
        connection.execute(proposals.update().where(proposals.c.id == row.id).values(columns))
    else:
        move(connection, "proposal", row.id, state, columns, void_lease=True)
    note(connection, now, *event, row.study_id)
    judge_again(connection, row.study_id)


def settle(connection: sa.Connection, row_id: str, state: str, study_id: str, now: float) -> None:
    """A result was made of a reader's own regions: what waits is `accepted` or `edited` by that, unless it is more."""
    row = the_row(connection, ProposalRow, row_id)
    if not is_open(row):
        return
    reason = {"accepted": "the reader saved the same regions", "edited": ""}[state]
    answers = closed(row.answers, reason) if row.answers and state == "accepted" else None
    columns = {"reason": reason, "answers": answers, "finished_at": now}
    if state == row.state:
        connection.execute(proposals.update().where(proposals.c.id == row_id).values(columns))
    else:
        move(connection, "proposal", row_id, state, columns, void_lease=True)
    note(connection, now, f"proposal-{state}", reason or "a reader drew the regions", study_id)


def reject(connection: sa.Connection, row: ProposalRow, study_id: str, who: str, now: float) -> None:
    """The reader's word against all of a proposal; the study is judged again, so that it says so."""
    move(connection, "proposal", row.id, "rejected", {"reason": f"by {who}", "finished_at": now}, void_lease=True)
    note(connection, now, REJECTED, f"by {who}", study_id)
    judge_again(connection, study_id)


def rejected_of(connection: sa.Connection, study_id: str) -> list[ProposalRow]:
    """Every proposal of a study that was rejected, or of which a kind was, also where a newer one took its place."""
    rows = rows_where(connection, ProposalRow, proposals.c.study_id == study_id)
    return [row for row in rows if is_rejected(row)]


def answered_in_spool(connection: sa.Connection, sop_uid: str) -> tuple[dict[int, str], set[int]]:
    """What the spool holds of readers' words on a proposal: the segments that count, with their origin, and those that
    do not. The ledger may have been lost since, or be older than such words.
    """
    of_it = (instances.c.sop_uid == sop_uid) & instances.c.state.in_(IN_SPOOL)
    accepted: dict[int, str] = {}
    rejected: set[int] = set()
    for document in connection.execute(sa.select(instances.c.facts).where(of_it)).scalars():
        facts = facts_from_json(document) if document else None
        if facts is None or facts.unconfirmed:
            continue
        numbers = [segment.number for segment in facts.segments]
        if REJECTED_PROPOSAL in facts.tags:
            rejected.update(numbers)
        elif ACCEPTED in facts.tags:
            accepted |= dict.fromkeys(numbers, str(facts.tags[ACCEPTED]))
    return accepted, rejected


def taken(connection: sa.Connection, row_id: str, destinations: Sequence[str]) -> None:
    connection.execute(proposals.update().where(proposals.c.id == row_id).values(taken_by=list(destinations)))


def is_ours(connection: sa.Connection, sop_uid: str) -> bool:
    """Whether a segmentation under this UID was proposed by us."""
    return connection.execute(sa.select(proposals.c.id).where(proposals.c.sop_uid == sop_uid)).first() is not None


def judge_again(connection: sa.Connection, study_id: str) -> None:
    connection.execute(studies.update().where(studies.c.id == study_id).values(dirty=True))


def counts(connection: sa.Connection) -> dict[str, int]:
    """How many there are, by state."""
    rows = connection.execute(sa.select(proposals.c.state, sa.func.count()).group_by(proposals.c.state)).all()
    return {state: int(number) for state, number in rows}


def waiting_since(connection: sa.Connection) -> float | None:
    """When the oldest that waits for a reader was sent; None where none waits."""
    waits = proposals.c.state.in_(AWAITS_READER)
    oldest = connection.execute(sa.select(sa.func.min(proposals.c.finished_at)).where(waits)).scalar_one()
    return None if oldest is None else float(oldest)


@dataclass(frozen=True, slots=True)
class Assessed:
    """A proposal that a report of others refers to: by its own UID, or by those of preliminary reports on it."""

    row: ProposalRow
    reports: frozenset[str]


def assessed_by(connection: sa.Connection, sop_uids: Sequence[str]) -> list[Assessed]:
    """The newest proposal of each study that one of these UIDs stands for, or a preliminary report that was sent."""
    direct = rows_where(connection, ProposalRow, proposals.c.sop_uid.in_(sop_uids), order_by=[proposals.c.created_at])
    by_study = {row.study_id: Assessed(row, frozenset()) for row in direct}
    kept_as = sa.func.coalesce(sent_objects.c.coerced_uid, sent_objects.c.sop_instance_uid)
    sent = connection.execute(
        sa.select(
            revisions.c.study_id, revisions.c.answer, sent_objects.c.sop_instance_uid, kept_as, sent_objects.c.kind
        )
        .join(deliveries, deliveries.c.revision_id == revisions.c.id)
        .join(sent_objects, sent_objects.c.delivery_id == deliveries.c.id)
        .where(sent_objects.c.sop_instance_uid.in_(sop_uids) | kept_as.in_(sop_uids))
    ).all()
    for study_id, answer, *uids, kind in sent:
        if not _is_of_unconfirmed(answer) or kind_of(kind) not in REPORT_KINDS or study_id in by_study:
            continue
        row = newest(connection, study_id)
        if row is not None and row.state in AWAITS_READER:
            by_study[study_id] = Assessed(row, frozenset(uids))
    return list(by_study.values())
