"""An operator chooses a series: the exam is judged again, and a new revision follows where it reads other images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from config.schema import Ledger as LedgerSection
from config.schema import Settings, Spool
from daemon.assembly import EVERYTHING
from daemon.ledger import Ledger, series_choice, studies, views
from daemon.ledger.instances import Arrival, mark_lost, record
from daemon.ledger.operator_requests import retry
from daemon.ledger.priority_and_cancel import cancel
from daemon.ledger.rows import Inputs, RevisionRow, StudyRow, rows_where
from daemon.ledger.studies import move_study
from daemon.ledger.tables import instances, revisions
from daemon.work.context import Context
from daemon.work.revision_exam import exam_of_revision
from daemon.work.sweep import assemble
from pipeline.catalog import InstanceFacts
from pipeline.errors import InputRejected
from pipeline.records import SEQUENCES, Sequence
from tests.support import exams
from tests.support.stories import NOON, breast_exam

EXAM = breast_exam()
FRAME = f"{EXAM.t2[0].ref.study_uid}.9"
OTHER_T2 = [
    replace(i, frame_of_reference_uid=FRAME, patient_key=EXAM.t2[0].patient_key)
    for i in exams.series(7, "unnamed", StudyDate="20260115")
]
T2, OTHER = EXAM.t2[0].ref.series_uid, OTHER_T2[0].ref.series_uid


@dataclass
class House:
    """One exam in a ledger, and the sweep."""

    ledger: Ledger
    settings: Settings
    now: float = NOON

    @property
    def context(self) -> Context:
        return Context(self.settings, self.ledger, lambda: self.now, lambda task, row_id: True)

    def arrive(self, *facts: InstanceFacts) -> None:
        with self.ledger.write() as connection:
            for item in facts:
                uid = item.ref.sop_instance_uid
                record(connection, Arrival(uid, "d", f"instances/{uid}.dcm", 10, self.now, "", facts=item))

    def judge(self) -> str:
        self.now += 121
        assemble(self.context)
        return self.study().state

    def study(self) -> StudyRow:
        with self.ledger.read() as connection:
            return rows_where(connection, StudyRow)[0]

    def revisions(self) -> list[RevisionRow]:
        with self.ledger.read() as connection:
            return rows_where(connection, RevisionRow, order_by=[revisions.c.number])

    def choose(self, name: Sequence, uid: str) -> str:
        with self.ledger.write() as connection:
            row = studies.find(connection, EXAM.t2[0].ref.study_uid)
            assert row is not None
            return series_choice.choose(connection, row, self.now, self.settings, EVERYTHING, name, uid)

    def clear(self, *names: Sequence) -> str:
        with self.ledger.write() as connection:
            return series_choice.clear(connection, rows_where(connection, StudyRow)[0], self.now, names or SEQUENCES)

    def report(self) -> None:
        with self.ledger.write() as connection:
            latest = rows_where(connection, RevisionRow, order_by=[revisions.c.number.desc()])[0]
            where = revisions.c.id == latest.id
            connection.execute(revisions.update().where(where).values(state="delivered", stage="done"))
            for state in ("running", "reported", "delivered"):
                move_study(connection, latest.study_id, state, self.now)

    def shown(self) -> dict[str, Any]:
        with self.ledger.read() as connection:
            return views.timeline(connection, rows_where(connection, StudyRow)[0])


@pytest.fixture
def house(ledger: Ledger, ledger_url: str, tmp_path: Path) -> House:
    made = House(ledger, Settings(ledger=LedgerSection(url=ledger_url), spool=Spool(path=tmp_path / "spool")))
    made.arrive(*EXAM.images, *OTHER_T2, EXAM.seg())
    assert made.judge() == "ready"
    made.report()
    return made


def selected(row: RevisionRow) -> set[str]:
    return {uid for uid, _ in row.inputs["selected"]}


def test_a_choice_makes_a_new_revision_of_other_images_that_carries_it(house: House) -> None:
    assert "is T2 of study" in house.choose("t2", OTHER)
    assert house.judge() == "ready"
    first, second = house.revisions()
    assert selected(second) - selected(first) == {i.ref.sop_instance_uid for i in OTHER_T2}
    assert (first.state, second.inputs.get("chosen_series")) == ("superseded", {"t2": OTHER})
    shown = house.shown()
    assert shown["chosen_series"] == {"t2": OTHER}
    assert [e["detail"] for e in shown["events"] if e["kind"] == "series-chosen"] == [
        f"T2: series {OTHER}, by an operator"
    ]


def test_a_choice_of_what_was_chosen_anyhow_makes_no_revision(house: House) -> None:
    house.choose("t2", T2)
    assert house.judge() == "delivered"
    assert len(house.revisions()) == 1
    assert "already" in house.choose("t2", T2)


def test_taking_it_back_leaves_the_exam_to_the_rules(house: House) -> None:
    house.choose("t2", OTHER)
    house.judge()
    assert "by the rules again" in house.clear()
    house.judge()
    assert selected(house.revisions()[2]) == selected(house.revisions()[0])
    assert house.study().chosen_series is None
    with pytest.raises(InputRejected, match="no series that an operator chose"):
        house.clear("t2")


def test_a_choice_stands_after_retries_a_new_revision_stopping_and_new_images(house: House) -> None:
    house.choose("t2", OTHER)
    house.judge()
    house.report()
    with house.ledger.write() as connection:
        retry(connection, house.study(), house.now, new_revision=True, accept_identity=False)
    house.judge()
    with house.ledger.write() as connection:
        cancel(connection, house.study(), house.now)
    with house.ledger.write() as connection:
        retry(connection, house.study(), house.now, new_revision=False, accept_identity=False)
    better = exams.series(8, "t2_tse_tra_again", StudyDate="20260115", **exams.T2)
    house.arrive(*(replace(i, patient_key=EXAM.t2[0].patient_key) for i in better), *EXAM.images)
    house.judge()
    assert {i.ref.sop_instance_uid for i in OTHER_T2} <= selected(house.revisions()[-1])
    assert house.study().chosen_series == {"t2": OTHER}


def test_the_analysis_reads_the_choice_that_its_revision_was_made_with(house: House) -> None:
    house.choose("t2", OTHER)
    house.judge()
    of_second = house.revisions()[1].inputs
    house.clear()
    facts_only: Inputs = {**of_second, "selected": []}
    exam, _ = exam_of_revision(house.context, EXAM.t2[0].ref.study_uid, facts_only)
    assert exam.choices == {"t2": OTHER}
    before: Inputs = {"selected": [], "context": of_second["context"]}
    assert not exam_of_revision(house.context, exam.study_uid, before).exam.choices


@pytest.mark.parametrize(
    ("uid", "why"), [("1.2.3.99", "not in the exam"), (EXAM.seg().ref.series_uid, "not in the exam"), ("", "not in")]
)
def test_a_series_that_the_exam_does_not_have_is_refused_and_nothing_changes(house: House, uid: str, why: str) -> None:
    with pytest.raises(InputRejected, match=why):
        house.choose("t2", uid)
    assert house.study().chosen_series is None
    assert not house.study().dirty


def test_one_series_is_not_chosen_as_two_sequences(house: House) -> None:
    house.choose("t2", OTHER)
    with pytest.raises(InputRejected, match="chosen as T2 already"):
        house.choose("adc", OTHER)


def test_an_exam_whose_chosen_series_is_lost_waits_for_it(house: House) -> None:
    house.choose("t2", OTHER)
    house.judge()
    with house.ledger.write() as connection:
        of_series = sa.select(instances.c.id).where(instances.c.series_uid == OTHER)
        mark_lost(connection, connection.execute(of_series).scalars().all(), house.now)
    house.judge()
    assert house.study().chosen_series == {"t2": OTHER}
    assert len(house.revisions()) == 2
