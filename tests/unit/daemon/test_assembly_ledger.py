"""What judgements do to studies, revisions and deliveries in the ledger, tick by tick of a clock held by the test."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rich.console import Console
from structlog.testing import capture_logs

from config.schema import Assembly, Intake, Settings, SignatureSettings, Spool
from config.schema import Ledger as LedgerSection
from daemon.assembly import Arrived, InUse, Verdict, side_answer
from daemon.cli import overview
from daemon.finding import Finding
from daemon.health import standing_checks
from daemon.ledger import Ledger, priority_and_cancel, set_aside, verdicts, views
from daemon.ledger import studies as studies_in_ledger
from daemon.ledger.instances import Arrival, mark_lost, record
from daemon.ledger.open_associations import associations_ended, still_arriving, still_sending
from daemon.ledger.operator_requests import retry
from daemon.ledger.rows import StudyRow, rows_where, the_row
from daemon.ledger.studies import move_study
from daemon.ledger.tables import deliveries, events, instances, revisions, studies
from daemon.work import analyse, sweep
from daemon.work.context import Context
from daemon.work.failure import TaskFailed
from daemon.work.large_exams import LargeExamThread
from daemon.work.signatures_that_answer import answer_given, signatures_in_use
from daemon.work.sweep import assemble
from pipeline.catalog import InstanceFacts
from pipeline.errors import InputRejected, RoiRejected
from pipeline.needs import GROUPS, SignatureNeeds
from pipeline.result import Part, Prediction, StudyResult
from pipeline.signature import demonstration_path, load
from pipeline.signature.registry import Registry
from tests.support.facts import TUMOR, of_patient, ours
from tests.support.signature_tables import MADE
from tests.support.stories import DAY, HOUR, NOON, breast_exam, knee_exam

exam = breast_exam()


@dataclass
class House:
    """A ledger, a clock and the sweep, without broker or files."""

    ledger: Ledger
    settings: Settings
    now: float = NOON
    announced: list[tuple[str, str]] = field(default_factory=list)

    @property
    def context(self) -> Context:
        return Context(self.settings, self.ledger, lambda: self.now, self.take)

    def take(self, task: str, row_id: str) -> bool:
        """Stands for the broker."""
        self.announced.append((task, row_id))
        return True

    def arrive(self, *facts: InstanceFacts | Sequence[InstanceFacts], digest: str = "d", association: str = "") -> None:
        with self.ledger.write() as connection:
            for item in (f for part in facts for f in ([part] if isinstance(part, InstanceFacts) else part)):
                uid = item.ref.sop_instance_uid
                arrival = Arrival(uid, digest, f"instances/{uid}-{digest}.dcm", 10, self.now, association, facts=item)
                exam_uid = record(connection, arrival)
                if association and exam_uid:
                    still_arriving(connection, association, exam_uid, self.now)

    def later(self, seconds: float) -> None:
        self.now += seconds
        assemble(self.context)

    def study(self, uid: str = "1.2.3") -> Any:
        with self.ledger.read() as connection:
            return connection.execute(sa.select(studies).where(studies.c.study_uid == uid)).one()

    def states(self) -> dict[str, str]:
        with self.ledger.read() as connection:
            return {row.study_uid: row.state for row in connection.execute(sa.select(studies)).all()}

    def revisions(self) -> list[Any]:
        with self.ledger.read() as connection:
            return list(connection.execute(sa.select(revisions).order_by(revisions.c.number)).all())

    def kinds(self) -> list[str]:
        with self.ledger.read() as connection:
            return list(connection.execute(sa.select(events.c.kind).order_by(events.c.id)).scalars())

    def do(self, table: sa.Table, **values: Any) -> None:
        with self.ledger.write() as connection:
            connection.execute(table.update().values(**values))

    def report(self, *, sent: bool) -> None:
        """The newest revision is reported, and its delivery to one archive is done or still pending."""
        revision = self.revisions()[-1]
        state = "delivered" if sent else "reported"
        with self.ledger.write() as connection:
            mine = revisions.c.id == revision.id
            connection.execute(revisions.update().where(mine).values(state=state, stage="done"))
            connection.execute(
                deliveries.insert().values(
                    id=f"d{revision.number}",
                    revision_id=revision.id,
                    destination="archive",
                    state="delivered" if sent else "pending",
                    objects=["sr"],
                    created_at=self.now,
                    next_attempt_at=self.now,
                )
            )
            move_study(connection, revision.study_id, "running", self.now)
            for step in ("reported", "delivered")[: 1 + sent]:
                move_study(connection, revision.study_id, step, self.now)

    def deliveries(self) -> dict[str, str]:
        with self.ledger.read() as connection:
            return {row.id: row.state for row in connection.execute(sa.select(deliveries)).all()}

    def retry(self, **how: bool) -> str:
        with self.ledger.write() as connection:
            row = connection.execute(sa.select(studies)).one()
            wanted = {"new_revision": False, "accept_identity": False} | how
            return retry(connection, row, self.now, **wanted)


@pytest.fixture
def house(ledger: Ledger, ledger_url: str, tmp_path: Path) -> House:
    return House(ledger, Settings(ledger=LedgerSection(url=ledger_url), spool=Spool(path=tmp_path / "spool")))


def test_images_then_a_seg_hours_later_make_one_revision(house: House) -> None:
    house.arrive(exam.images)
    house.later(121)
    assert house.states() == {"1.2.3": "waiting"}
    house.later(5 * HOUR)
    house.arrive(exam.seg())
    assert house.states() == {"1.2.3": "assembling"}
    house.later(121)
    assert house.states() == {"1.2.3": "ready"}
    (revision,) = house.revisions()
    assert len(revision.inputs["selected"]) == 19
    assert len(revision.inputs["context"]) == 25


def test_two_exams_of_one_patient_interleaved_make_a_revision_each(house: House) -> None:
    other = breast_exam("1.2.4")
    for one, two in zip([*exam.images, exam.seg()], [*other.images, other.seg()], strict=True):
        house.arrive(one, two)
    house.later(121)
    assert house.states() == {"1.2.3": "ready", "1.2.4": "ready"}


def test_late_data_make_revision_two_and_cancel_what_was_not_delivered(house: House) -> None:
    house.arrive(exam.images, exam.seg("900.1", ContentTime="1000"))
    house.later(121)
    house.report(sent=False)
    house.arrive(exam.seg("900.2", ContentTime="1100"))
    house.later(121)
    assert [(r.number, r.state) for r in house.revisions()] == [(1, "superseded"), (2, "ready")]
    assert house.deliveries() == {"d1": "cancelled"}
    assert house.states() == {"1.2.3": "ready"}


def test_what_was_delivered_stays_delivered_when_a_revision_supersedes_it(house: House) -> None:
    house.arrive(exam.images, exam.seg("900.1", ContentTime="1000"))
    house.later(121)
    house.report(sent=True)
    house.arrive(exam.seg("900.2", ContentTime="1100"))
    house.later(121)
    assert house.deliveries() == {"d1": "delivered"}
    assert [r.state for r in house.revisions()] == ["superseded", "ready"]


def test_late_data_that_change_no_input_make_no_revision(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    house.report(sent=True)
    late = replace(exam.pre[0], ref=replace(exam.pre[0].ref, series_uid="1.2.3.77", sop_instance_uid="1.2.3.77.1"))
    house.arrive(replace(late, tags={**late.tags, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}), ours())
    house.later(121)
    assert [r.state for r in house.revisions()] == ["delivered"]
    assert house.states() == {"1.2.3": "delivered"}


@pytest.mark.parametrize(
    ("on_conflict", "revisions"), [("keep_first", ["delivered"]), ("keep_last", ["superseded", "ready"])]
)
def test_a_seg_that_was_drawn_anew_under_the_same_uid_is_flagged_and_reported_anew_only_where_the_last_counts(
    house: House, on_conflict: str, revisions: list[str]
) -> None:
    house.settings = house.settings.model_copy(update={"intake": Intake.model_validate({"on_conflict": on_conflict})})
    house.arrive(exam.images, exam.seg(content_digest="one"))
    house.later(121)
    house.report(sent=True)
    house.arrive(exam.seg(content_digest="two"), digest="drawn anew")
    house.later(121)
    assert [r.state for r in house.revisions()] == revisions
    assert house.study().flagged.startswith("1 instances came twice with different identity, geometry or pixels")
    chosen = dict(house.revisions()[-1].inputs["selected"])[exam.seg().ref.sop_instance_uid]
    assert chosen == ("d" if on_conflict == "keep_first" else "drawn anew")


@pytest.mark.parametrize("on_conflict", ["keep_first", "keep_last"])
def test_a_whole_exam_sent_again_with_rewritten_headers_in_another_transfer_syntax_makes_nothing_new(
    house: House, on_conflict: str
) -> None:
    house.settings = house.settings.model_copy(update={"intake": Intake.model_validate({"on_conflict": on_conflict})})
    shown = [replace(i, tags={**i.tags, "content_digest": "same"}) for i in [*exam.images, exam.seg()]]
    house.arrive(shown)
    house.later(121)
    house.report(sent=True)
    house.arrive(
        [
            replace(
                i, transfer_syntax_uid="1.2.840.10008.1.2.4.80", tags={**i.tags, "InstitutionalDepartmentName": "2"}
            )
            for i in shown
        ],
        digest="rewritten",
    )
    house.later(121)
    assert [(r.number, r.state) for r in house.revisions()] == [(1, "delivered")]
    assert house.study().flagged == ""
    assert house.kinds().count("resent-changed") == 25


def test_late_data_that_are_incomplete_leave_the_report_and_are_named(house: House) -> None:
    house.arrive(exam.images, exam.seg("900.1"))
    house.later(121)
    house.report(sent=True)
    unseen = [replace(i, ref=replace(i.ref, sop_instance_uid=i.ref.sop_instance_uid + "9")) for i in exam.t1c]
    newer = exam.seg("900.2", ContentTime="2359")
    house.arrive(replace(newer, references=tuple(i.ref for i in unseen)))
    house.later(121)
    assert house.states() == {"1.2.3": "delivered"}
    assert house.study().flagged.startswith("newer data are incomplete, missing: 6 of the 6 images")
    assert len(house.revisions()) == 1


def test_an_exam_with_two_patients_is_held_until_an_operator_accepts_it(house: House) -> None:
    house.arrive(exam.images[:-1], of_patient(exam.images[-1], "P2"), exam.seg())
    house.later(121)
    assert house.study().reason_code == "identity-changes"
    assert house.revisions() == []
    house.retry(accept_identity=True)
    house.later(1)
    assert house.states() == {"1.2.3": "ready"}
    house.arrive(of_patient(exam.seg("903.1"), "P3"))
    house.later(1)
    assert house.states() == {"1.2.3": "held"}


def test_a_stranger_in_a_running_study_stops_it_and_acceptance_resumes_it(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    house.do(revisions, state="running", owner="w", lease_until=house.now + 100)
    house.do(studies, state="running")
    before = house.revisions()[0]
    stranger = replace(exam.pre[0], ref=replace(exam.pre[0].ref, sop_instance_uid="1.2.3.1.99"))
    house.arrive(of_patient(stranger, "P2"))
    house.later(1)
    (held,) = house.revisions()
    assert (held.state, held.owner, held.fence) == ("held", None, before.fence + 1)
    with house.ledger.write() as connection:
        move_study(connection, house.study().id, "reported", house.now)
    assert house.states() == {"1.2.3": "held"}
    # The stranger turns out to be a slice of a series that is not chosen: the inputs are what they were.
    house.retry(accept_identity=True)
    house.later(121)
    states = [r.state for r in house.revisions()]
    assert house.states() == {"1.2.3": "ready"}
    assert states in (["ready"], ["superseded", "ready"])


def test_a_stranger_holds_back_what_was_not_sent_and_acceptance_sends_it(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    house.report(sent=False)
    house.arrive(of_patient(exam.seg("900.1"), "P2"), digest="other")
    house.later(1)
    assert house.states() == {"1.2.3": "reported"}  # under the same UID: the first is kept, and said to be in conflict
    assert house.study().flagged.startswith("1 instances came twice")
    other = replace(exam.seg("905.1", ContentDate="20260101"), patient_key=of_patient(exam.seg(), "P2").patient_key)
    house.arrive(other)
    house.later(1)
    assert (house.states(), house.deliveries()) == ({"1.2.3": "held"}, {"d1": "cancelled"})
    house.retry(accept_identity=True)
    house.later(121)
    assert (house.states(), house.deliveries()) == ({"1.2.3": "reported"}, {"d1": "pending"})


def test_an_exam_of_another_part_of_the_body_is_judged_again_when_more_comes_or_an_operator_says_so(
    house: House,
) -> None:
    named = [replace(i, tags={**i.tags, "StudyDescription": "MR knee"}) for i in knee_exam()]
    house.arrive(named[:-1])
    house.later(20)
    assert house.states() == {"1.2.7": "not_ours"}
    house.arrive(named[-1:])
    assert house.states() == {"1.2.7": "assembling"}
    house.later(20)
    assert house.states() == {"1.2.7": "not_ours"}
    with house.ledger.write() as connection:
        row = connection.execute(sa.select(studies)).one()
        assert "breasts" in retry(connection, row, house.now, new_revision=False, accept_identity=False)
    house.later(121)
    assert house.states() == {"1.2.7": "waiting"}


def test_a_knee_exam_expires_and_comes_back_when_something_arrives(house: House) -> None:
    house.arrive(knee_exam())
    house.later(121)
    assert house.states() == {"1.2.7": "waiting"}
    house.later(14 * DAY)
    assert house.states() == {"1.2.7": "expired"}
    house.arrive(exam.images[:1])
    other = replace(exam.images[0], ref=replace(exam.images[0].ref, study_uid="1.2.7", sop_instance_uid="1.2.7.1.77"))
    house.arrive(replace(other, patient_key=knee_exam()[0].patient_key))
    assert house.states()["1.2.7"] == "assembling"
    assert "revived" in house.kinds()


def test_an_open_association_keeps_its_last_exam_assembling_until_it_ends(house: House) -> None:
    house.arrive(exam.images, exam.seg(), association="a1")
    house.later(110)
    with house.ledger.write() as connection:
        still_sending(connection, "a1", house.now)
    house.later(20)
    assert house.states() == {"1.2.3": "assembling"}
    with house.ledger.write() as connection:
        associations_ended(connection, ["a1"])
    house.later(1)
    assert house.states() == {"1.2.3": "ready"}


def test_an_exam_of_more_instances_than_the_setting_allows_is_held_and_none_of_them_is_read(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.settings = house.settings.model_copy(update={"assembly": Assembly(max_instances=len(exam.images))})
    house.arrive(exam.images)
    house.later(300)
    assert house.states() == {"1.2.3": "waiting"}
    house.arrive(exam.seg())
    monkeypatch.setattr(verdicts, "stored_of", None)  # whoever reads the rows fails
    house.later(300)
    assert (house.study().state, house.study().reason_code) == ("held", "too-many-instances")
    assert str(len(exam.images)) in house.study().reason
    monkeypatch.undo()
    house.settings = Settings()
    house.retry()
    house.later(1)
    assert house.states() == {"1.2.3": "ready"}


def test_frames_and_series_count_as_instances_do(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.arrive(replace(exam.images[0], frames=20001))
    house.later(300)
    assert house.study().reason == "it has more than 20000 frames (assembly.max_instances), and was not looked at"
    monkeypatch.setattr(verdicts, "MOST_SERIES", 0)
    house.arrive(knee_exam())
    house.later(300)
    assert (house.study("1.2.7").state, house.study("1.2.7").reason_code) == ("held", "too-many-instances")


def test_a_large_exam_is_judged_beside_the_others_and_one_at_a_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "LARGE", len(knee_exam()))
    house.arrive(exam.images, exam.seg())
    house.arrive(knee_exam())
    house.now += 300
    go_on, judge = threading.Event(), sweep.judge

    def slowly(arrived: Arrived, *rest: Any) -> Verdict:
        assert arrived.study_uid == "1.2.7" or go_on.wait()
        return judge(arrived, *rest)

    monkeypatch.setattr(sweep, "judge", slowly)
    beside = LargeExamThread()
    assemble(house.context, beside)
    assert house.states() == {"1.2.3": "assembling", "1.2.7": "waiting"}
    assert not beside.take(lambda: None)
    go_on.set()
    beside.wait(threading.TIMEOUT_MAX)
    assert house.states() == {"1.2.3": "ready", "1.2.7": "waiting"}


def test_a_large_exam_is_not_looked_at_while_it_arrives(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LARGE", 1)
    house.arrive(exam.images, exam.seg())
    with monkeypatch.context() as patched:
        patched.setattr(verdicts, "stored_of", None)  # whoever reads the rows fails
        house.later(1)
    assert house.study().reason_code == "settling"
    house.later(130)
    assert house.states() == {"1.2.3": "ready"}


def poison(facts: InstanceFacts) -> set_aside.SetAsideFile:
    """Two workers died while they read this instance."""
    uid = facts.ref.sop_instance_uid
    return set_aside.SetAsideFile(f"key of {uid}"[:32], uid, "d", "SIGSEGV", 2, "a worker")


def test_an_exam_whose_slice_killed_its_readers_is_set_aside_at_once_by_the_name_of_the_slice(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(130)
    (revision,) = house.revisions()
    with house.ledger.write() as connection:
        set_aside.record(connection, poison(exam.t1c[0]), house.now)
        set_aside.record(connection, poison(exam.t1c[0]), house.now)
    uid = exam.t1c[0].ref.sop_instance_uid
    with pytest.raises(TaskFailed) as failed:
        analyse.run(house.context, revision.id)
    assert (failed.value.code, failed.value.final) == ("unreadable", True)
    assert house.study().state == "failed"
    assert uid in house.study().reason
    assert house.kinds().count("set-aside") == 1
    with house.ledger.write() as connection:
        assert set_aside.take_up(connection, uid, "d", house.now)
    house.later(1)
    assert (house.study().state, [r.state for r in house.revisions()]) == ("ready", ["ready"])


def test_what_is_wrong_with_an_exam_is_in_the_log_by_its_code_and_in_the_ledger_in_words(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(130)
    (revision,) = house.revisions()

    def quoting(*_: object, **__: object) -> None:
        raise RoiRejected("segment 1 (DOE JANE) is empty", code="roi-empty")

    monkeypatch.setattr(analyse, "_analyse", quoting)
    with capture_logs() as logs, pytest.raises(TaskFailed):
        analyse.run(house.context, revision.id)
    assert [line["code"] for line in logs if line["event"] == "revision-failed"] == ["roi-empty"]
    assert "DOE" not in str(logs)
    assert "DOE" in house.study().reason


def test_a_new_exam_waits_by_name_for_a_slice_that_killed_its_readers(house: House) -> None:
    house.arrive(exam.images)
    with house.ledger.write() as connection:
        set_aside.record(connection, poison(exam.t2[3]), house.now)
    house.arrive(exam.seg())
    house.later(130)
    assert house.study().state == "waiting"
    assert f"instance {exam.t2[3].ref.sop_instance_uid}, whose readers died of it" in house.study().reason


def test_a_region_that_killed_its_readers_replaces_no_other(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(130)
    newer = exam.seg("3.99", ContentDate="20991231")
    with house.ledger.write() as connection:
        uid = newer.ref.sop_instance_uid
        record(connection, Arrival(uid, "d", "instances/x.dcm", 10, house.now, facts=newer))
        set_aside.record(connection, poison(newer), house.now)
    house.later(130)
    assert [r.state for r in house.revisions()] == ["ready"]
    assert "hold no region that can be read" in house.study().flagged


def test_an_association_that_is_kept_open_holds_up_no_exam_for_longer_than_a_minute(house: House) -> None:
    house.arrive(exam.images, exam.seg(), association="a1")
    house.later(130)
    assert house.states() == {"1.2.3": "ready"}


def test_an_association_that_goes_on_with_another_exam_holds_up_only_that(house: House) -> None:
    house.arrive(exam.images, exam.seg(), association="a1")
    house.arrive(knee_exam(), association="a1")
    house.later(130)
    with house.ledger.write() as connection:
        still_sending(connection, "a1", house.now)
        connection.execute(studies.update().values(dirty=True))
    house.later(1)
    assert house.states() == {"1.2.3": "ready", "1.2.7": "assembling"}
    assert house.study("1.2.7").reason_code == "arriving"
    house.later(60)
    assert house.states() == {"1.2.3": "ready", "1.2.7": "waiting"}


def test_two_studies_are_one_exam_only_where_a_rule_says_so(house: House) -> None:
    """A scanner was restarted: T2 and ADC came under another Study Instance UID."""
    second = [replace(i, ref=replace(i.ref, study_uid="1.2.8")) for i in (*exam.t2, *exam.adc)]
    house.arrive(exam.pre, exam.t1c, second, exam.seg())
    house.later(121)
    assert house.states() == {"1.2.3": "waiting", "1.2.8": "waiting"}
    house.settings = house.settings.model_copy(update={"assembly": Assembly(join=("study_date", "frame_of_reference"))})
    house.do(studies, dirty=True)
    house.later(1)
    house.later(1)
    assert house.states() == {"1.2.3": "ready"}
    assert "joined" in house.kinds()
    assert len(house.revisions()[0].inputs["selected"]) == 19


def test_what_arrives_late_of_a_joined_study_joins_too(house: House) -> None:
    house.settings = house.settings.model_copy(update={"assembly": Assembly(join=("study_date",))})
    second = [replace(i, ref=replace(i.ref, study_uid="1.2.8")) for i in (*exam.t2, *exam.adc)]
    house.arrive(exam.pre, exam.t1c, second[:6], exam.seg())
    house.later(121)
    house.later(121)
    assert house.states() == {"1.2.3": "waiting"}
    house.arrive(second[6:])
    house.later(121)
    house.later(121)
    assert house.states() == {"1.2.3": "ready"}


def test_studies_of_two_patients_or_two_dates_are_never_joined(house: House) -> None:
    house.settings = house.settings.model_copy(update={"assembly": Assembly(join=("study_date",))})
    other_day, other_patient = breast_exam("1.2.4", StudyDate="20260116"), breast_exam("1.2.5", "P2")
    house.arrive(exam.images, other_day.images, other_patient.images)
    house.later(121)
    house.later(121)
    assert set(house.states()) == {"1.2.3", "1.2.4", "1.2.5"}


def test_a_file_that_is_lost_before_the_analysis_makes_the_study_wait_and_its_return_resumes_it(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    house.do(revisions, state="failed", reason_code="files-gone")
    house.do(studies, state="failed")
    with house.ledger.write() as connection:
        mark_lost(connection, [row.id for row in verdicts.stored_of(connection, "1.2.3")][:12], house.now)
    house.later(1)
    assert (
        "newer data are incomplete, missing: 6 images and ROIs that are no longer in the spool" in house.study().flagged
    )
    house.arrive(exam.images)
    house.later(121)
    assert [r.state for r in house.revisions()] == ["ready"]
    assert (house.states(), house.study().flagged) == ({"1.2.3": "ready"}, "")


def test_files_that_are_cleaned_away_after_the_report_are_not_missed(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    house.report(sent=True)
    house.do(instances, state="purged")
    house.arrive(exam.images[0])
    house.later(121)
    assert (house.states(), house.study().flagged) == ({"1.2.3": "delivered"}, "")


def test_a_new_revision_of_a_study_whose_files_are_gone_waits_for_them(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    house.report(sent=True)
    house.do(instances, state="purged")
    house.retry(new_revision=True)
    house.later(1)
    assert house.study().reason == "19 images and ROIs that are no longer in the spool"
    house.arrive(exam.images, exam.seg())
    house.later(121)
    assert [r.state for r in house.revisions()] == ["superseded", "ready"]


def test_an_arrival_while_a_study_is_judged_is_not_overlooked(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.now += 121
    with house.ledger.write() as connection:
        study = verdicts.take_to_judge(connection, house.study().id, house.now)
    with house.ledger.read() as connection:
        evidence = verdicts.evidence_of(connection, study)
    house.arrive(exam.seg("906.1"))
    from daemon.assembly import judge

    with pytest.raises(verdicts.Overtaken), house.ledger.write() as connection:
        verdicts.apply(connection, study, judge(evidence, house.now, house.settings), house.now, house.settings)
    assert house.study().dirty
    assert house.revisions() == []


def test_a_study_is_taken_by_one_judge_and_judged_again_if_that_one_dies(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.now += 121
    with house.ledger.write() as connection:
        assert verdicts.take_to_judge(connection, house.study().id, house.now) is not None
        assert verdicts.take_to_judge(connection, house.study().id, house.now) is None
    house.later(61)
    assert house.states() == {"1.2.3": "ready"}


def test_a_clock_that_was_ahead_delays_a_study_by_the_quiet_period_at_most(house: House) -> None:
    house.now += 10 * DAY
    house.arrive(exam.images, exam.seg())
    house.now -= 10 * DAY
    house.later(0)
    house.later(121)
    assert house.states() == {"1.2.3": "ready"}


def test_a_study_that_cannot_be_judged_does_not_keep_others_from_it(house: House) -> None:
    other = breast_exam("1.2.4", "P2")
    house.arrive(exam.images, exam.seg(), other.images, other.seg())
    with house.ledger.write() as connection:
        first = connection.execute(
            sa.select(instances.c.id).where(instances.c.exam_uid == "1.2.3").limit(1)
        ).scalar_one()
        connection.execute(instances.update().where(instances.c.id == first).values(facts={"broken": 1}))
    house.later(121)
    assert house.states() == {"1.2.3": "assembling", "1.2.4": "ready"}


# Answers


def test_a_revision_records_what_its_answer_rests_on(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    (revision,) = house.revisions()
    answer = revision.answer
    assert set(answer["reads"]) == {"t1c", "t2", "adc", "tumor", "lymph_nodes"}
    assert answer["reads"]["tumor"] == [[exam.seg().ref.sop_instance_uid, "d"]]
    assert answer["regions"] == {role: {"origin": "drawn", "confirmed_by": None} for role in ("tumor", "lymph_nodes")}
    assert answer["sides"] == {"": answer["expected"]}


def test_a_revision_from_before_answers_were_recorded_is_followed_by_any_other_inputs(house: House) -> None:
    house.arrive(exam.images, exam.seg("900.1", ContentTime="1000"))
    house.later(121)
    house.report(sent=True)
    house.do(revisions, answer=None)
    house.arrive(ours())
    house.later(121)
    assert len(house.revisions()) == 1
    house.arrive(exam.seg("902.1", (replace(TUMOR, label="something else", property_type=None, anatomy=None),)))
    house.later(121)
    assert [r.state for r in house.revisions()] == ["superseded", "ready"]


def test_a_region_that_no_signature_reads_makes_no_revision(house: House) -> None:
    house.arrive(exam.images, exam.seg("900.1", ContentTime="1000"))
    house.later(121)
    house.report(sent=True)
    house.arrive(exam.seg("902.1", (replace(TUMOR, label="something else", property_type=None, anatomy=None),)))
    house.later(121)
    assert [r.state for r in house.revisions()] == ["delivered"]


def test_since_when_an_exam_can_be_answered_outlives_the_process(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    t1 = SignatureNeeds("t1@1", frozenset(g for g in GROUPS if g[0] == "t1c"), rank=1)
    in_use = InUse((SignatureNeeds("all@1", frozenset(GROUPS)), t1))
    monkeypatch.setattr(sweep, "signatures_in_use", lambda _: in_use)
    house.arrive(exam.pre, exam.t1c, exam.seg())
    house.later(121)
    assert (house.study().state, house.study().reason_code, house.study().lacked) == ("waiting", "preferred", "t2,adc")
    came_at = house.study().answerable_since
    house.later(1000)
    house.arrive(exam.t2)
    house.later(121)
    assert (house.study().answerable_since, house.study().due_at) == (came_at, came_at + 1800)
    house.later(600)
    assert house.states() == {"1.2.3": "ready"}
    assert house.revisions()[0].answer["expected"]["signature"] == "t1@1"


def test_activation_has_waiting_exams_judged_again_and_never_reported_ones(house: House, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "signatures")
    of_registry = SignatureSettings(registry=registry.folder)
    house.settings = house.settings.model_copy(update={"signature": of_registry})
    reported = breast_exam("1.2.4")
    sweep.judge_again_if_changed(house.context)
    house.arrive(exam.images, exam.seg())
    house.later(121)
    assert (house.study().state, house.study().reason_code) == ("waiting", "no-signature")
    registry.activate(load(demonstration_path()), MADE, unevaluated=True)
    sweep.judge_again_if_changed(house.context)
    house.later(1)
    assert house.states() == {"1.2.3": "ready"}
    house.report(sent=True)
    house.arrive(reported.pre)
    house.later(121)
    registry.deactivate(load(demonstration_path()))
    sweep.judge_again_if_changed(house.context)
    assert [bool(house.study(uid).dirty) for uid in ("1.2.3", "1.2.4")] == [False, True]


def test_the_checks_tell_when_the_sweep_cannot_read_the_signatures(house: House, tmp_path: Path) -> None:
    def check() -> Finding:
        with house.ledger.read() as connection:
            return standing_checks.signatures(connection)

    assert check().ok
    sweep.judge_again_if_changed(house.context)
    assert check().text.endswith("demonstration@1 and 8 more")
    away = SignatureSettings(registry=tmp_path / "away")
    house.settings = house.settings.model_copy(update={"signature": away})
    sweep.judge_again_if_changed(house.context)
    assert (check().level, "no registry" in check().text) == ("fail", True)


def test_the_sweep_sees_that_a_signature_in_use_was_lost_altered_or_put_back(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "signatures")
    of_registry = SignatureSettings(registry=registry.folder)
    registry.activate(load(demonstration_path()), MADE, unevaluated=True)
    assert [needs.name for needs in signatures_in_use(of_registry).signatures] == ["demonstration@1"]
    (path,) = registry.folder.glob("*.axsig")
    whole = path.read_bytes()
    path.unlink()
    assert "cannot read the signature" in signatures_in_use(of_registry).trouble
    path.write_bytes(whole[:-1])
    assert "altered" in signatures_in_use(of_registry).trouble
    path.write_bytes(whole)
    assert not signatures_in_use(of_registry).trouble


def test_each_side_of_an_answer_is_of_the_signature_that_answered_it(house: House) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    (revision,) = house.revisions()
    t1 = tuple(g for g in GROUPS if g[0] == "t1c")
    # Two that an author gave one name and version, and one that gave no answer.
    needs = [SignatureNeeds(f"x@1#{n}", frozenset(t1[:n]), rank=n, sha256=f"{n}") for n in (2, 1)]

    def part(sha256: str) -> Part:
        said = Prediction.model_construct(signature="x@1")
        return Part.model_construct(prediction=said, signature={"name": "x@1", "sha256": sha256})

    result = StudyResult.model_construct(sides={"L": part("2"), "R": part("1")})
    answer = answer_given(revision.answer, result, InUse(tuple(needs)))
    assert answer["sides"] == {"L": side_answer(needs[0]), "R": side_answer(needs[1])}
    silent = StudyResult.model_construct(sides={"L": part("2"), "R": Part()})
    answer = answer_given(revision.answer, silent, InUse(tuple(needs)))
    assert answer["sides"] == {"L": side_answer(needs[0]), "R": revision.answer["expected"]}


def test_studies_are_counted_by_what_they_lacked_once_nothing_more_is_arriving(house: House) -> None:
    arriving, held = breast_exam("1.2.4"), breast_exam("1.2.5")
    house.arrive(exam.pre, exam.t1c, exam.seg())
    house.arrive(held.pre, held.t1c, held.seg())
    house.later(121)
    house.arrive([of_patient(facts, "SOMEBODY-ELSE") for facts in held.t2], arriving.pre)
    house.later(1)
    assert house.states() == {"1.2.3": "waiting", "1.2.4": "assembling", "1.2.5": "held"}
    printed = io.StringIO()
    with house.ledger.read() as connection:
        listed = views.list_studies(connection)
    overview.print_studies(Console(file=printed, width=100), listed, house.now)
    assert "lacked, of what the first signature reads: T2, ADC: 1" in printed.getvalue()


def test_what_as_many_studies_lacked_is_listed_in_one_order_whichever_changed_last(house: House) -> None:
    house.arrive(exam.pre, exam.t1c, exam.seg())
    house.later(121)
    with house.ledger.read() as connection:
        one = dict(views.list_studies(connection)[0])
    lacking = [
        {**one, "lacked": ["t2"]},
        {**one, "lacked": ["t2"]},
        {**one, "lacked": ["adc"]},
        {**one, "lacked": ["t1c"]},
    ]
    for listed in itertools.permutations(lacking):
        printed = io.StringIO()
        overview.print_studies(Console(file=printed, width=100), list(listed), house.now)
        assert "first signature reads: T2: 2; ADC: 1; T1+C: 1\n" in printed.getvalue()


def _cancel(house: House) -> None:
    with house.ledger.write() as connection:
        priority_and_cancel.cancel(connection, the_row(connection, StudyRow, house.study().id), house.now)


@pytest.mark.parametrize(("came", "after"), [(exam.images, "waiting"), ([*exam.images, exam.seg()], "ready")])
@pytest.mark.parametrize("moment", ["while it is judged", "before it is taken to be judged"])
def test_no_verdict_undoes_a_cancellation_that_came_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch, came: list[InstanceFacts], after: str, moment: str
) -> None:
    judged = sweep._judged

    def judged_late(context: Context, study: Any, now: float) -> Verdict:
        verdict = judged(context, study, now)
        _cancel(house)
        return verdict

    house.arrive(came)
    with monkeypatch.context() as patched:
        if moment == "while it is judged":
            patched.setattr(sweep, "_judged", judged_late)
        else:
            _cancel(house)
            patched.setattr(verdicts, "to_judge", lambda connection, now: rows_where(connection, StudyRow))
        house.later(121)
    assert house.states() == {"1.2.3": "cancelled"}
    assert (house.revisions(), house.study().due_at) == ([], None)
    house.later(DAY)
    assert house.states() == {"1.2.3": "cancelled"}
    house.retry()
    house.later(121)
    assert house.states() == {"1.2.3": after}


def test_a_verdict_that_changes_no_state_leaves_a_cancelled_study_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    house.report(sent=False)
    judged = sweep._judged

    def judged_late(context: Context, study: Any, now: float) -> Verdict:
        verdict = judged(context, study, now)
        _cancel(house)
        return replace(verdict, state="waiting", due_at=house.now + 1, flagged="something more came")

    monkeypatch.setattr(sweep, "_judged", judged_late)
    house.do(studies, dirty=True)
    house.later(1)
    assert house.states() == {"1.2.3": "cancelled"}
    assert (house.study().due_at, house.study().flagged) == (None, "")


def test_a_study_that_gets_a_revision_while_it_is_cancelled_is_to_be_cancelled_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.arrive(exam.images, exam.seg())
    house.later(121)
    looks = iter([None])
    newest = studies_in_ledger.newest_revision
    monkeypatch.setattr(
        priority_and_cancel, "newest_revision", lambda connection, study: next(looks, newest(connection, study))
    )
    with pytest.raises(InputRejected, match="cancel it again"):
        _cancel(house)
    assert house.states() == {"1.2.3": "ready"}
    _cancel(house)
    assert house.states() == {"1.2.3": "cancelled"}
    assert [r.state for r in house.revisions()] == ["failed"]
