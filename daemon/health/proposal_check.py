"""Whether proposed regions wait long for a reader."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.finding import Finding, words
from daemon.ledger import proposals as ledger_proposals
from daemon.ledger.states import ANSWERED_BY_READER, AWAITS_READER

# A reader looks at an exam within days.
PROPOSAL_OLD_S = 3 * 86400.0


def proposed(connection: sa.Connection, now: float) -> Finding:
    """Proposals that wait for a reader, and what became of the others."""
    by_state = ledger_proposals.counts(connection)
    waiting, since = sum(by_state.get(state, 0) for state in AWAITS_READER), ledger_proposals.waiting_since(connection)
    others = ", ".join(f"{by_state.get(state, 0)} {state}" for state in ANSWERED_BY_READER)
    if not waiting or since is None:
        return Finding("proposals", "ok", f"no proposal waits for a reader; {others}", value=0, limit=PROPOSAL_OLD_S)
    age = max(0.0, now - since)
    many = "proposals wait" if waiting > 1 else "proposal waits"
    old = age > PROPOSAL_OLD_S
    return Finding(
        "proposals",
        "warn" if old else "ok",
        f"{waiting} {many} for a reader, the oldest for {words(age)}; {others}",
        "`axrad studies` lists the exams that wait; a reader accepts, edits or rejects what was proposed"
        if old
        else "",
        value=age,
        limit=PROPOSAL_OLD_S,
    )
