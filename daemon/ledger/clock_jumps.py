"""When the wall clock jumps, the times in the ledger are wrong: leases, pauses and due times are corrected here.

Clocks are put right by hand, by NTP after hours without it, or with a virtual machine that slept. Forward, every lease
would seem to have run out under the hands of a living worker; backward, whatever waits a second would wait for hours.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from daemon.clock import Clock
from daemon.ledger.claims import OPEN, TABLES, Claimable, backoff_s
from daemon.ledger.tables import breakers, comparisons, studies

# Less than this is a clock that is being disciplined, or another machine's.
TOLERANCE_S = 5.0
LONGEST_BREAKER_PAUSE_S = 3600.0


class JumpWatch:
    """Compares the wall clock with one that cannot be set. The first look has nothing to compare with."""

    def __init__(self, clock: Clock, steady: Callable[[], float]) -> None:
        self._clock = clock
        self._steady = steady
        self._apart: float | None = None

    def look(self) -> float | None:
        """By how many seconds the wall clock jumped since the last look; None on the first."""
        apart = self._clock() - self._steady()
        before, self._apart = self._apart, apart
        return None if before is None else apart - before


def mend(connection: sa.Connection, now: float, jumped_s: float, lease_s: float, backoff_base_s: float) -> int:
    """After a jump of `jumped_s` (0: unknown, at the start of a process): the rows that were mended.

    Forward: a lease that was alive before is alive after. Backward: nothing has arrived, was made or was tried in the
    future, and nothing waits longer than it would have.
    """
    mended = 0
    if jumped_s > TOLERANCE_S:
        for table in TABLES.values():
            alive = table.c.lease_until >= now - jumped_s
            mended += connection.execute(
                table.update().where(alive).values(lease_until=table.c.lease_until + jumped_s)
            ).rowcount
        return mended
    late = now + TOLERANCE_S
    mended += connection.execute(
        studies.update().where(studies.c.last_arrival_at > late).values(last_arrival_at=now, dirty=True)
    ).rowcount
    mended += connection.execute(
        studies.update().where(studies.c.answerable_since > late).values(answerable_since=now, dirty=True)
    ).rowcount
    mended += connection.execute(comparisons.update().where(comparisons.c.since > late).values(since=now)).rowcount
    pauses = breakers.c.open_until > (now if jumped_s < 0 else now + LONGEST_BREAKER_PAUSE_S)
    mended += connection.execute(breakers.update().where(pauses).values(open_until=now)).rowcount
    for kind in TABLES:
        # Fetches wait long on purpose, between one question to the archive and the next.
        pauses_known = kind != "fetch" or jumped_s < 0
        mended += _mend_queue(connection, kind, now, lease_s, backoff_base_s if pauses_known else None)
    return mended


def _mend_queue(
    connection: sa.Connection, kind: Claimable, now: float, lease_s: float, backoff_base_s: float | None
) -> int:
    """Without `backoff_base_s` a retry is believed to wait as long as was meant."""
    table = TABLES[kind]
    late = now + TOLERANCE_S
    retry = (table.c.attempts > 0) & (table.c.next_attempt_at > late) & (table.c.state != "stored")
    rows = connection.execute(
        sa.select(table).where(
            OPEN[kind]
            & (
                (table.c.created_at > late)
                | (table.c.lease_until > late + lease_s)
                | (table.c.enqueued_until > late)
                # `stored` waits for hours, and means to.
                | (retry if backoff_base_s is not None else sa.false())
            )
        )
    ).all()
    for row in rows:
        next_at = row.next_attempt_at
        if row.created_at > late:
            next_at = min(next_at, now)
        elif row.attempts > 0 and backoff_base_s is not None:
            next_at = min(next_at, now + backoff_s(backoff_base_s, row.attempts))
        connection.execute(
            table.update()
            .where(table.c.id == row.id)
            .values(
                created_at=min(row.created_at, now),
                next_attempt_at=next_at,
                # A worker that is alive renews its lease; of a dead one it runs out.
                lease_until=None if row.lease_until is None else min(row.lease_until, now + lease_s),
                enqueued_until=None,
            )
        )
    return len(rows)
