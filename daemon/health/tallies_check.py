"""Whether the counts of exams, deliveries and files are what counting gives. Counting is for `axrad doctor` alone."""

from __future__ import annotations

import sqlalchemy as sa

from daemon.finding import Finding
from daemon.ledger import tallies


def tallied(connection: sa.Connection) -> Finding:
    wrong = tallies.wrong(connection)
    if not wrong:
        return Finding("tallies", "ok", "the counts of exams, deliveries and files are what counting gives", value=0)
    first = wrong[0]
    text = f"{len(wrong)} counts are wrong, `{first.subject}` in the state `{first.state}` by {first.number} first"
    return Finding(
        "tallies",
        "warn",
        f"{text}: `axrad status` and metrics show wrong numbers, nothing else goes by them",
        "stop axrad, then `axrad backup` and `axrad restore FILE --replace`, which counts anew",
        value=len(wrong),
    )
