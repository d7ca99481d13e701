"""The first page: whether all is well, in one sentence; else what to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from starlette.responses import Response

from daemon.assembly.proposing import CODE as MEASURED
from daemon.console.command_links import of_finding, pieces
from daemon.console.visit import Visit
from daemon.finding import Finding, not_ok
from daemon.ledger import proposals
from daemon.ledger.rows import JsonObject
from daemon.ledger.states import STUCK
from daemon.ledger_in_words import WORDS, gather, in_words, remedies_of


def today(visit: Visit) -> Response:
    """Counts by state, what needs a person and why, and what the checks of this machine say."""
    now = time.time()
    with visit.state.ledger.read() as connection:
        facts = gather(visit.settings, connection, now)
    stuck = [
        {
            **study,
            "sentence": in_words(study["state"], study["reason"]),
            "remedies": [pieces(line, visit.may) for line in (*_word_of(visit, study), *remedies_of(study))],
        }
        for study in facts["stuck"]
    ]
    visit.viewed("today")
    needs = sum(facts["studies"][state]["count"] for state in STUCK if state in facts["studies"])
    return visit.render(
        "today.html",
        section="today",
        advice=[of_finding(finding, visit.may) for finding in not_ok(Finding(**check) for check in facts["checks"])],
        stuck=stuck,
        needs=needs,
        letters=facts["dead_letters"][:5],
        counts=[(state, WORDS[state], facts["studies"][state]) for state in WORDS if state in facts["studies"]],
        deliveries=facts["deliveries"],
        facts=facts,
        analysing=sum(w["processes"] for w in facts["workers"] if "analyse" in w["queues"]),
    )


def _word_of(visit: Visit, study: JsonObject) -> Iterator[str]:
    """What a reader does about an exam whose proposed regions wait for a word."""
    if study["reason_code"] != MEASURED:
        return
    with visit.state.ledger.read() as connection:
        row = proposals.newest(connection, study["id"])
    if row is not None and proposals.is_open(row):
        yield f"a reader looks at the proposed regions, then: axrad accept {study['id']}, or axrad reject {study['id']}"
