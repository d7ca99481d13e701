"""The ledger decides who comes first; the broker is told of a few at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from config.schema import Settings
from daemon.indexing.priority import Order, priority_of
from daemon.ledger import Ledger
from daemon.ledger.claims import claim
from daemon.ledger.heartbeats import sign, worker_processes
from daemon.ledger.instances import Arrival, record
from daemon.ledger.tables import studies
from daemon.ledger.work_order import LOW, ROUTINE, URGENT, next_revisions, place_in_line
from daemon.spool import Entry
from daemon.work.context import Context
from daemon.work.dispatch import ANNOUNCED_S, dispatch_revisions, may_backfill
from tests.support.facts import image
from tests.support.queued import NOW, queued

HOUR = 3600.0
HEAD_START_S = 4 * HOUR


class Broker:
    """Remembers what it was told; `length` is what it says of its queue."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.length: int | None = 0

    def announce(self, task: str, row_id: str) -> bool:
        self.told.append((task, row_id))
        return True

    def queued(self, queue: str) -> int | None:
        return self.length


def context(ledger: Ledger, broker: Broker, now: float = NOW, **work: Any) -> Context:
    return Context(Settings.model_validate({"work": work}), ledger, lambda: now, broker.announce, broker.queued)


def worker(ledger: Ledger, processes: int, name: str = "w", at: float = NOW) -> None:
    with ledger.write() as connection:
        sign(connection, name, "worker", at, {"queues": ["analyse"], "processes": processes})


def order(ledger: Ledger, now: float = NOW + 100 * HOUR, *, backfills: bool = True) -> list[str]:
    with ledger.read() as connection:
        return [r.id for r in next_revisions(connection, now, 100, HEAD_START_S, backfills=backfills)]


def test_the_one_that_waits_longest_comes_first(ledger: Ledger) -> None:
    queued(ledger, "late", NOW + 10)
    queued(ledger, "early", NOW)
    assert order(ledger) == ["r-early", "r-late"]


def test_an_urgent_exam_goes_before_routine_ones(ledger: Ledger) -> None:
    queued(ledger, "routine", NOW)
    queued(ledger, "urgent", NOW + HOUR, URGENT)
    queued(ledger, "low", NOW, LOW)
    assert order(ledger) == ["r-urgent", "r-routine", "r-low"]


def test_a_routine_exam_that_waited_a_head_start_longer_is_not_overtaken(ledger: Ledger) -> None:
    queued(ledger, "routine", NOW)
    queued(ledger, "urgent", NOW + HEAD_START_S + 1, URGENT)
    assert order(ledger) == ["r-routine", "r-urgent"]


def test_what_is_analysed_is_reported_before_anything_else_is_begun(ledger: Ledger) -> None:
    queued(ledger, "urgent", NOW, URGENT)
    queued(ledger, "analysed", NOW + HOUR, stage="report")
    assert order(ledger)[0] == "r-analysed"


def test_a_backfill_takes_what_is_left_over_however_old_it_is(ledger: Ledger) -> None:
    queued(ledger, "old", NOW - 1000 * HOUR, role="backfill")
    queued(ledger, "new", NOW, LOW)
    assert order(ledger) == ["r-new", "r-old"]
    assert order(ledger, backfills=False) == ["r-new"]


def test_an_operator_is_told_the_place_in_line(ledger: Ledger) -> None:
    for number in range(3):
        queued(ledger, f"s{number}", NOW + number)
    with ledger.read() as connection:
        assert place_in_line(connection, "r-s2", NOW + 5, HEAD_START_S) == 2
        assert place_in_line(connection, "unknown", NOW + 5, HEAD_START_S) is None


def test_only_a_few_more_messages_are_sent_than_there_are_workers(ledger: Ledger) -> None:
    for number in range(20):
        queued(ledger, f"s{number:02}", NOW - 20 + number)
    worker(ledger, 3)
    broker = Broker()
    assert dispatch_revisions(context(ledger, broker)) == 5
    assert [name for _, name in broker.told] == [f"r-s{n:02}" for n in range(5)]
    assert dispatch_revisions(context(ledger, broker)) == 0


