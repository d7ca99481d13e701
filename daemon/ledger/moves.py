"""The one place that writes a state: of a study, a revision and its stage, a delivery, a fetch, a proposal, an
instance.

Every UPDATE names in its WHERE the states that the row may have now, and each of them is one from which the table in
`states.py` leads to the new state. A step that the table does not know changes nothing and raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import sqlalchemy as sa

from daemon.ledger.states import (
    DELIVERY,
    FETCH,
    INSTANCE,
    PROPOSAL,
    REVISION,
    STAGE,
    STUDY,
    Steps,
    check_first,
    may_become,
    those_that_may_become,
)
from daemon.ledger.tables import deliveries, fetches, instances, proposals, revisions, studies

Kind = Literal["study", "revision", "delivery", "fetch", "proposal", "instance"]
KINDS: dict[Kind, tuple[sa.Table, Steps]] = {
    "study": (studies, STUDY),
    "revision": (revisions, REVISION),
    "delivery": (deliveries, DELIVERY),
    "fetch": (fetches, FETCH),
    "proposal": (proposals, PROPOSAL),
    "instance": (instances, INSTANCE),
}
NOTHING: Mapping[str, object] = MappingProxyType({})


def add(
    connection: sa.Connection, kind: Kind, state: str, columns: Mapping[str, object], *, stage: str | None = None
) -> object:
    """Insert a row in a state in which rows of its kind may begin; its primary key."""
    table, steps = KINDS[kind]
    check_first(steps, state)
    values = {**beside_state(columns), "state": state}
    if stage is not None:
        check_first(STAGE, stage)
        values["stage"] = stage
    key = connection.execute(table.insert().values(values)).inserted_primary_key
    return key[0] if key is not None else None


def add_all(connection: sa.Connection, kind: Kind, rows: Iterable[tuple[str, Mapping[str, object]]]) -> None:
    """Insert rows by one statement: of each the state that it begins in, and its other columns, the same in all."""
    table, steps = KINDS[kind]
    values = []
    for state, columns in rows:
        check_first(steps, state)
        values.append({**beside_state(columns), "state": state})
    if values:
        connection.execute(table.insert(), values)


def move(
    connection: sa.Connection,
    kind: Kind,
    row_id: str | int,
    state: str,
    columns: Mapping[str, object] = NOTHING,
    *,
    stage: str | None = None,
    void_lease: bool = False,
) -> None:
    """Move one row. Raises AssertionError where its state does not lead there."""
    table, steps = KINDS[kind]
    where = table.c.id == row_id
    start = may_become(steps, state)
    if not move_all(connection, kind, where, start, state, columns, stage=stage, void_lease=void_lease):
        refuse(connection, kind, where, state)
        raise AssertionError(f"there is no {kind} {row_id}")


def move_all(
    connection: sa.Connection,
    kind: Kind,
    where: sa.ColumnElement[bool],
    start: Iterable[str],
    state: str,
    columns: Mapping[str, object] = NOTHING,
    *,
    stage: str | None = None,
    void_lease: bool = False,
) -> int:
    """Move every row that `where` names and whose state is one of `start`; how many.

    Args:
        columns: what else is written to them.
        stage: of revisions, the new stage.
        void_lease: take the rows from the workers that hold them; whatever those still write is refused.

    Raises AssertionError where any of `start` does not lead to `state`.
    """
    table, steps = KINDS[kind]
    values = {**beside_state(columns), "state": state}
    where &= table.c.state.in_(those_that_may_become(steps, start, state))
    if stage is not None:
        where &= table.c.stage.in_(may_become(STAGE, stage))
        values["stage"] = stage
    if void_lease:
        values |= {"owner": None, "lease_until": None, "fence": table.c.fence + 1}
    return connection.execute(table.update().where(where).values(values)).rowcount


def refuse(connection: sa.Connection, kind: Kind, where: sa.ColumnElement[bool], state: str) -> None:
    """Raise AssertionError if there is such a row: it was not moved, so its state does not lead to `state`."""
    row = connection.execute(sa.select(KINDS[kind][0].c.state).where(where)).first()
    if row is not None:
        raise AssertionError(f"no such transition of a {kind}: {row.state} → {state}")


def beside_state(columns: Mapping[str, object]) -> dict[str, object]:
    """`columns`, none of which is a state or stage: those are moved, never just written."""
    if raw := columns.keys() & {"state", "stage"}:
        raise AssertionError(f"written as a column: {', '.join(sorted(raw))}")
    return dict(columns)


def queued_anew(now: float) -> dict[str, object]:
    """Columns of work that starts from the beginning: due at once, with all its attempts."""
    return {"attempts": 0, "next_attempt_at": now, "enqueued_until": None, "finished_at": None}
