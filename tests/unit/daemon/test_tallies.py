"""Counts by state that are kept as rows change: equal to counting, whatever changed them, on both databases."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks._filled_ledger import fill
from config.schema import Settings, Spool
from daemon.health import tallies_check
from daemon.ledger import Ledger, dump, open_ledger, tallies, views
from daemon.ledger.tables import deliveries, instances, studies
from daemon.ledger.tables import tallies as changes

KINDS = {"study": studies, "delivery": deliveries, "instance": instances}
STATES = st.sampled_from(["stored", "purging", "purged"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(1, 4), STATES),
        st.tuples(st.just("move"), STATES, STATES),
        st.tuples(st.just("grow"), STATES, st.integers(0, 3)),
        st.tuples(st.just("delete"), STATES, st.integers(0, 3)),
        st.tuples(st.just("undo"), STATES, STATES),
        st.tuples(st.just("sum up"), st.none(), st.none()),
    ),
    max_size=12,
)


def counted(connection: sa.Connection, kind: str) -> Counter[tuple[str, str, int]]:
    """The same by counting: subject, state, bytes, and how often."""
    table = KINDS[kind]
    subject = table.c.destination if kind == "delivery" else sa.literal("")
    size = sa.func.sum(table.c.size) if kind == "instance" else sa.literal(0)
    rows = connection.execute(sa.select(subject, table.c.state, sa.func.count(), size).group_by(subject, table.c.state))
    return Counter({(where, state, int(held)): n for where, state, n, held in rows})


def tallied(connection: sa.Connection, kind: str) -> Counter[tuple[str, str, int]]:
    return Counter({(t.subject, t.state, t.bytes): t.number for t in tallies.tallied(connection, kind)})


def instance(uid: str, state: str) -> dict[str, object]:
    blank = dict.fromkeys(("digest", "study_uid", "series_uid", "sop_class", "exam_uid", "patient_key"), "")
    return {"sop_uid": uid, "path": uid, "size": len(uid) * 7, "received_at": 0.0, "state": state, "facts": {}, **blank}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(steps=STEPS)
def test_tallies_equal_counting_after_any_history(ledger: Ledger, steps: list[tuple[str, object, object]]) -> None:
    with ledger.write() as connection:
        connection.execute(instances.delete())
    for number, (step, first, second) in enumerate(steps):
        try:
            with ledger.write() as connection:
                take(connection, number, step, first, second)
        except ZeroDivisionError:
            pass
        with ledger.read() as connection:
            assert tallied(connection, "instance") == counted(connection, "instance"), steps[: number + 1]
            assert tallies.wrong(connection) == []


def take(connection: sa.Connection, number: int, step: str, first: object, second: object) -> None:
    of_state = instances.c.state == first
    match step:
        case "insert":
            rows = [instance(f"{number}.{k}", str(second)) for k in range(int(str(first)))]
            connection.execute(instances.insert(), rows)
        case "move":
            connection.execute(instances.update().where(of_state).values(state=second))
        case "grow":
            connection.execute(instances.update().where(of_state).values(size=instances.c.size + second))
        case "delete":
            some = sa.select(instances.c.id).where(of_state).order_by(instances.c.id).limit(int(str(second)))
            connection.execute(instances.delete().where(instances.c.id.in_(some)))
        case "undo":
            connection.execute(instances.update().where(of_state).values(state=second))
            connection.execute(instances.insert(), [instance(f"{number}.undone", "stored")])
            raise ZeroDivisionError
        case "sum up":
            while tallies.sum_up(connection):
                pass


def filled(ledger: Ledger, rows: int) -> None:
    fill(ledger, rows)
    with ledger.write() as connection:
        connection.execute(deliveries.update().where(deliveries.c.id < f"d{7:031x}").values(destination="viewer"))
        connection.execute(studies.update().where(studies.c.id < f"{3:016x}").values(state="held"))


def test_counts_are_those_of_studies_deliveries_and_instances(ledger: Ledger) -> None:
    filled(ledger, 100)
    with ledger.read() as connection:
        for kind in KINDS:
            assert tallied(connection, kind) == counted(connection, kind), kind
        answer = views.counts(connection, 1_800_000_000.0)
    assert answer["deliveries"] == {"pacs": {"delivered": 13}, "viewer": {"delivered": 7}}
    assert {state: row["count"] for state, row in answer["studies"].items()} == {"delivered": 17, "held": 3}
    # The first of twenty exams came twenty times ten minutes before; the first that is still `delivered`, seventeen.
    assert [answer["studies"][state]["oldest_s"] for state in ("held", "delivered")] == [12_000.0, 10_200.0]


def test_many_changes_become_one_row_per_state_and_few_are_left_alone(ledger: Ledger) -> None:
    with ledger.write() as connection:
        for n in range(tallies.WORTH_SUMMING + 1):
            connection.execute(instances.insert(), [instance(f"1.{n}", "stored")])
        before = counted(connection, "instance")
        assert not tallies.sum_up(connection)
        assert connection.execute(sa.select(sa.func.count()).select_from(changes)).scalar_one() == 1
        assert tallied(connection, "instance") == before
        connection.execute(instances.insert(), [instance("2", "stored")])
        tallies.sum_up(connection)
        assert connection.execute(sa.select(sa.func.count()).select_from(changes)).scalar_one() == 2


def test_a_ledger_from_a_backup_counts_what_is_in_it_and_not_what_was_written_twice(
    ledger: Ledger, tmp_path: Path
) -> None:
    filled(ledger, 100)
    with ledger.read() as connection:
        expected = {kind: counted(connection, kind) for kind in KINDS}
        dump.dump(connection, tmp_path / "dump.gz", "0016")
    other = open_ledger(Settings(spool=Spool(path=tmp_path / "other" / "spool")))
    with other.write() as connection:
        dump.load(connection, tmp_path / "dump.gz")
        assert {kind: tallied(connection, kind) for kind in KINDS} == expected
    other.close()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (instances.delete().where(instances.c.id <= 3), tallies.Tally("instance", "stored", 3, 3 * 500_000)),
        (
            studies.update().where(studies.c.state == "held").values(state="expired"),
            tallies.Tally("study", "held", 3, 0),
        ),
        (deliveries.delete().where(deliveries.c.destination == "viewer"), tallies.Tally("viewer", "delivered", 7, 0)),
    ],
    ids=["instances", "studies", "deliveries"],
)
def test_the_doctor_names_counts_that_a_change_without_triggers_left_wrong(
    ledger: Ledger, change: sa.UpdateBase, expected: tallies.Tally
) -> None:
    filled(ledger, 100)
    with ledger.write() as connection:
        assert tallies_check.tallied(connection).ok
        before = connection.execute(sa.select(changes)).all()
        connection.execute(change)
        connection.execute(changes.delete())
        connection.execute(changes.insert(), [dict(row._mapping) for row in before])
        finding = tallies_check.tallied(connection)
        assert expected in tallies.wrong(connection)
    assert not finding.ok
    assert expected.subject in finding.text