def test_the_next_one_follows_when_a_worker_is_done(ledger: Ledger) -> None:
    for number in range(5):
        queued(ledger, f"s{number}", NOW - 5 + number)
    worker(ledger, 1)
    broker = Broker()
    dispatch_revisions(context(ledger, broker))
    with ledger.write() as connection:
        assert claim(connection, "revision", "r-s0", "w", NOW, 60, 3) is not None
    assert dispatch_revisions(context(ledger, broker)) == 0, "one is worked on, two are queued: as many as may be"
    with ledger.write() as connection:
        connection.execute(sa.text("UPDATE revisions SET stage='done', lease_until=NULL WHERE id='r-s0'"))
    broker.told.clear()
    assert dispatch_revisions(context(ledger, broker)) == 1
    assert broker.told == [("axrad.analyse", "r-s3")]


def test_an_urgent_exam_that_comes_late_overtakes_all_but_the_few_that_are_queued(ledger: Ledger) -> None:
    for number in range(10):
        queued(ledger, f"s{number}", NOW - 10 + number)
    worker(ledger, 1)
    broker = Broker()
    dispatch_revisions(context(ledger, broker))
    queued(ledger, "urgent", NOW, URGENT)
    for name in ("r-s0", "r-s1"):
        with ledger.write() as connection:
            connection.execute(sa.text(f"UPDATE revisions SET stage='done' WHERE id='{name}'"))
    broker.told.clear()
    dispatch_revisions(context(ledger, broker))
    assert broker.told[0] == ("axrad.analyse", "r-urgent")


def test_a_message_that_is_lost_is_sent_again_after_a_while(ledger: Ledger) -> None:
    queued(ledger, "s", NOW)
    broker = Broker()
    dispatch_revisions(context(ledger, broker, NOW))
    assert dispatch_revisions(context(ledger, broker, NOW + ANNOUNCED_S - 1)) == 0
    assert dispatch_revisions(context(ledger, broker, NOW + ANNOUNCED_S + 1)) == 1


def test_a_message_that_only_waits_is_not_sent_again(ledger: Ledger) -> None:
    for number in range(2):
        queued(ledger, f"s{number}", NOW)
    broker = Broker()
    assert dispatch_revisions(context(ledger, broker, NOW)) == 2
    broker.length = 2
    assert dispatch_revisions(context(ledger, broker, NOW + 10 * ANNOUNCED_S)) == 0


def test_a_broker_that_cannot_be_asked_is_told_again(ledger: Ledger) -> None:
    queued(ledger, "s", NOW)
    broker = Broker()
    dispatch_revisions(context(ledger, broker, NOW))
    broker.length = None
    assert dispatch_revisions(context(ledger, broker, NOW + 10 * ANNOUNCED_S)) == 1


def test_a_worker_without_a_sign_of_life_counts_for_nothing(ledger: Ledger) -> None:
    worker(ledger, 4, "gone", NOW - 1000)
    worker(ledger, 2, "here", NOW)
    with ledger.read() as connection:
        assert worker_processes(connection, "analyse", NOW + 10) == 2


@pytest.mark.parametrize(
    ("hours", "clock", "expected"),
    [
        ((), "12:00", True),
        (("22:00-06:00",), "23:30", True),
        (("22:00-06:00",), "05:59", True),
        (("22:00-06:00",), "06:00", False),
        (("22:00-06:00",), "12:00", False),
        (("12:00-13:00", "22:00-06:00"), "12:30", True),
        (("08:00-08:00",), "03:00", True),
    ],
)
def test_backfills_run_in_their_hours(hours: tuple[str, ...], clock: str, expected: bool) -> None:
    settings = Settings.model_validate({"work": {"background_hours": hours}})
    at = datetime.fromisoformat(f"2026-03-10T{clock}").replace(tzinfo=UTC).timestamp()
    assert may_backfill(settings, at) is expected


def test_backfill_hours_are_the_sites() -> None:
    settings = Settings.model_validate(
        {"site": {"timezone": "Asia/Shanghai"}, "work": {"background_hours": ["22:00-06:00"]}}
    )
    assert may_backfill(settings, datetime(2026, 3, 10, 15, 0, tzinfo=UTC).timestamp()), "23:00 in Shanghai"
    assert not may_backfill(settings, datetime(2026, 3, 10, 23, 0, tzinfo=UTC).timestamp()), "07:00 in Shanghai"


