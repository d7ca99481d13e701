"""Claims with leases and fencing tokens, for revisions, deliveries, fetches and proposals alike.

A claim is a compare-and-swap: it succeeds for one worker, counts the attempt *before* the work, and raises the row's
fence. Every later write carries the fence and fails (`LeaseLost`) once somebody else has claimed the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from daemon.ledger.moves import KINDS, NOTHING, beside_state, move_all, refuse
from daemon.ledger.states import DELIVERY_OPEN, FETCH_OPEN, PROPOSAL_OPEN, REVISION_OPEN, STAGE_OPEN, may_become
from daemon.ledger.tables import deliveries, fetches, proposals, revisions
from pipeline.errors import AxradError

Claimable = Literal["revision", "delivery", "fetch", "proposal"]
TABLES: dict[Claimable, sa.Table] = {
    "revision": revisions,
    "delivery": deliveries,
    "fetch": fetches,
    "proposal": proposals,
}
# What may be claimed.
OPEN: dict[Claimable, sa.ColumnElement[bool]] = {
    "revision": revisions.c.stage.in_(STAGE_OPEN) & revisions.c.state.in_(REVISION_OPEN),
    "delivery": deliveries.c.state.in_(DELIVERY_OPEN),
    "fetch": fetches.c.state.in_(FETCH_OPEN),
    "proposal": proposals.c.state.in_(PROPOSAL_OPEN),
}


class LeaseLost(AxradError):
    """Another worker has taken this over; whatever was computed here is dropped."""

    code = "lease-lost"


@dataclass(frozen=True, slots=True)
class Claim:
    """Proof of ownership. `exhausted`: the attempt limit was reached before this claim; give up instead of working."""

    kind: Claimable
    id: str
    fence: int
    attempt: int
    exhausted: bool


def is_due(kind: Claimable, now: float) -> sa.ColumnElement[bool]:
    """Rows that a worker may claim now: due and unclaimed."""
    table = TABLES[kind]
    free = table.c.lease_until.is_(None) | (table.c.lease_until < now)
    return OPEN[kind] & (table.c.next_attempt_at <= now) & free


def to_announce(kind: Claimable, now: float) -> sa.ColumnElement[bool]:
    """Rows to announce to workers: due, unclaimed, and not announced recently."""
    table = TABLES[kind]
    return is_due(kind, now) & (table.c.enqueued_until.is_(None) | (table.c.enqueued_until < now))


def claim(
    connection: sa.Connection,
    kind: Claimable,
    row_id: str,
    owner: str,
    now: float,
    lease_s: float,
    attempts: int,
    stage: str | None = None,
) -> Claim | None:
    """Claim the row if it is due and unclaimed; None otherwise (a second delivery of the same message)."""
    table = TABLES[kind]
    condition = (table.c.id == row_id) & is_due(kind, now)
    if stage is not None:
        condition &= table.c.stage == stage
    row = connection.execute(sa.select(table.c.fence, table.c.attempts).where(condition)).one_or_none()
    if row is None:
        return None
    done = connection.execute(
        table.update()
        .where(condition & (table.c.fence == row.fence))
        .values(
            owner=owner, lease_until=now + lease_s, fence=row.fence + 1, attempts=row.attempts + 1, enqueued_until=None
        )
    )
    if done.rowcount != 1:
        return None
    return Claim(kind, row_id, row.fence + 1, row.attempts + 1, row.attempts >= attempts)


def renew(connection: sa.Connection, held: Claim, now: float, lease_s: float) -> None:
    """Keep the lease while the work goes on."""
    update(connection, held, {"lease_until": now + lease_s})


def update(
    connection: sa.Connection,
    held: Claim,
    columns: Mapping[str, object] = NOTHING,
    *,
    state: str | None = None,
    stage: str | None = None,
) -> None:
    """Write to the row, and move it where a state is given, if it is still ours.

    Raises LeaseLost otherwise, and AssertionError for a step that its state does not allow.
    """
    table, steps = KINDS[held.kind]
    ours = (table.c.id == held.id) & (table.c.fence == held.fence)
    if state is None:
        done = connection.execute(table.update().where(ours).values(beside_state(columns))).rowcount
    else:
        done = move_all(connection, held.kind, ours, may_become(steps, state), state, columns, stage=stage)
        if done != 1:
            refuse(connection, held.kind, ours, state)
    if done != 1:
        raise LeaseLost("another worker has taken over this work", uid=held.id)


def release(
    connection: sa.Connection,
    held: Claim,
    columns: Mapping[str, object] = NOTHING,
    *,
    state: str | None = None,
    stage: str | None = None,
) -> None:
    """The last write of a claim: the row is free again."""
    update(connection, held, {"owner": None, "lease_until": None, **columns}, state=state, stage=stage)


def announced(connection: sa.Connection, kind: Claimable, row_id: str, until: float) -> None:
    """A message was sent; do not send another before `until` unless it proves lost."""
    table = TABLES[kind]
    connection.execute(table.update().where(table.c.id == row_id).values(enqueued_until=until))


def forget_announcements(connection: sa.Connection) -> None:
    """The broker has lost its messages: whatever was announced and is not held must be announced again."""
    for table in TABLES.values():
        connection.execute(table.update().where(table.c.enqueued_until.is_not(None)).values(enqueued_until=None))


def backoff_s(base_s: float, attempt: int) -> float:
    """Doubling, bounded at an hour."""
    return float(min(base_s * 2 ** max(attempt - 1, 0), 3600.0))
