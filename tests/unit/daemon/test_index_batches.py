"""A batch of journal lines leaves the same rows as its lines one after another, whatever comes in whatever order."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.assembly.duplicates import CONTENT_TAG
from daemon.ledger import Ledger
from daemon.ledger.arrival_batches import take_all
from daemon.ledger.arrival_steps import Step, take_one_by_one
from daemon.ledger.instances import Arrival, mark_lost
from daemon.ledger.states import IN_SPOOL
from daemon.ledger.tables import (
    accessions,
    comparisons,
    events,
    instances,
    open_associations,
    roi_references,
    studies,
    tallies,
)
from daemon.ledger.work_order import ROUTINE, URGENT
from pipeline.catalog import InstanceFacts
from tests.support.facts import image, ours, seg

NOW = 1_000_000.0
STUDIES = ("1.2.3", "1.2.4")
CT = "1.2.840.10008.5.1.4.1.1.2"


def slice_of(study: int, number: int) -> InstanceFacts:
    uid = STUDIES[study]
    return image(f"{uid}.1", number, study=uid, patient=f"P{study}")


def region(study: int, own: int, names_study: bool) -> InstanceFacts:
    """On the first three slices of a study, filed under a study of its own or that of another exam."""
    on = [slice_of(study, number) for number in range(3)]
    drawn = seg(on, uid=f"1.9.{study}.{own}", study=("1.9.9", *STUDIES)[own])
    if not names_study:
        drawn = replace(drawn, references=tuple(replace(r, study_uid="") for r in drawn.references))
    return drawn


def not_used(number: int) -> InstanceFacts:
    other = image("1.2.5.1", number, study="1.2.5")
    return replace(other, ref=replace(other.ref, sop_class_uid=CT), modality="CT")


SLICES = st.builds(slice_of, st.integers(0, 1), st.integers(0, 3))
FACTS = st.one_of(
    SLICES,
    SLICES,
    st.builds(lambda facts: replace(facts, tags={**facts.tags, CONTENT_TAG: "x"}), SLICES),
    st.builds(region, st.integers(0, 1), st.integers(0, 2), st.booleans()),
    st.builds(not_used, st.integers(0, 1)),
    st.just(ours()),
    # A PACS that has changed the study of an image.
    st.builds(lambda facts: replace(facts, ref=replace(facts.ref, study_uid=STUDIES[1])), SLICES),
)
ARRIVALS = st.builds(
    lambda facts, digest, at, unreadable, torn, priority, backfill, accession: Arrival(
        facts.ref.sop_instance_uid,
        digest,
        f"instances/{facts.ref.sop_instance_uid}-{digest}.dcm",
        10,
        NOW + at,
        note="torn" if torn else "why" if unreadable else "",
        facts=None if unreadable or torn else facts,
        priority=priority,
        backfill=backfill,
        torn=torn,
        accession=accession,
    ),
    FACTS,
    st.sampled_from("ab"),
    st.integers(0, 9),
    st.sampled_from([False] * 6 + [True]),
    st.sampled_from([False] * 6 + [True]),
    st.sampled_from([ROUTINE, ROUTINE, URGENT]),
    st.booleans(),
    st.sampled_from(["", "one", "two"]),
)
STEPS = st.builds(
    lambda arrival, association, at, kind: Step(
        association,
        NOW + at,
        arrival if kind == "arrival" else None,
        sending=kind in ("arrival", "nothing new"),
        ended=kind == "ended",
    ),
    ARRIVALS,
    st.sampled_from(["a1", "a2"]),
    st.integers(0, 9),
    st.sampled_from(["arrival"] * 6 + ["nothing new", "ended"]),
)
# Between batches: files vanish, retention removes them, studies go on or are cancelled.
BETWEEN = st.sampled_from(["", "lost", "purged", "judged", "waiting", "expired", "cancelled"])
HISTORIES = st.lists(st.tuples(BETWEEN, st.lists(STEPS, max_size=12)), min_size=1, max_size=4)


def between(connection: sa.Connection, what: str) -> None:
    if what == "lost":
        ids = connection.execute(sa.select(instances.c.id).order_by(instances.c.id).limit(2)).scalars().all()
        mark_lost(connection, ids, NOW)
    elif what == "purged":
        connection.execute(instances.update().where(instances.c.state.in_(IN_SPOOL)).values(state="purged"))
    elif what == "judged":
        connection.execute(studies.update().values(dirty=False))
    elif what in ("waiting", "expired", "cancelled"):
        connection.execute(studies.update().values(state=what, dirty=False, reason="a reason"))


def rows(ledger: Ledger) -> dict[str, object]:
    """Everything in the ledger, by what does not depend on chance: studies have random ids."""
    with ledger.read() as connection:
        uid_of: dict[str | None, str | None] = {
            row.id: row.study_uid for row in connection.execute(sa.select(studies.c.id, studies.c.study_uid))
        }
        tallied = connection.execute(sa.select(tallies.c.kind, tallies.c.state, tallies.c.number, tallies.c.bytes))
        sums: Counter[tuple[str, str]] = Counter()
        for kind, state, number, _ in tallied:
            sums[kind, state] += number
        shown: dict[str, object] = {"tallies": {key: number for key, number in sums.items() if number}}
        for table, order in (
            (instances, instances.c.id),
            (roi_references, roi_references.c.roi_id),
            (comparisons, comparisons.c.sop_uid),
            (open_associations, open_associations.c.name),
            (studies, studies.c.study_uid),
            (accessions, accessions.c.exam_uid),
        ):
            listed = connection.execute(sa.select(table).order_by(order, *table.primary_key.columns))
            shown[table.name] = [
                {k: v for k, v in row._mapping.items() if (table.name, k) != ("studies", "id")} for row in listed
            ]
        # Of a study that was dropped since, nobody knows the id.
        shown["events"] = [
            (row.at, row.kind, row.detail, uid_of.get(row.study_id, row.study_id and "gone"))
            for row in connection.execute(sa.select(events).order_by(events.c.id))
        ]
    return shown


Take = Callable[[sa.Connection, Sequence[Step]], set[str]]
History = list[tuple[str, list[Step]]]


class Killed(BaseException):
    """The process is no more."""


def lived_through(ledger: Ledger, history: History, take: Take, dies_at: int = 0) -> tuple[object, list[set[str]]]:
    """The rows in the end. `dies_at`: before which statement of each batch the process is killed, then to repeat it."""
    exams = []
    empty(ledger)
    for what, steps in history:
        with ledger.write() as connection:
            between(connection, what)
        if dies_at:
            with suppress(Killed), dying(ledger, dies_at), ledger.write() as connection:
                take(connection, steps)
                raise Killed
        with ledger.write() as connection:
            exams.append(take(connection, steps))
    return without_numbers(rows(ledger)), exams


@contextmanager
def dying(ledger: Ledger, step: int) -> Iterator[None]:
    statements = itertools.count(1)

    def count(*_: Any) -> None:
        if next(statements) == step:
            raise Killed

    sa.event.listen(ledger.engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        sa.event.remove(ledger.engine, "before_cursor_execute", count)


def empty(ledger: Ledger) -> None:
    """Empty, and with ids that begin with 1 again."""
    tables = (accessions, roi_references, instances, studies, comparisons, open_associations, events, tallies)
    with ledger.write() as connection:
        if connection.dialect.name == "postgresql":
            names = ", ".join(table.name for table in tables)
            connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
        for table in tables:
            connection.execute(table.delete())


def without_numbers(shown: dict[str, Any]) -> object:
    """Ids by their rank: PostgreSQL does not give the numbers of a killed transaction again."""
    rank = {row["id"]: number for number, row in enumerate(shown["instances"])}
    for row in shown["instances"]:
        row["id"] = rank[row["id"]]
    for row in shown["roi_references"]:
        row["roi_id"] = rank[row["roi_id"]]
    shown["events"] = [
        (at, kind, re.sub(r"instance \d+", "", detail), uid) for at, kind, detail, uid in shown["events"]
    ]
    return shown


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(history=HISTORIES, dies_at=st.integers(0, 20))
def test_a_batch_leaves_the_rows_that_its_lines_leave_one_after_another_wherever_it_was_killed(
    ledger: Ledger, history: History, dies_at: int
) -> None:
    assert lived_through(ledger, history, take_all, dies_at) == lived_through(ledger, history, take_one_by_one)


@pytest.mark.parametrize("gone", ["lost", "purged", "purging"])
def test_a_file_that_nobody_could_read_is_filed_under_its_own_study_when_it_comes_again_and_can_be(
    ledger: Ledger, gone: str
) -> None:
    """A study without a UID would take in the images of all patients."""
    came = arrival(slice_of(0, 1))
    with ledger.write() as connection:
        take_all(connection, [Step("a1", NOW, replace(came, facts=None, note="why"), sending=True)])
        connection.execute(instances.update().values(state=gone))
        assert take_all(connection, [Step("a2", NOW, came, sending=True)]) == {STUDIES[0]}
        assert connection.execute(sa.select(instances.c.exam_uid, instances.c.state)).all() == [(STUDIES[0], "stored")]
        assert connection.execute(sa.select(studies.c.study_uid)).scalars().all() == [STUDIES[0]]


def test_a_batch_takes_as_many_statements_for_many_lines_as_for_few(ledger: Ledger) -> None:
    """pg8000 asks a database twice for each row of an executemany: rows go into it by one statement."""
    asked = []
    sa.event.listen(ledger.engine, "before_cursor_execute", lambda *a: asked.append(a[2]))
    counts = []
    for many in (5, 150):
        asked.clear()
        arrivals = [slice_of(0, 1000 * many + number) for number in range(many)]
        with ledger.write() as connection:
            take_all(connection, [Step("a1", NOW, arrival(facts), sending=True) for facts in arrivals])
        counts.append(len(asked))
    assert counts[1] <= counts[0] <= 12


def arrival(facts: InstanceFacts) -> Arrival:
    uid = facts.ref.sop_instance_uid
    return Arrival(uid, "a", f"instances/{uid}.dcm", 10, NOW, facts=facts)