def test_outside_its_hours_a_backfill_is_not_dispatched(ledger: Ledger) -> None:
    queued(ledger, "old", NOW, role="backfill")
    clock = datetime.fromtimestamp(NOW, tz=UTC)
    elsewhen = f"{(clock.hour + 2) % 24:02}:00-{(clock.hour + 3) % 24:02}:00"
    assert dispatch_revisions(context(ledger, Broker(), background_hours=[elsewhen])) == 0
    assert dispatch_revisions(context(ledger, Broker())) == 1


def entry(**values: Any) -> Entry:
    return Entry(NOW, "stored", "a1", **values)


@pytest.mark.parametrize(
    ("requested", "priority", "meant"),
    [
        (None, ROUTINE, ROUTINE),
        (0, ROUTINE, ROUTINE),
        (1, URGENT, URGENT),
        (2, ROUTINE, LOW),
        (7, ROUTINE, ROUTINE),
    ],
)
def test_low_of_a_sender_counts_as_routine_unless_its_peer_means_it(
    requested: int | None, priority: int, meant: int
) -> None:
    peers = [{"ae_title": "MR1"}, {"ae_title": "RESEARCH", "low_is_meant": True}]
    order = Order.of(Settings.model_validate({"peer": peers}))
    assert priority_of(entry(priority=requested, calling_ae="MR1"), None, order) == priority
    assert priority_of(entry(priority=requested, calling_ae="RESEARCH"), None, order) == meant


def test_a_rule_on_where_an_exam_comes_from_makes_it_urgent() -> None:
    rules = Order.of(
        Settings.model_validate({"work": {"urgent": [{"calling_ae": "er*", "department": "*emergency*"}]}})
    )
    here = image("1.2.3.1", 1, InstitutionalDepartmentName="Emergency Radiology")
    elsewhere = image("1.2.3.1", 1, InstitutionalDepartmentName="Senology")
    assert priority_of(entry(calling_ae="ER_MR1"), here, rules) == URGENT
    assert priority_of(entry(calling_ae="ER_MR1"), elsewhere, rules) == ROUTINE
    assert priority_of(entry(calling_ae="MR1"), here, rules) == ROUTINE


def _priority_after(ledger: Ledger, *priorities: int) -> tuple[int, str]:
    for number, priority in enumerate(priorities, start=1):
        facts = image("1.2.3.1", number)
        with ledger.write() as connection:
            record(connection, Arrival(facts.ref.sop_instance_uid, "d", "p", 1, NOW, facts=facts, priority=priority))
    with ledger.read() as connection:
        row = connection.execute(sa.select(studies)).one()
        return row.priority, row.role


def test_one_urgent_instance_makes_the_study_urgent_and_later_ones_do_not_undo_it(ledger: Ledger) -> None:
    assert _priority_after(ledger, ROUTINE, URGENT, LOW) == (URGENT, "current")


def test_a_low_study_is_low_from_its_first_instance_on(ledger: Ledger) -> None:
    assert _priority_after(ledger, LOW, LOW) == (LOW, "current")


def test_a_backfill_is_one_from_its_first_instance_on(ledger: Ledger) -> None:
    facts = image("1.2.3.1", 1)
    with ledger.write() as connection:
        record(connection, Arrival(facts.ref.sop_instance_uid, "d", "p", 1, NOW, facts=facts, backfill=True))
    with ledger.read() as connection:
        assert connection.execute(sa.select(studies.c.role)).scalar_one() == "backfill"


@settings(deadline=None, max_examples=20)  # each example makes a ledger
@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from([LOW, ROUTINE, URGENT])), min_size=2, max_size=8))
def test_nobody_is_overtaken_by_more_than_a_head_start_per_step(exams: list[tuple[int, int]]) -> None:
    from daemon.ledger import open_ledger

    ledger = open_ledger(Settings.model_validate({"ledger": {"url": "sqlite://"}}))
    for number, (at, priority) in enumerate(exams):
        queued(ledger, f"s{number}", at, priority)
    names = [int(name.removeprefix("r-s")) for name in order(ledger, 1e7)]
    for ahead, behind in pairwise(names):
        waited_longer = exams[ahead][0] - exams[behind][0]
        assert waited_longer <= (exams[ahead][1] - exams[behind][1]) * HEAD_START_S
    ledger.close()
