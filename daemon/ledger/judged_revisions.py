"""Revisions that verdicts make, show again, or hold."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from daemon.assembly import Verdict, expected_answer, input_digest
from daemon.assembly.revision_rule import Outcome, compare
from daemon.ledger.engine import new_id, note
from daemon.ledger.moves import add, move, move_all, queued_anew
from daemon.ledger.rows import RevisionRow, StudyRow
from daemon.ledger.states import BEFORE_A_REVISION, REVISION_OPEN
from daemon.ledger.studies import stop_deliveries, supersede
from daemon.ledger.tables import deliveries, revisions

HELD_BACK = "held back: an operator has to look at the study"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a study shows from `at` on: a state of its own or of its newest revision, and why."""

    state: str
    at: float
    reason: str = ""
    code: str = ""


def compared(latest: RevisionRow | None, verdict: Verdict, study: StudyRow) -> Outcome | None:
    """What the verdict means for the newest revision; None where there is none, or the verdict tells no inputs.

    One that was made before answers were recorded is followed by any other inputs.
    """
    if latest is None or verdict.basis is None:
        return None
    if latest.answer is None:
        same = latest.input_digest == input_digest(verdict.inputs, study.redo)
        return Outcome("" if same else "its inputs have changed")
    return compare(latest.answer, frozenset(latest.inputs["context"]), verdict.basis, study.redo)


def make_revision(
    connection: sa.Connection, study: StudyRow, latest: RevisionRow | None, verdict: Verdict, now: float
) -> tuple[str, Shown]:
    """The id of the revision that is made, and what the study shows."""
    if latest is not None:
        supersede(connection, latest, now)
    revision_id, number = new_id(), 1 if latest is None else latest.number + 1
    add(
        connection,
        "revision",
        "ready",
        {
            "id": revision_id,
            "study_id": study.id,
            "number": number,
            "input_digest": input_digest(verdict.inputs, study.redo),
            "inputs": {
                "selected": [list(pair) for pair in verdict.inputs],
                "context": list(verdict.context),
                **({"chosen_series": study.chosen_series} if study.chosen_series else {}),
            },
            "answer": None if verdict.basis is None else expected_answer(verdict.basis, study.redo),
            "created_at": now,
            "next_attempt_at": now,
            "spool": "",
        },
        stage="analyse",
    )
    note(connection, now, "revision", f"revision {number}", study.id, revision_id)
    return revision_id, Shown("ready", now)


def show_revision(connection: sa.Connection, study: StudyRow, latest: RevisionRow, now: float) -> Shown | None:
    """The inputs are unchanged: the study shows its revision, which is resumed if it was stopped."""
    state = latest.state
    if state == "held" or (state == "failed" and latest.reason_code in ("files-gone", "unreadable")):
        move(connection, "revision", latest.id, "ready", {"reason": "", **queued_anew(now)})
        note(connection, now, "resumed", f"revision {latest.number}", study.id, latest.id)
        return Shown("ready", now)
    if study.state not in BEFORE_A_REVISION:
        return None
    held_back = (deliveries.c.revision_id == latest.id) & (deliveries.c.reason == HELD_BACK)
    again = {"reason": "", "next_attempt_at": now, "enqueued_until": None, "finished_at": None}
    freed = move_all(connection, "delivery", held_back, ("cancelled",), "pending", again)
    if freed and state == "delivered":
        state = "reported"
        move(connection, "revision", latest.id, state)
    return Shown(state, now, latest.reason, latest.reason_code)


def hold_revision(connection: sa.Connection, latest: RevisionRow | None) -> None:
    """Stop the revision and its deliveries that were not sent yet."""
    if latest is None:
        return
    move_all(
        connection,
        "revision",
        revisions.c.id == latest.id,
        REVISION_OPEN,
        "held",
        {"enqueued_until": None},
        void_lease=True,
    )
    stop_deliveries(connection, latest.id, HELD_BACK)
