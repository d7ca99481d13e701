"""The first page: whether all is well, in one sentence; else what to do."""

from __future__ import annotations

import time

from starlette.responses import Response

from daemon.console.visit import Visit
from daemon.ledger.states import STUCK
from daemon.ledger_in_words import WORDS, advice, gather, in_words, remedies_of


def today(visit: Visit) -> Response:
    """Counts by state, what needs a person and why, and what the checks of this machine say."""
    now = time.time()
    with visit.state.ledger.read() as connection:
        facts = gather(visit.settings, connection, now)
    stuck = [
        {**study, "sentence": in_words(study["state"], study["reason"]), "remedies": remedies_of(study)}
        for study in facts["stuck"]
    ]
    visit.viewed("today")
    needs = sum(facts["studies"][state]["count"] for state in STUCK if state in facts["studies"])
    return visit.render(
        "today.html",
        section="today",
        advice=list(advice(facts)),
        stuck=stuck,
        needs=needs,
        letters=facts["dead_letters"][:5],
        counts=[(state, WORDS[state], facts["studies"][state]) for state in WORDS if state in facts["studies"]],
        deliveries=facts["deliveries"],
        facts=facts,
        analysing=sum(w["processes"] for w in facts["workers"] if "analyse" in w["queues"]),
    )
