"""How many rows are in each state, without counting them: sums of what the triggers wrote."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from daemon.ledger.tables import deliveries, instances, packed_exams, studies, tallies
from daemon.ledger.tables.columns import HERE

# Changes that are summed up in one transaction: some ten milliseconds.
CHANGES_AT_ONCE = 5000
# Fewer are left as they are: reading them costs nothing that matters.
WORTH_SUMMING = 200


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows of a kind in a state; `subject`: of deliveries, the destination."""

    subject: str
    state: str
    number: int
    bytes: int


class _Of(NamedTuple):
    """What is counted together."""

    kind: str
    subject: str
    state: str


def tallied(connection: sa.Connection, kind: str) -> list[Tally]:
    """Without those of which there are none."""
    number, held = sa.func.sum(tallies.c.number), sa.func.sum(tallies.c.bytes)
    rows = connection.execute(
        sa.select(tallies.c.subject, tallies.c.state, number, held)
        .where(tallies.c.kind == kind)
        .group_by(tallies.c.subject, tallies.c.state)
        .order_by(tallies.c.subject, tallies.c.state)
    )
    return [Tally(subject, state, int(n), int(size)) for subject, state, n, size in rows if n]


def wrong(connection: sa.Connection) -> list[Tally]:
    """Where the sums are not what counting gives, and by how much: rows were changed without the triggers, or twice.

    Instances that retention removed are not counted: they are most of what there ever was, and no index holds them.
    One statement, so that all of it sees the same rows.
    """
    summed = sa.select(tallies.c.kind, tallies.c.subject, tallies.c.state, tallies.c.number, tallies.c.bytes).where(
        (tallies.c.kind != "instance") | (tallies.c.state != "purged")
    )
    nothing, zero = sa.literal("", sa.String), sa.literal(0, sa.BigInteger)
    less = -sa.func.count()
    of_studies = sa.select(sa.literal("study"), nothing, studies.c.state, less, zero).group_by(studies.c.state)
    of_deliveries = sa.select(
        sa.literal("delivery"), deliveries.c.destination, deliveries.c.state, less, zero
    ).group_by(deliveries.c.destination, deliveries.c.state)
    of_instances = (
        sa.select(sa.literal("instance"), nothing, instances.c.state, less, -sa.func.sum(instances.c.size))
        .where(HERE)
        .group_by(instances.c.state)
    )
    held, inside = sa.func.length(packed_exams.c.content), packed_exams.c.instances
    of_packed = [
        sa.select(sa.literal("packed"), nothing, sa.literal("exams"), less, -sa.func.coalesce(sa.func.sum(held), 0)),
        sa.select(
            sa.literal("packed"), nothing, sa.literal("instances"), -sa.func.coalesce(sa.func.sum(inside), 0), zero
        ).select_from(packed_exams),
    ]
    both = sa.union_all(summed, of_studies, of_deliveries, of_instances, *of_packed).subquery()
    number, held = sa.func.sum(both.c.number), sa.func.sum(both.c.bytes)
    rows = connection.execute(
        sa.select(both.c.kind, both.c.subject, both.c.state, number, held)
        .group_by(both.c.kind, both.c.subject, both.c.state)
        .having((number != 0) | (held != 0))
        .order_by(both.c.kind, both.c.subject, both.c.state)
    )
    return [Tally(subject or kind, state, int(n), int(size)) for kind, subject, state, n, size in rows]


def sum_up(connection: sa.Connection) -> bool:
    """Make one row of many, some thousands at a time; whether there are more.

    Each row is taken away by one transaction and counted by the same, whoever else sums up beside it.
    """
    oldest = sa.select(tallies.c.id).order_by(tallies.c.id).limit(CHANGES_AT_ONCE)
    if len(connection.execute(oldest.limit(WORTH_SUMMING)).all()) < WORTH_SUMMING:
        return False
    taken = connection.execute(
        tallies.delete()
        .where(tallies.c.id.in_(oldest))
        .returning(tallies.c.kind, tallies.c.subject, tallies.c.state, tallies.c.number, tallies.c.bytes)
    ).all()
    numbers: Counter[_Of] = Counter()
    sizes: Counter[_Of] = Counter()
    for row in taken:
        of = _Of(row.kind, row.subject, row.state)
        numbers[of] += row.number
        sizes[of] += row.bytes
    sums = [
        {"kind": of.kind, "subject": of.subject, "state": of.state, "number": number, "bytes": sizes[of]}
        for of, number in numbers.items()
        if number or sizes[of]
    ]
    if sums:
        connection.execute(tallies.insert(), sums)
    return len(taken) == CHANGES_AT_ONCE
