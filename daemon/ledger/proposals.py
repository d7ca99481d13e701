"""Proposals of regions in the ledger: opened by a verdict, claimed like revisions, waiting for a reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from daemon.assembly.records import Proposed, Verdict
from daemon.ledger.claims import Claim, release, to_announce
from daemon.ledger.engine import new_id, note
from daemon.ledger.moves import add, move, move_all, queued_anew
from daemon.ledger.rows import ProposalRow, StudyRow, rows_where
from daemon.ledger.states import PROPOSAL_REPLACED, PROPOSAL_STANDS
from daemon.ledger.tables import proposals, studies

# Kind of event.
REJECTED = "proposal-rejected"
WAITS = "proposal sent, waits for confirmation"


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
        move(connection, "proposal", same.id, "pending", from_now | {"reason": ""})
        return
    of_study = {"id": new_id(), "study_id": study.id, "digest": verdict.propose, "taken_by": []}
    add(connection, "proposal", "pending", of_study | from_now)


def proposed_for(connection: sa.Connection, study_id: str) -> Proposed | None:
    """The newest proposal of a study, and what became of it in words."""
    row = newest(connection, study_id)
    return None if row is None else Proposed(row.digest, in_words(row), rejected=row.state == "rejected")


def in_words(row: ProposalRow) -> str:
    if row.state == "sent":
        return f"{WAITS}; {row.reason}" if row.reason else WAITS
    if row.state == "accepted":
        return "the proposal was accepted"
    if row.state == "rejected":
        return "the proposal was rejected by the reader"
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
    kind = {"sent": "proposal-sent", "empty": "nothing-proposed", "rejected": REJECTED}.get(
        outcome.state, "proposal-failed"
    )
    note(connection, now, kind, outcome.reason or WAITS, study_id)
    judge_again(connection, study_id)


def try_again(connection: sa.Connection, held: Claim, study_id: str, why: str, at: float, attempts: int) -> None:
    release(connection, held, {"reason": why, "next_attempt_at": at, "attempts": attempts})
    judge_again(connection, study_id)


def accept(connection: sa.Connection, row: ProposalRow, study_id: str, who: str, now: float) -> None:
    move(connection, "proposal", row.id, "accepted", {"reason": f"by {who}", "finished_at": now})
    note(connection, now, "proposal-accepted", f"by {who}", study_id)


def reject(connection: sa.Connection, row: ProposalRow, study_id: str, who: str, now: float) -> None:
    """The reader's word against a proposal; the study is judged again, so that it says so."""
    move(connection, "proposal", row.id, "rejected", {"reason": f"by {who}", "finished_at": now})
    note(connection, now, REJECTED, f"by {who}", study_id)
    judge_again(connection, study_id)


def rejected_of(connection: sa.Connection, study_id: str) -> list[ProposalRow]:
    """Every proposal of a study that was rejected."""
    return rows_where(connection, ProposalRow, proposals.c.study_id == study_id, proposals.c.state == "rejected")


def taken(connection: sa.Connection, row_id: str, destinations: Sequence[str]) -> None:
    connection.execute(proposals.update().where(proposals.c.id == row_id).values(taken_by=list(destinations)))


def is_ours(connection: sa.Connection, sop_uid: str) -> bool:
    """Whether a segmentation under this UID was proposed by us."""
    return connection.execute(sa.select(proposals.c.id).where(proposals.c.sop_uid == sop_uid)).first() is not None


def judge_again(connection: sa.Connection, study_id: str) -> None:
    connection.execute(studies.update().where(studies.c.id == study_id).values(dirty=True))
